//! Batches of SQS messages. Each message is processed on its own, and SQS delivers only the failed ones again.

use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    invocation::{self, is_request_id, on_behalf_of},
    panics::caught,
};

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

/// Processes all messages of a batch concurrently, until shortly before `deadline`. A message whose processing fails, panics or does not finish
/// in time is reported as failed: SQS delivers it again and, after the queue's `maxReceiveCount`, moves it to the dead-letter queue.
pub async fn process<E: Display, F: Future<Output = Result<(), E>>>(
    batch: &Batch,
    deadline: SystemTime,
    process: impl Fn(String) -> F,
) -> BatchResponse {
    let time = deadline
        .duration_since(SystemTime::now())
        .unwrap_or_default()
        .saturating_sub(MARGIN);
    let invocation_id = invocation::request_id();
    let one = async |message: &Message| {
        let processed = caught(async { process(message.body.clone()).await });
        let error = match timeout(time, processed).await {
            Ok(Ok(Ok(()))) => return None,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(panicked)) => panicked.to_string(),
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
    let done = join_all(batch.messages.iter().map(|message| {
        let request_id = request_id(&message.body, &message.message_id);
        on_behalf_of(&request_id, invocation_id.as_deref(), one(message))
    }))
    .await;
    BatchResponse {
        batch_item_failures: done.into_iter().flatten().collect(),
    }
}

/// The id of the request that caused a message: `request_id` in its body, or else the `id` of the EventBridge event in it, or that of the message.
pub fn request_id(body: &str, message_id: &str) -> String {
    #[derive(Deserialize)]
    struct Ids {
        request_id: Option<Value>,
        id: Option<Value>,
    }
    let ids = serde_json::from_str::<Ids>(body).ok();
    let ids = ids.into_iter().flat_map(|ids| [ids.request_id, ids.id]).flatten();
    let mut ids = ids.filter_map(|id| id.as_str().filter(|id| is_request_id(id)).map(str::to_owned));
    ids.next().unwrap_or_else(|| message_id.to_owned())
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
        let process_one = |body: String| async move {
            match body.as_str() {
                "bad" => Err("it is bad"),
                "panicking" => panic!("on purpose"),
                _ => Ok(()),
            }
        };
        let deadline = SystemTime::now() + Duration::from_secs(60);
        let response = process(&batch(["panicking", "bad", "good"]), deadline, process_one).await;
        let json = serde_json::to_value(response).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m1"}]})
        );
    }

    #[test]
    fn a_message_has_the_id_of_the_request_or_event_that_caused_it() {
        for (body, expected) in [
            (
                r#"{"request_id": "JKJaXmPLvHcESHA=", "id": "another-id"}"#,
                "JKJaXmPLvHcESHA=",
            ),
            (
                r#"{"id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail": {}}"#,
                "7bf73129-1428-4cd3-a780-95db273d1602",
            ),
            (r#"{"request_id": "Ada Byrne, +14155550123"}"#, "message"),
            (r#"{"request_id": 14155550123, "id": null}"#, "message"),
            ("no JSON", "message"),
        ] {
            assert_eq!(request_id(body, "message"), expected, "{body}");
        }
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
