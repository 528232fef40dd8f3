//! An event for every queue and schedule.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use local::stack::account;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    call::Call,
    lane::{Lane, Reply, TIME},
};

/// The sources of events: the function, and a word for which of its messages.
pub(super) const SOURCES: [(&str, &str); 8] = [
    ("transcription-worker", "twilio"),
    ("transcription-worker", "egress"),
    ("archive-recording", "copy"),
    ("erase-recording", "call"),
    ("index-recording", "created"),
    ("index-recording", "deleted"),
    ("index-interaction", "updated"),
    ("reconcile-recordings", "round"),
];

/// What the function reserves of its time before it stops, besides [`TIME`].
pub(super) fn margin(function: &str) -> Duration {
    let seconds = match function {
        "archive-recording" => 20,
        "erase-recording" | "reconcile-recordings" => 60,
        "transcription-worker" => 5,
        _ => 3,
    };
    Duration::from_secs(seconds)
}

/// Makes what the message is about, and returns the message.
pub(super) async fn prepare(lane: &Lane, call: &Call, source: (&str, &str)) -> String {
    let message = match source {
        ("transcription-worker", "twilio") => {
            call.twilio(lane);
            json!({"recording_sid": call.sid()})
        }
        ("transcription-worker", _) => {
            call.egress(lane);
            json!({"dispatch_id": call.dispatch()})
        }
        ("archive-recording", _) => {
            call.twilio(lane);
            json!({"recording_sid": call.sid()})
        }
        ("erase-recording", _) => {
            call.egress(lane);
            call.twilio(lane);
            let path = format!("/recordings/{}", call.dispatch());
            lane.must(Method::GET, &path, &Value::Null).await;
            lane.must(Method::POST, &format!("{path}/transcript"), &json!({})).await;
            lane.must(Method::POST, &format!("{path}/shares"), &json!({"expires_in": 600}))
                .await;
            let asked = lane.must(Method::DELETE, &path, &Value::Null).await;
            json!({"erasure_id": asked["erasure_id"]})
        }
        ("index-recording", kind) => {
            call.egress(lane);
            let event = |kind: &str| {
                json!({"version": "0", "id": "1", "detail-type": kind, "source": "aws.s3", "time": call.began.to_string(), "detail": {
                    "bucket": {"name": account::BUCKET}, "object": {"key": call.key(), "size": 5, "sequencer": "00617F08299329D189"}, "reason": "PutObject",
                }})
            };
            match kind {
                "created" => event("Object Created"),
                _ => {
                    deliver(lane, "index-recording", &event("Object Created").to_string(), 1).await;
                    lane.stack.remove_object(&call.key());
                    event("Object Deleted")
                }
            }
        }
        ("index-interaction", _) => json!({
            "version": "0", "id": "1", "detail-type": "interaction.updated", "source": "crm", "time": call.began.to_string(),
            "detail": {"interaction_id": call.interaction(), "phone": format!("+{}", call.phone()), "status": "NEW"},
        }),
        _ => {
            call.egress(lane);
            call.twilio(lane);
            json!({})
        }
    };
    message.to_string()
}

/// Delivers a message for the `time`th time. The status is 200 if it was acknowledged and 500 if it is to be delivered again.
pub(super) async fn deliver(lane: &Lane, function: &str, message: &str, time: u32) -> Reply {
    let event = match function {
        "reconcile-recordings" => json!({}),
        _ => {
            json!({"Records": [{"messageId": "m1", "body": message, "attributes": {"ApproximateReceiveCount": time.to_string()}}]})
        }
    };
    let began = Instant::now();
    let deadline = SystemTime::now() + margin(function) + TIME;
    let answer = lane
        .functions
        .deliver(function, event, deadline)
        .await
        .expect("the function exists");
    let (status, body) = match answer {
        Err(error) => (500, error.to_string()),
        Ok(answer) if answer == json!({"batchItemFailures": []}) || answer == json!({"finished": true}) => {
            (200, String::new())
        }
        Ok(answer) => (500, answer.to_string()),
    };
    Reply {
        status,
        body,
        took: began.elapsed(),
    }
}

/// Lets the leases on the call's transcripts expire. Returns how long the longest would have lasted.
pub(super) async fn end_leases(lane: &Lane, call: &Call) -> Duration {
    let client = lane.stack.aws().dynamodb();
    let table = account::TRANSCRIPTS_TABLE;
    let mut longest = Duration::ZERO;
    let items = client
        .scan()
        .table_name(table)
        .send()
        .await
        .unwrap()
        .items
        .unwrap_or_default();
    for item in items {
        let text = |name: &str| {
            item.get(name)
                .and_then(|value| value.as_s().ok())
                .cloned()
                .unwrap_or_default()
        };
        let id = text("id");
        let is_own = call.names().iter().any(|name| id.contains(name.as_str()));
        if !is_own || text("state") != "in_progress" {
            continue;
        }
        let until: i64 = item["lease_until"].as_n().unwrap().parse().unwrap();
        let left = until - Timestamp::now().as_millisecond();
        longest = longest.max(Duration::from_millis(left.max(0) as u64));
        let update = client.update_item().table_name(table).key("id", AttributeValue::S(id));
        let update = update.update_expression("SET lease_until = :past");
        let update = update.expression_attribute_values(":past", AttributeValue::N("1".into()));
        update.send().await.unwrap();
    }
    longest
}
