//! Queued transcriptions: the queue, the worker and the status endpoint.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use local::{
    demo,
    stack::functions::Functions,
    standins::{
        twilio::{Media, Recording},
        whisper::Fault,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::stack::{Answer, TestStack, answer};

const SID: &str = "RE1234567890abcdef";
const STATUS: &str = "/api/twilio/transcript/RE1234567890abcdef";

/// The documented recording, with this status and this length in its metadata.
fn recording(status: &str, duration: Option<u32>) -> Recording {
    let row = demo::twilio_recordings(demo::DOCUMENTED_TIME)
        .into_iter()
        .find(|row| row.sid == SID)
        .expect("the documented recording exists");
    Recording {
        status: status.into(),
        duration,
        ..row
    }
}

async fn stack_with(recording: Recording) -> TestStack {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording);
    stack
}

async fn post_async(stack: &TestStack, body: Value) -> Answer {
    let request = stack
        .request(Method::POST, "/api/twilio/transcript/")
        .header("Prefer", "respond-async");
    answer(request.header("X-API-Key", demo::API_KEY).json(&body)).await
}

/// Polls the state until it is a final one.
pub(crate) async fn finished(stack: &TestStack, status_url: &str) -> Answer {
    for _ in 0..10_000 {
        let answer = stack.get(status_url).await;
        if !matches!(answer.body["status"].as_str(), Some("queued" | "processing")) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    panic!("the job did not finish");
}

fn assert_accepted(answer: &Answer) {
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(
        (answer.body["status"].as_str(), answer.body["status_url"].as_str()),
        (Some("processing"), Some(STATUS))
    );
    assert!(
        answer.body["estimated_seconds"]
            .as_u64()
            .is_some_and(|seconds| seconds > 0)
    );
    assert!(answer.body.get("transcript").is_none());
}

/// Delivers a job to the worker as SQS would.
async fn deliver(stack: &TestStack, job: Value, seconds: u64) -> Value {
    let functions = Functions::from_env(&stack.stack.environment)
        .await
        .expect("the functions start");
    let event = json!({"Records": [{"messageId": "m1", "body": job.to_string()}]});
    let deadline = SystemTime::now() + Duration::from_secs(seconds);
    functions
        .deliver("transcription-worker", event, deadline)
        .await
        .expect("the worker")
        .expect("an answer")
}

#[tokio::test]
async fn respond_async_returns_202_and_the_worker_does_the_job_once() {
    let stack = stack_with(recording("completed", Some(45))).await;
    assert_accepted(&post_async(&stack, json!({"recording_sid": SID})).await);
    let done = finished(&stack, STATUS).await;
    assert_eq!(done.body["status"], "completed");
    assert!(
        done.body["transcript"]
            .as_str()
            .is_some_and(|text| text.starts_with("Hello, this is my response"))
    );
    assert_eq!(done.body["recording_details"]["call_sid"], "CA1234567890abcdef");

    let again = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    assert_eq!((again.status.as_u16(), &again.body["cached"]), (200, &json!(true)));
    assert_eq!(again.body["timestamp"], done.body["timestamp"]);
    assert_eq!(stack.stack.whisper.calls(), 1);
}

#[tokio::test]
async fn a_recording_that_takes_too_long_is_queued_automatically() {
    let stack = stack_with(recording("completed", Some(3600))).await;
    let answer = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    assert_accepted(&answer);
    assert_eq!(answer.body["estimated_seconds"], 48);
    assert_eq!(finished(&stack, STATUS).await.body["status"], "completed");
}

#[tokio::test]
async fn a_queued_recording_is_not_queued_again_and_shows_its_state() {
    let stack = stack_with(recording("completed", Some(45))).await;
    let gate = Arc::new(Semaphore::new(0));
    stack.stack.whisper.fault(Fault::Gate(gate.clone()), None);
    for _ in 0..5 {
        assert_accepted(&post_async(&stack, json!({"recording_sid": SID})).await);
    }
    stack.stack.whisper.wait_for_calls(1).await;
    let state = stack.get(&format!("{STATUS}/")).await;
    assert_eq!(
        (state.status.as_u16(), state.body["status"].as_str()),
        (200, Some("processing"))
    );
    let early = stack.get(&format!("{STATUS}?format=srt")).await;
    early.twilio_error(409, "transcript_not_ready");
    gate.add_permits(100);
    assert_eq!(finished(&stack, STATUS).await.body["status"], "completed");
    assert_eq!(stack.stack.whisper.calls(), 1);
}

#[tokio::test]
async fn a_permanent_failure_ends_the_job_with_its_reason() {
    let stack = stack_with(recording("completed", Some(45))).await;
    let body = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    stack.stack.whisper.fault(
        Fault::Status {
            status: 429,
            headers: vec![],
            body: body.into(),
        },
        Some(1),
    );
    assert_accepted(&post_async(&stack, json!({"recording_sid": SID})).await);
    let failed = finished(&stack, STATUS).await;
    assert_eq!(
        (failed.status.as_u16(), failed.body["status"].as_str()),
        (200, Some("failed"))
    );
    assert_eq!(
        (failed.body["code"].as_str(), &failed.body["retryable"]),
        (Some("whisper_quota_exceeded"), &json!(false))
    );
    assert!(failed.body.get("transcript").is_none());
    assert_eq!(stack.stack.whisper.calls(), 1);

    let again = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    assert_eq!(
        (again.status.as_u16(), &again.body["cached"]),
        (200, &json!(false)),
        "a new request retries"
    );
}

#[tokio::test]
async fn a_job_can_wait_for_a_call_in_progress() {
    let stack = stack_with(recording("in-progress", None)).await;
    let refused = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    refused.twilio_error(500, "recording_not_completed");
    let accepted = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID, "wait": true}))
        .await;
    assert_accepted(&accepted);
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");

    stack.stack.twilio.add(recording("completed", Some(45)));
    // The stack's own worker retries after a minute if it has already received the job. The test's worker does not wait.
    let until = Timestamp::now() + Duration::from_secs(3600);
    let job = json!({"recording_sid": SID, "wait_until": until});
    assert_eq!(deliver(&stack, job, 60).await, json!({"batchItemFailures": []}));
    assert_eq!(finished(&stack, STATUS).await.body["status"], "completed");
    assert_eq!(stack.stack.whisper.calls(), 1);
}

