//! The queues of `template.yaml`. Their messages are delivered to functions like by Lambda's SQS event source.

use std::{
    collections::HashSet,
    error::Error,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
};

use super::functions::Functions;
use crate::{aws::StoredMessage, template::QueueSource};

/// Concurrent invocations per queue.
const CONCURRENCY: usize = 4;
/// The pause before an empty queue is read again if no message is sent: the embedded SQS answers at once instead of waiting for a message, and a
/// delayed message becomes visible without a notification.
const PAUSE: Duration = Duration::from_millis(500);

/// The name or URL of the dead-letter queue of a queue with this name or URL.
pub(super) fn dead_letters(queue: &str) -> String {
    format!("{queue}-dead")
}

/// Creates a queue and its dead-letter queue if they do not exist, and returns the queue's URL.
pub(super) async fn create(client: &Client, source: &QueueSource) -> Result<String, Box<dyn Error + Send + Sync>> {
    let dead = client
        .create_queue()
        .queue_name(dead_letters(&source.queue))
        .send()
        .await?;
    let dead = dead.queue_url().ok_or("a queue without a URL")?.to_owned();
    let attributes = client
        .get_queue_attributes()
        .queue_url(dead)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await?;
    let arn = attributes
        .attributes()
        .and_then(|attributes| attributes.get(&QueueAttributeName::QueueArn));
    let redrive = json!({"deadLetterTargetArn": arn, "maxReceiveCount": source.max_receives});
    let visibility = 6 * source.timeout.as_secs();
    let queue = client
        .create_queue()
        .queue_name(&source.queue)
        .attributes(QueueAttributeName::VisibilityTimeout, visibility.to_string())
        .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
        .send()
        .await?;
    Ok(queue.queue_url().ok_or("a queue without a URL")?.to_owned())
}

/// Sends the messages again that were in the queues when the process before ended. A message that was received too often is a dead letter.
pub(super) async fn restore(
    client: &Client,
    messages: Vec<StoredMessage>,
    sources: &[(String, QueueSource)],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    for message in messages {
        let is_source = |(url, _): &&(String, QueueSource)| url.rsplit('/').next() == Some(&message.queue);
        let is_dead = |(url, _): &&(String, QueueSource)| dead_letters(url).rsplit('/').next() == Some(&message.queue);
        let url = match sources.iter().find(is_source) {
            Some((url, source)) if i64::from(message.receives) < source.max_receives => url.clone(),
            Some((url, _)) => dead_letters(url),
            None => match sources.iter().find(is_dead) {
                Some((url, _)) => dead_letters(url),
                // A queue that the template no longer has.
                None => continue,
            },
        };
        let delay = message.due.duration_since(Timestamp::now()).as_secs().clamp(0, 900);
        let send = client.send_message().queue_url(url).message_body(message.body);
        send.delay_seconds(delay as i32).send().await?;
    }
    Ok(())
}

/// Delivers the messages of a queue until `stopped`, and then waits for those in progress.
pub(super) fn drive(
    client: Client,
    url: String,
    source: QueueSource,
    message_sent: Arc<Notify>,
    functions: Arc<Functions>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut deliveries = JoinSet::new();
        // An error means that the stack was dropped, which also ends this task.
        while stopped.has_changed().is_ok() && !*stopped.borrow() {
            while deliveries.try_join_next().is_some() {}
            if deliveries.len() >= CONCURRENCY {
                deliveries.join_next().await;
            }
            // Waits from before the queue is read, so that no message is missed.
            let mut sent = pin!(message_sent.notified());
            sent.as_mut().enable();
            let batch = receive(&client, &url, source.batch_size).await;
            if batch.is_empty() {
                tokio::select! {
                    () = sent => {}
                    () = tokio::time::sleep(PAUSE) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
                continue;
            }
            let (client, url, source, functions) = (client.clone(), url.clone(), source.clone(), functions.clone());
            deliveries.spawn(async move { deliver(&client, &url, &source, &functions, batch).await });
        }
        while deliveries.join_next().await.is_some() {}
    })
}

async fn receive(client: &Client, url: &str, batch_size: i32) -> Vec<Message> {
    let answer = client
        .receive_message()
        .queue_url(url)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .max_number_of_messages(batch_size)
        .send()
        .await;
    match answer {
        Ok(answer) => answer.messages.unwrap_or_default(),
        Err(error) => {
            tracing::debug!(%error, "the queue cannot be read");
            Vec::new()
        }
    }
}

async fn deliver(client: &Client, url: &str, source: &QueueSource, functions: &Functions, batch: Vec<Message>) {
    let deadline = SystemTime::now() + source.timeout;
    let invocation = AssertUnwindSafe(functions.deliver(&source.function, event(&batch), deadline)).catch_unwind();
    let answer = match tokio::time::timeout(source.timeout, invocation).await {
        Ok(Ok(Some(Ok(answer)))) => answer,
        Ok(Ok(Some(Err(error)))) => {
            return tracing::error!(%error, function = source.function, "the event or the function's response does not have the expected format");
        }
        Ok(Ok(None)) => {
            return tracing::error!(
                function = source.function,
                "template.yaml names a function that is not in stack/functions.rs"
            );
        }
        Ok(Err(_)) => return tracing::error!(function = source.function, "the function panicked"),
        Err(_) => return tracing::error!(function = source.function, "the function timed out"),
    };
    let failures = failures(&answer);
    let ids: HashSet<&str> = batch
        .iter()
        .filter_map(|message| message.message_id.as_deref())
        .collect();
    if !failures.is_subset(&ids) {
        return tracing::error!(
            function = source.function,
            "an unknown message is reported as failed, so the whole batch will be delivered again"
        );
    }
    for message in batch {
        if failures.contains(message.message_id.as_deref().unwrap_or_default()) {
            continue;
        }
        let delete = client.delete_message().queue_url(url);
        if let Err(error) = delete
            .receipt_handle(message.receipt_handle.unwrap_or_default())
            .send()
            .await
        {
            tracing::warn!(%error, "the message cannot be deleted; it will be delivered again");
        }
    }
}

/// The event in the format of Lambda's SQS event source.
fn event(batch: &[Message]) -> Value {
    let records: Vec<Value> = batch.iter().map(record).collect();
    json!({ "Records": records })
}

fn record(message: &Message) -> Value {
    let attributes: serde_json::Map<String, Value> = message
        .attributes
        .iter()
        .flatten()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue",
        "awsRegion": crate::aws::REGION,
    })
}

/// The messages that the function reports as failed.
fn failures(answer: &Value) -> HashSet<&str> {
    let failures = answer["batchItemFailures"].as_array().into_iter().flatten();
    failures
        .filter_map(|failure| failure["itemIdentifier"].as_str())
        .collect()
}
