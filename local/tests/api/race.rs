//! A hundred concurrent requests for one recording: one transcription is paid for, and all requests get the transcript.

use std::sync::Arc;

use axum::http::Method;
use futures_util::future::join_all;
use local::{
    aws::Service,
    demo,
    standins::{
        tones::Script,
        twilio::{Media, Recording},
        whisper::Fault,
    },
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    stack::{TestStack, answer},
    worker::{SID, mono},
};

const REQUESTS: usize = 100;

/// Sends this body a hundred times concurrently, and delays the API's response until every request has tried to claim the lease. Returns the
/// text.
async fn race(stack: &TestStack, path: &str, body: &Value) -> String {
    let (whisper, aws) = (&stack.stack.whisper, &stack.stack.aws);
    let gate = Arc::new(Semaphore::new(0));
    whisper.fault(Fault::Gate(gate.clone()), None);
    let calls = whisper.calls();
    let writes = aws.calls_of(Service::DynamoDb, "UpdateItem");
    let request = || {
        let request = stack.request(Method::POST, path).header("X-API-Key", demo::API_KEY);
        answer(request.json(body))
    };
    let requests = join_all((0..REQUESTS).map(|_| request()));
    let release = async {
        whisper.wait_for_calls(calls + 1).await;
        while aws.calls_of(Service::DynamoDb, "UpdateItem") < writes + REQUESTS + 1 {
            tokio::task::yield_now().await;
        }
        gate.close();
    };
    let (answers, ()) = tokio::join!(requests, release);
    for got in &answers {
        assert_eq!(got.status, 200, "{}", got.body);
        for field in ["transcript", "timestamp"] {
            assert_eq!(got.body[field], answers[0].body[field]);
        }
    }
    let paid = answers.iter().filter(|got| got.body["cached"] == false).count();
    assert_eq!((paid, whisper.calls() - calls), (1, 1));
    answers[0].body["transcript"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_hundred_requests_for_a_twilio_recording_are_paid_for_once() {
    let stack = TestStack::empty().await;
    let script = Script::spoken(4.0, 1);
    stack.stack.twilio.add(Recording {
        sid: SID.into(),
        duration: Some(4),
        media: Media::Tones(mono(&script)),
        ..Recording::default()
    });
    let body = json!({ "recording_sid": SID });
    assert_eq!(race(&stack, "/api/twilio/transcript/", &body).await, script.text());
    let usage = stack.get("/api/twilio/usage").await.body;
    assert_eq!(
        (&usage["paid_calls"], &usage["answered_from_store"]),
        (&json!(1), &json!(99))
    );

    // An empty transcript counts as a transcript, too.
    let silent = "REfedcba9876543210";
    stack.stack.twilio.add(Recording {
        sid: silent.into(),
        duration: Some(4),
        media: Media::Tones(mono(&Script::new(4.0, []))),
        ..Recording::default()
    });
    let body = json!({ "recording_sid": silent });
    assert_eq!(race(&stack, "/api/twilio/transcript/", &body).await, "");
}

#[tokio::test]
async fn a_hundred_requests_for_a_livekit_recording_are_paid_for_once() {
    let stack = TestStack::demo().await;
    let call = demo::calls(demo::DOCUMENTED_TIME).into_iter().find(|call| {
        let clip = call.recording.as_ref().map(|(_, clip)| clip);
        clip.is_some_and(|clip| clip.name == "voicemail")
    });
    let call = call.unwrap();
    let path = format!("/recordings/{}/transcript", call.dispatch_id);
    let (_, clip) = call.recording.unwrap();
    assert_eq!(race(&stack, &path, &json!({})).await, clip.transcript());
}