#[tokio::test]
async fn a_job_does_not_wait_for_a_call_beyond_the_limit() {
    let stack = stack_with(recording("processing", None)).await;
    deliver(
        &stack,
        json!({"recording_sid": SID, "wait_until": "2020-01-01T00:00:00Z"}),
        60,
    )
    .await;
    let failed = stack.get(STATUS).await;
    assert_eq!(
        (failed.body["status"].as_str(), failed.body["code"].as_str()),
        (Some("failed"), Some("recording_not_completed"))
    );
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn a_job_that_exceeds_its_time_is_queued_again_and_fails_after_five_attempts() {
    let stack = stack_with(recording("completed", Some(45))).await;
    stack.stack.whisper.fault(Fault::Hang, None);
    // The worker reserves five seconds before its deadline.
    deliver(&stack, json!({"recording_sid": SID, "attempts": 0}), 6).await;
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");
    deliver(&stack, json!({"recording_sid": SID, "attempts": 4}), 6).await;
    let failed = stack.get(STATUS).await;
    assert_eq!(
        (failed.body["status"].as_str(), failed.body["code"].as_str()),
        (Some("failed"), Some("transcription_timeout"))
    );
}

#[tokio::test]
async fn an_invalid_message_is_delivered_again_until_it_reaches_the_dead_letter_queue() {
    let stack = TestStack::empty().await;
    for job in [json!("nonsense"), json!({"recording_sid": "../x"}), json!({})] {
        assert_eq!(
            deliver(&stack, job, 60).await,
            json!({"batchItemFailures": [{"itemIdentifier": "m1"}]})
        );
    }
}

#[tokio::test]
async fn a_job_is_sent_again_if_the_table_fails_and_not_acknowledged_if_the_queue_fails_too() {
    let stack = stack_with(recording("completed", Some(45))).await;
    let down = Some(axum::http::StatusCode::SERVICE_UNAVAILABLE);
    stack.stack.aws.faults().set(local::aws::Service::DynamoDb, down);
    let sent_again = || async {
        let attribute = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessagesDelayed;
        let queue = stack.stack.environment.optional("TRANSCRIPTION_QUEUE_URL");
        let sqs = stack.aws().sqs();
        let asked = sqs
            .get_queue_attributes()
            .queue_url(queue.unwrap())
            .attribute_names(attribute.clone());
        asked.send().await.unwrap().attributes.unwrap()[&attribute].clone()
    };
    let answer = deliver(&stack, json!({"recording_sid": SID}), 60).await;
    assert_eq!(
        (answer, sent_again().await.as_str()),
        (json!({"batchItemFailures": []}), "1")
    );
    stack.stack.aws.faults().set(local::aws::Service::Sqs, down);
    let answer = deliver(&stack, json!({"recording_sid": SID}), 60).await;
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "m1"}]}));
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn a_failing_queue_is_a_503_and_stores_nothing() {
    let stack = stack_with(recording("completed", Some(45))).await;
    let down = Some(axum::http::StatusCode::SERVICE_UNAVAILABLE);
    stack.stack.aws.faults().set(local::aws::Service::Sqs, down);
    let refused = post_async(&stack, json!({"recording_sid": SID})).await;
    refused.twilio_error(503, "queue_unavailable");
    assert_eq!(refused.body["retryable"], true);
    stack.get(STATUS).await.twilio_error(404, "transcript_not_found");
}

