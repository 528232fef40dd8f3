//! Batches of SQS messages. Each message is processed on its own, and SQS delivers only the failed ones again.

use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// Time reserved before the invocation's deadline for returning the list of failed messages. If Lambda stops the function before that, SQS
/// delivers the whole batch again.
const MARGIN: Duration = Duration::from_secs(3);

/// An SQS event, as Lambda delivers it.
#[derive(Debug, Deserialize)]
pub struct Batch {
    #[serde(rename = "Records")]
    messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    #[serde(default)]
    body: String,
}

/// The messages of a batch that SQS must deliver again (`ReportBatchItemFailures`).
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

impl BatchResponse {
    /// Reports a message as failed, so that SQS delivers it again.
    pub fn add_failure(&mut self, message_id: String) {
        self.batch_item_failures.push(ItemFailure {
            item_identifier: message_id,
        });
    }
}

/// Processes all messages of a batch concurrently, until shortly before `deadline`. A message whose processing fails or does not finish in time
/// is reported as failed: SQS delivers it again and, after the queue's `maxReceiveCount`, moves it to the dead-letter queue.
pub async fn process<E: Display, F: Future<Output = Result<(), E>>>(
    batch: &Batch,
    deadline: SystemTime,
    process: impl Fn(String) -> F,
) -> BatchResponse {
    let time = deadline
        .duration_since(SystemTime::now())
        .unwrap_or_default()
        .saturating_sub(MARGIN);
    let one = async |message: &Message| {
        let error = match timeout(time, process(message.body.clone())).await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it was not processed before the deadline".to_owned(),
        };
        tracing::warn!(
            message_id = message.message_id,
            error,
            "the message will be delivered again"
        );
        Some(ItemFailure {
            item_identifier: message.message_id.clone(),
        })
    };
    let done = join_all(batch.messages.iter().map(one)).await;
    BatchResponse {
        batch_item_failures: done.into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bodies: [&str; 3]) -> Batch {
        let message = |(number, body): (usize, &str)| Message {
            message_id: format!("m{number}"),
            body: body.to_owned(),
        };
        Batch {
            messages: bodies.into_iter().enumerate().map(message).collect(),
        }
    }

    #[tokio::test]
    async fn only_the_messages_that_failed_are_delivered_again() {
        let process_one = |body: String| async move { if body == "bad" { Err("it is bad") } else { Ok(()) } };
        let deadline = SystemTime::now() + Duration::from_secs(60);
        let response = process(&batch(["good", "bad", "good"]), deadline, process_one).await;
        let json = serde_json::to_value(response).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"batchItemFailures": [{"itemIdentifier": "m1"}]})
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_exceeds_the_deadline_is_delivered_again_and_the_others_are_not() {
        let process_one = |body: String| async move {
            if body == "endless" {
                std::future::pending::<()>().await;
            }
            Ok::<(), String>(())
        };
        let deadline = SystemTime::now() + Duration::from_secs(60);
        let response = process(&batch(["endless", "good", "good"]), deadline, process_one).await;
        assert_eq!(response.batch_item_failures.len(), 1);
    }
}
