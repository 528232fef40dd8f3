//! One id of a request through the gateway, the function, the queue and the worker.

use local::{demo, standins::whisper::Fault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    jobs::finished,
    logs::log_of_this_thread,
    stack::{TestStack, answer},
    worker::{SID, STATUS, mono, recording, talk},
};

async fn stack_with_a_recording() -> TestStack {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(local::standins::twilio::Recording {
        duration: Some(5),
        ..recording(SID, mono(&talk(5.0, 3)))
    });
    stack
}

/// Queues the recording, waits until its job is done, and returns the id of the request that queued it.
async fn transcribed(stack: &TestStack) -> String {
    let request = stack.request(Method::POST, "/api/twilio/transcript/");
    let request = request
        .header("Prefer", "respond-async")
        .header("X-API-Key", demo::API_KEY);
    let queued = answer(request.json(&json!({"recording_sid": SID}))).await;
    assert_eq!(queued.status, 202, "{}", queued.body);
    finished(stack, STATUS).await;
    queued.headers["apigw-requestid"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_worker_logs_the_request_that_queued_its_job() {
    let log = log_of_this_thread();
    let stack = stack_with_a_recording().await;
    let id = transcribed(&stack).await;
    let text = log.text();
    let of_request = |line: &&str| line.contains(&format!("request_id=\"{id}\""));
    let lines: Vec<&str> = text.lines().filter(of_request).collect();
    assert!(lines.iter().any(|line| line.contains("request answered")), "{text}");
    let paid = lines.iter().find(|line| line.contains("transcription paid"));
    assert!(paid.unwrap().contains("invocation_id="), "{text}");
}

#[tokio::test]
async fn a_stored_failure_has_the_request_that_queued_the_job_and_an_error_that_of_its_own_request() {
    let stack = stack_with_a_recording().await;
    let corrupted = Fault::Status {
        status: 400,
        headers: vec![],
        body: r#"{"error":{"message":"Audio file might be corrupted or unsupported"}}"#.into(),
    };
    stack.stack.whisper.fault(corrupted, None);
    let id = transcribed(&stack).await;
    let items = stack
        .aws()
        .dynamodb()
        .scan()
        .table_name("transcripts")
        .send()
        .await
        .unwrap();
    let failed = items.items().iter().find_map(|item| item.get("failed_request"));
    assert_eq!(failed.unwrap().as_s().unwrap(), &id);

    let missing = stack
        .get("/api/twilio/transcript/RE00000000000000000000000000000000")
        .await;
    let id: &Value = &missing.body["request_id"];
    assert_eq!(missing.headers["apigw-requestid"].to_str().ok(), id.as_str());
}
