//! The lengths of the queues, dead letters included.

use local::aws::Service;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::stack::TestStack;

async fn queue(stack: &TestStack, name: &str) -> Value {
    let body = stack.get("/reports/queues").await.body;
    let queues = body["queues"].as_array().unwrap().iter();
    queues.filter(|queue| queue["name"] == name).cloned().collect()
}

#[tokio::test]
async fn waiting_messages_and_dead_letters_are_counted_for_each_queue() {
    let stack = TestStack::empty().await;
    let idle = |name: &str| json!([{"name": name, "waiting": 0, "in_progress": 0, "dead_letters": 0}]);
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
    assert_eq!(
        (&counted[0]["waiting"], &counted[0]["dead_letters"]),
        (&json!(1), &json!(0))
    );
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