#[tokio::test]
async fn a_stored_transcript_is_returned_in_every_format_without_a_paid_call() {
    let stack = stack_with(recording("completed", Some(45))).await;
    let body = json!({"recording_sid": SID, "timestamps": "segment"});
    let posted = stack.post("/api/twilio/transcript/", &body).await;
    let segments = posted.body["segments"].as_array().expect("segments").clone();
    assert!(
        !segments.is_empty()
            && segments
                .iter()
                .all(|segment| segment["start"].as_f64() <= segment["end"].as_f64())
    );
    assert!(posted.body.get("words").is_none());
    assert_eq!(
        (&posted.body["language"], &posted.body["model"]),
        (&json!("english"), &json!("whisper-1"))
    );
    assert_eq!(
        (&posted.body["billed_seconds"], &posted.body["no_speech"]),
        (&json!(45), &json!(false))
    );
    assert_eq!(posted.body["dropped_segments"], 0);

    for (format, content_type, beginning) in [
        ("text", "text/plain; charset=utf-8", "Hello, this is my response"),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:0"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:0"),
    ] {
        let request = stack
            .request(Method::GET, &format!("{STATUS}?format={format}"))
            .header("X-API-Key", demo::API_KEY);
        let response = request.send().await.expect("an answer");
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()["content-type"].to_str().unwrap()
            ),
            (200, content_type)
        );
        let text = response.text().await.expect("a body");
        assert!(text.starts_with(beginning), "{text}");
    }
    let words = stack.get(&format!("{STATUS}?timestamps=word&format=json")).await;
    assert_eq!(words.body["segments"], json!(segments));
    assert!(words.body["words"].is_array());
    assert_eq!(stack.stack.whisper.calls(), 1);
}

