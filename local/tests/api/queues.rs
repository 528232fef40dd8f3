//! The lengths of the queues, dead letters included.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use local::{aws::Service, stack::account};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    stack::TestStack,
    worker::{SID, STATUS, mono, recording, talk},
};

async fn queue(stack: &TestStack, name: &str) -> Value {
    let body = stack.get("/reports/queues").await.body;
    let queues = body["queues"].as_array().unwrap().iter();
    queues.filter(|queue| queue["name"] == name).cloned().collect()
}

#[tokio::test]
async fn waiting_messages_and_dead_letters_are_counted_for_each_queue() {
    let stack = TestStack::empty().await;
    let idle = |name: &str| json!([{"name": name, "waiting": 0, "delayed": 0, "in_progress": 0, "dead_letters": 0}]);
    for name in ["transcription", "object_events", "interaction_events"] {
        assert_eq!(queue(&stack, name).await, idle(name));
    }
    let (sqs, environment) = (stack.aws().sqs(), &stack.stack.environment);
    for (variable, delay) in [
        ("TRANSCRIPTION_QUEUE_URL", 600),
        ("OBJECT_EVENTS_DEAD_LETTERS_URL", 0),
        ("OBJECT_EVENTS_DEAD_LETTERS_URL", 0),
    ] {
        let message = sqs.send_message().queue_url(environment.required(variable).unwrap());
        message.message_body("{}").delay_seconds(delay).send().await.unwrap();
    }
    let counted = queue(&stack, "transcription").await;
    assert_eq!((&counted[0]["delayed"], &counted[0]["waiting"]), (&json!(1), &json!(0)));
    let dead = queue(&stack, "object_events").await;
    assert_eq!((&dead[0]["waiting"], &dead[0]["dead_letters"]), (&json!(0), &json!(2)));
    assert_eq!(queue(&stack, "interaction_events").await, idle("interaction_events"));
}

#[tokio::test]
async fn an_outage_of_sqs_is_no_empty_queue() {
    let stack = TestStack::empty().await;
    stack
        .stack
        .aws
        .faults()
        .set(Service::Sqs, Some(StatusCode::SERVICE_UNAVAILABLE));
    let down = stack.get("/reports/queues").await;
    down.recordings_error(503, "queue_unavailable");
}

/// Puts a message into a dead-letter queue, as SQS does after too many deliveries, and redrives it as docs/operations.md says.
async fn redrive(stack: &TestStack, queue: &str, message: &Value) {
    let (sqs, environment) = (stack.aws().sqs(), &stack.stack.environment);
    let url = |end: &str| environment.optional(&format!("{queue}_{end}")).unwrap().to_owned();
    let arn = async |url: String| {
        let query = sqs.get_queue_attributes().queue_url(url);
        let found = query
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .unwrap();
        found.attributes().unwrap()[&QueueAttributeName::QueueArn].clone()
    };
    let send = sqs.send_message().queue_url(url("DEAD_LETTERS_URL"));
    send.message_body(message.to_string()).send().await.unwrap();
    let dead_letters = arn(url("DEAD_LETTERS_URL")).await;
    let redrive = sqs.start_message_move_task().source_arn(dead_letters);
    let redrive = redrive.destination_arn(arn(url("QUEUE_URL")).await);
    redrive.send().await.unwrap();
    // The embedded SQS accepts the task and moves nothing.
    let dead_letters = url("DEAD_LETTERS_URL");
    let received = sqs.receive_message().queue_url(&dead_letters).send().await.unwrap();
    for message in received.messages() {
        let send = sqs.send_message().queue_url(url("QUEUE_URL"));
        send.message_body(message.body().unwrap()).send().await.unwrap();
        let delete = sqs.delete_message().queue_url(&dead_letters);
        delete
            .receipt_handle(message.receipt_handle().unwrap())
            .send()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn messages_that_are_redriven_from_each_dead_letter_queue_are_processed() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(SID, mono(&talk(5.0, 5))));
    redrive(&stack, "TRANSCRIPTION", &json!({"recording_sid": SID})).await;

    let key = "egress-recordings/2025/08/08/outbound-15103455686_1754653482.mp4";
    stack.put_object(key, b"sound");
    let detail =
        json!({"bucket": {"name": account::BUCKET}, "object": {"key": key, "sequencer": "0062E99A88DC407460"}});
    let created = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": detail});
    redrive(&stack, "OBJECT_EVENTS", &created).await;

    let detail = json!({"interaction_id": "crm-7", "status": "FAILED", "start_time": "2025-08-07T10:00:00Z"});
    let updated = json!({"source": "crm", "detail-type": "interaction.updated", "time": "2025-08-07T10:01:00Z", "detail": detail});
    redrive(&stack, "INTERACTION_EVENTS", &updated).await;

    for (path, is_there) in [
        (
            STATUS,
            &(|body: &Value| body["status"] == "completed") as &dyn Fn(&Value) -> bool,
        ),
        ("/recordings", &|body| {
            body["recordings"][0]["dispatch_id"] == "dispatch_1754653482_15103455686"
        }),
        ("/recordings?has_recording=false", &|body| {
            body["recordings"][0]["interaction_id"] == "crm-7"
        }),
    ] {
        let mut body = stack.get(path).await.body;
        for _ in 0..400 {
            if is_there(&body) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            body = stack.get(path).await.body;
        }
        assert!(is_there(&body), "{path}: {body}");
    }
    let report = stack.get("/reports/queues").await.body;
    for queue in report["queues"].as_array().unwrap() {
        assert_eq!(queue["dead_letters"], 0, "{queue}");
    }
}