#[tokio::test]
async fn each_set_of_options_has_a_separate_transcript() {
    let stack = stack_with(recording("completed", Some(45))).await;
    let english = json!({"recording_sid": SID, "language": "en", "prompt": "interview"});
    for (body, cached) in [
        (json!({"recording_sid": SID}), false),
        (english.clone(), false),
        (english, true),
    ] {
        let answer = stack.post("/api/twilio/transcript/", &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["cached"]),
            (200, &json!(cached)),
            "{body}"
        );
    }
    let sent = &stack.stack.whisper.requests()[1].fields;
    for field in [("language", "en"), ("prompt", "interview")] {
        assert!(sent.contains(&(field.0.into(), field.1.into())), "{sent:?}");
    }
    assert_eq!(stack.stack.whisper.calls(), 2);

    let queued = post_async(&stack, json!({"recording_sid": SID, "language": "de"})).await;
    let status_url = queued.body["status_url"].as_str().expect("a status URL").to_owned();
    assert!(status_url.starts_with(&format!("{STATUS}?variant=")));
    assert_eq!(finished(&stack, &status_url).await.body["status"], "completed");
}

#[tokio::test]
async fn force_transcribes_again_and_a_failure_keeps_the_old_transcript() {
    let stack = stack_with(recording("completed", Some(45))).await;
    let body = json!({"recording_sid": SID});
    let first = stack.post("/api/twilio/transcript/", &body).await;
    let forced = json!({"recording_sid": SID, "force": true});
    let second = stack.post("/api/twilio/transcript/", &forced).await;
    assert_eq!(
        (&first.body["cached"], &second.body["cached"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(stack.stack.whisper.calls(), 2);

    let broken = r#"{"error":{"message":"Audio file might be corrupted or unsupported"}}"#;
    stack.stack.whisper.fault(
        Fault::Status {
            status: 400,
            headers: vec![],
            body: broken.into(),
        },
        Some(2),
    );
    stack
        .post("/api/twilio/transcript/", &forced)
        .await
        .twilio_error(500, "audio_unsupported");
    let kept = stack.post("/api/twilio/transcript/", &body).await;
    assert_eq!(
        (&kept.body["cached"], &kept.body["transcript"]),
        (&json!(true), &first.body["transcript"])
    );
}

#[tokio::test]
async fn invalid_options_and_queries_are_rejected_without_a_paid_call() {
    let stack = stack_with(recording("completed", Some(45))).await;
    for options in [
        json!({"language": "english"}),
        json!({"language": ""}),
        json!({"prompt": ""}),
        json!({"prompt": "x".repeat(1001)}),
        json!({"model": "a b"}),
        json!({"model": ""}),
    ] {
        let mut body = options.clone();
        body["recording_sid"] = SID.into();
        stack
            .post("/api/twilio/transcript/", &body)
            .await
            .twilio_error(400, "invalid_parameter");
    }
    for options in [
        json!({"timestamps": "letter"}),
        json!({"force": "yes"}),
        json!({"wait": 1}),
        json!({"laguage": "en"}),
    ] {
        let mut body = options.clone();
        body["recording_sid"] = SID.into();
        stack
            .post("/api/twilio/transcript/", &body)
            .await
            .twilio_error(400, "invalid_body");
    }
    for query in ["format=docx", "timestamps=letter", "variant=x", "format="] {
        stack
            .get(&format!("{STATUS}?{query}"))
            .await
            .twilio_error(400, "invalid_parameter");
    }
    stack
        .get(&format!("{STATUS}?page=1"))
        .await
        .twilio_error(400, "unknown_parameter");
    stack
        .get("/api/twilio/transcript/nonsense")
        .await
        .twilio_error(400, "invalid_recording_sid");
    assert!(stack.stack.twilio.requests().is_empty());
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn a_silent_recording_is_reported_as_no_speech() {
    let silent = Recording {
        media: Media::Generated { bytes: 40_000 },
        ..recording("completed", Some(10))
    };
    let stack = stack_with(silent).await;
    let answer = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    assert_eq!(
        (
            answer.status.as_u16(),
            &answer.body["transcript"],
            &answer.body["no_speech"]
        ),
        (200, &json!(""), &json!(true))
    );
}
