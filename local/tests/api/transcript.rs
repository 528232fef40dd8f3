//! `POST /api/twilio/transcript/`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use lambda_http::RequestExt;
use local::{
    aws::Service,
    clips, demo,
    stack::account::TRANSCRIPTS_TABLE,
    standins::{
        twilio::{self, Media, Recording},
        whisper,
    },
};
use serde_json::{Value, json};
use shared::clients::whisper::MAX_AUDIO_BYTES;
use tokio::sync::Semaphore;

use crate::jobs::finished;
use crate::program::Program;
use crate::stack::{Answer, StoppedClock, TestStack, answer, serve};

const TRANSCRIPT: &str = "/api/twilio/transcript/";
const DOCUMENTED: &str = "RE1234567890abcdef";

fn by_sid() -> Value {
    json!({ "recording_sid": DOCUMENTED })
}

fn words() -> String {
    clips::CLIPS[0].transcript()
}

/// The documented recording with this audio.
fn recording(media: Media) -> Recording {
    Recording {
        sid: DOCUMENTED.into(),
        call_sid: "CA1234567890abcdef".into(),
        duration: Some(45),
        date_created: "2024-01-15T10:30:00Z".parse().unwrap(),
        media,
        ..Recording::default()
    }
}

/// A stack with only that recording.
async fn with_media(media: Media) -> TestStack {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(media));
    stack
}

async fn with_speech() -> TestStack {
    with_media(Media::mp3(clips::CLIPS[0].mp3)).await
}

/// A fixed response of Whisper, for tests that do not depend on the recognition.
fn whisper_says(body: Value) -> whisper::Fault {
    whisper::Fault::Status {
        status: 200,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

fn media_requests(stack: &TestStack) -> usize {
    let log = stack.stack.twilio.requests();
    log.iter().filter(|request| request.path.ends_with(".mp3")).count()
}

#[track_caller]
fn completed(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["status"], "completed");
    answer.body["transcript"].as_str().unwrap()
}

/// Checks that this is the documented "Transcription failed", and returns its reason.
#[track_caller]
fn failed<'a>(answer: &'a Answer, code: &str) -> &'a str {
    assert_eq!(answer.twilio_error(500, code), "Unexpected error occurred");
    let details = answer.body["details"].as_str().unwrap();
    details.strip_prefix("Transcription failed: ").unwrap()
}

#[tokio::test]
async fn the_documented_requests_have_the_documented_responses() {
    let stack = TestStack::demo().await;
    let audio_url = format!(
        "{}/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1234567890abcdef.mp3",
        stack.stack.aws_url
    );
    let mut expected = json!({
        "recording_sid": "RE1234567890abcdef",
        "audio_url": audio_url,
        "transcript": "Hello, this is my response to the interview question. I have experience in software development and I'm excited about this opportunity.",
        "recording_details": {
            "status": "completed",
            "duration": 45,
            "date_created": "2024-01-15T10:30:00Z",
            "call_sid": "CA1234567890abcdef"
        },
        "status": "completed",
        "cached": false,
        "language": "english",
        "model": "whisper-1",
        "no_speech": false,
        "dropped_segments": 0,
        "audio_seconds": 45.0,
        "billed_seconds": 45,
        "cost_usd": 0.0045,
    });
    // The documented body, including its white space, as curl sends it.
    let curl = stack
        .request(Method::POST, TRANSCRIPT)
        .header("content-type", "application/json")
        .header("x-api-key", demo::API_KEY)
        .body("{\n    \"recording_sid\": \"RE1234567890abcdef\"\n  }");
    let before = Timestamp::now();
    let first = answer(curl).await;
    completed(&first);
    let timestamp = first.body["timestamp"].clone();
    let moment: Timestamp = timestamp.as_str().unwrap().parse().unwrap();
    assert_eq!(timestamp.as_str().unwrap().len(), "2024-01-15T10:35:00Z".len());
    let second = SignedDuration::from_secs(1);
    assert!(
        before - second <= moment && moment <= Timestamp::now() + second,
        "{timestamp}"
    );
    expected["timestamp"] = timestamp;
    assert_eq!(first.body, expected);

    expected["cached"] = true.into();
    for path in [
        "/api/twilio/transcript",
        &format!("{TRANSCRIPT}?api_key={}", demo::API_KEY),
    ] {
        let mut request = stack.request(Method::POST, path).json(&by_sid());
        if !path.contains("api_key") {
            request = request.header("x-api-key", demo::API_KEY);
        }
        assert_eq!(answer(request).await.body, expected, "{path}");
    }

    let documented_url =
        "https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1234567890abcdef.mp3";
    let both = json!({"recording_sid": "RE1234567890abcdef", "audio_url": documented_url});
    assert_eq!(stack.post(TRANSCRIPT, &both).await.body, expected);
    expected.as_object_mut().unwrap().remove("recording_details");
    for url in [documented_url, &audio_url] {
        let by_url = stack.post(TRANSCRIPT, &json!({ "audio_url": url })).await;
        assert_eq!(by_url.body, expected, "{url}");
    }
    assert_eq!(stack.stack.whisper.calls(), 1, "it is paid for once");
    assert_eq!(media_requests(&stack), 1);
}

#[tokio::test]
async fn a_request_with_only_an_audio_url_has_no_recording_details() {
    let stack = with_speech().await;
    for (extension, cached) in [("", false), (".mp3", true), (".wav", true)] {
        let url = format!(
            "https://api.twilio.com/2010-04-01/Accounts/{}/Recordings/{DOCUMENTED}{extension}",
            demo::ACCOUNT_SID
        );
        let got = stack.post(TRANSCRIPT, &json!({ "audio_url": url })).await;
        assert_eq!(completed(&got), words());
        assert_eq!(got.body["cached"], cached);
        assert_eq!(got.body.get("recording_details"), None);
        assert!(got.body["audio_url"].as_str().unwrap().ends_with(".mp3"));
    }
}

#[tokio::test]
async fn the_upload_has_the_fields_of_the_transcription_api() {
    let stack = with_speech().await;
    completed(&stack.post(TRANSCRIPT, &by_sid()).await);
    let upload = &stack.stack.whisper.requests()[0];
    assert!(upload.authorized);
    assert_eq!(upload.file_name.as_deref(), Some("audio.mp3"));
    assert_eq!(upload.content_type.as_deref(), Some("audio/mpeg"));
    assert_eq!(upload.file_bytes, clips::CLIPS[0].mp3.len() as u64);
    let field = |name: &str| {
        let values: Vec<_> = upload.fields.iter().filter(|(known, _)| known == name).collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].1.as_str()
    };
    assert_eq!(
        (field("model"), field("temperature"), field("response_format")),
        ("whisper-1", "0", "verbose_json")
    );
}

#[tokio::test]
async fn the_documented_errors() {
    let stack = TestStack::demo().await;
    for body in [
        json!({}),
        json!({"recording_sid": null, "audio_url": null}),
        json!({"recording_sid": ""}),
        json!({"audio_url": ""}),
    ] {
        let missing = stack.post(TRANSCRIPT, &body).await;
        let error = missing.twilio_error(400, "missing_parameter");
        assert_eq!(error, "Either recording_sid or audio_url is required");
    }
    let unknown = stack
        .post(
            TRANSCRIPT,
            &json!({"recording_sid": "RE00000000000000000000000000000000"}),
        )
        .await;
    let error = unknown.twilio_error(404, "recording_not_found");
    assert_eq!(error, "Failed to fetch recording details: Recording not found");

    let in_progress = demo::twilio_recordings(demo::DOCUMENTED_TIME)
        .into_iter()
        .find(|recording| recording.status == "in-progress")
        .unwrap();
    let mut refused = stack.post(TRANSCRIPT, &json!({"recording_sid": in_progress.sid})).await;
    assert_eq!(refused.status, 500);
    refused.body.as_object_mut().unwrap().remove("request_id");
    assert_eq!(
        refused.body,
        json!({
            "error": "Unexpected error occurred",
            "details": "Transcription failed: Recording not completed (status=in-progress)",
            "code": "recording_not_completed",
            "retryable": true,
        })
    );
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn without_a_valid_key_no_upstream_is_called() {
    let stack = TestStack::demo().await;
    let calls_of_a_start = stack.stack.aws.calls(Service::DynamoDb);
    for key in [None, Some("wrong")] {
        let mut request = stack.request(Method::POST, TRANSCRIPT).json(&by_sid());
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        answer(request).await.twilio_error(401, "unauthorized");
    }
    assert_eq!(stack.stack.twilio.requests(), []);
    assert_eq!(stack.stack.aws.calls(Service::DynamoDb), calls_of_a_start);
}

#[tokio::test]
async fn silence_is_an_empty_transcript_that_is_stored() {
    let stack = with_media(Media::Generated { bytes: 28_800 }).await;
    let first = stack.post(TRANSCRIPT, &by_sid()).await;
    assert_eq!(completed(&first), "");
    let second = stack.post(TRANSCRIPT, &by_sid()).await;
    assert_eq!((completed(&second), &second.body["cached"]), ("", &json!(true)));
    assert_eq!(stack.stack.whisper.calls(), 1);
}

#[tokio::test]
async fn a_failure_is_not_stored() {
    let stack = with_speech().await;
    let refusal = whisper::Fault::Status {
        status: 400,
        headers: Vec::new(),
        body: json!({"error": {"message": "Audio file might be corrupted or unsupported"}}).to_string(),
    };
    // The file is refused, and so is the decoded audio that is sent after it.
    stack.stack.whisper.fault(refusal, Some(2));
    failed(&stack.post(TRANSCRIPT, &by_sid()).await, "audio_unsupported");
    let second = stack.post(TRANSCRIPT, &by_sid()).await;
    assert_eq!(
        (completed(&second), &second.body["cached"]),
        (words().as_str(), &json!(false))
    );
}

/// Stores the lease of a killed worker.
async fn leave_lease(stack: &TestStack, until: Timestamp) {
    let text = |text: &str| AttributeValue::S(text.into());
    let number = |number: i64| AttributeValue::N(number.to_string());
    let table = stack.aws().dynamodb();
    table
        .put_item()
        .table_name(TRANSCRIPTS_TABLE)
        .item("id", text(&format!("twilio#{DOCUMENTED}#default")))
        .item("state", text("in_progress"))
        .item("version", number(7))
        .item("lease_owner", text("dead"))
        .item("lease_until", number(until.as_millisecond()))
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn the_lease_of_a_killed_worker_is_replaced_after_it_expires() {
    for left in [SignedDuration::from_secs(-1), SignedDuration::from_millis(150)] {
        let stack = with_speech().await;
        leave_lease(&stack, Timestamp::now() + left).await;
        let got = stack.post(TRANSCRIPT, &by_sid()).await;
        assert_eq!(completed(&got), words(), "{left}");
        assert_eq!(stack.stack.whisper.calls(), 1);
    }
}

#[tokio::test]
async fn while_another_worker_holds_the_lease_nothing_is_paid_and_the_response_has_a_status_url() {
    let stack = with_speech().await;
    leave_lease(&stack, Timestamp::now() + SignedDuration::from_hours(1)).await;
    let state = transcribe_recording::State::from_env(&stack.stack.environment)
        .await
        .unwrap();
    let mut context = lambda_http::Context::default();
    // 1.5 s of this are the margin for the response.
    context.deadline = (Timestamp::now() + SignedDuration::from_millis(1800)).as_millisecond() as u64;
    let request = lambda_http::http::Request::post("https://api.example/api/twilio/transcript")
        .header("x-api-key", demo::API_KEY)
        .body(lambda_http::Body::from(by_sid().to_string()))
        .unwrap();
    let response = transcribe_recording::handle(&state, request.with_lambda_context(context)).await;
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        (response.status().as_u16(), &body["status"], &body["status_url"]),
        (
            202,
            &json!("processing"),
            &json!("/api/twilio/transcript/RE1234567890abcdef")
        ),
        "{body}"
    );
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn a_recording_that_is_not_completed_is_an_error_with_its_status() {
    let stack = with_speech().await;
    for (status, retryable) in [
        ("in-progress", true),
        ("paused", true),
        ("stopped", true),
        ("processing", true),
        ("absent", false),
        ("deleted", false),
        ("failed", false),
    ] {
        stack.stack.twilio.add(Recording {
            status: status.into(),
            ..recording(Media::None)
        });
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        let reason = failed(&refused, "recording_not_completed");
        assert_eq!(reason, format!("Recording not completed (status={status})"));
        assert_eq!(
            refused.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{status}"
        );
    }
    assert_eq!((media_requests(&stack), stack.stack.whisper.calls()), (0, 0));
}

#[tokio::test]
async fn unavailable_audio_has_a_separate_code_and_is_not_paid_for() {
    let stack = TestStack::empty().await;
    let mp3 = || Media::mp3(clips::CLIPS[0].mp3);
    for (row, code, retryable) in [
        (
            Recording {
                encryption_details: Some(json!({"encryption_public_key_sid": "CR1"})),
                ..recording(mp3())
            },
            "recording_encrypted",
            false,
        ),
        (
            Recording {
                external_media_url: Some("https://customer.example/x.wav".into()),
                ..recording(mp3())
            },
            "recording_stored_externally",
            false,
        ),
        (recording(Media::None), "media_not_found", false),
        (recording(Media::Status(410)), "media_not_found", false),
        (recording(Media::Status(401)), "twilio_unauthorized", false),
        (recording(Media::Status(400)), "twilio_error", false),
        (recording(Media::mp3(&b""[..])), "media_empty", false),
        (
            recording(Media::mp3(&b"<!DOCTYPE html><html>"[..])),
            "media_not_audio",
            false,
        ),
        (
            recording(Media::mp3(&b"{\"code\": 20404}"[..])),
            "media_not_audio",
            false,
        ),
        (recording(Media::mp3(&b"ID"[..])), "media_not_audio", false),
    ] {
        stack.stack.twilio.add(row);
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        failed(&refused, code);
        assert_eq!(
            refused.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{code}"
        );
    }
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn the_largest_accepted_audio_is_below_the_apis_limit() {
    let stack = with_media(Media::Generated { bytes: MAX_AUDIO_BYTES }).await;
    stack
        .stack
        .whisper
        .fault(whisper_says(json!({"text": "long"})), Some(1));
    assert_eq!(completed(&stack.post(TRANSCRIPT, &by_sid()).await), "long");
    assert_eq!(stack.stack.whisper.requests()[0].file_bytes, MAX_AUDIO_BYTES);
}

#[tokio::test]
async fn media_without_a_content_length_is_uploaded_completely() {
    let clip = &clips::CLIPS[3];
    let stack = with_media(Media::mp3(clip.mp3)).await;
    stack.stack.twilio.fault(".mp3", twilio::Fault::NoContentLength, None);
    assert_eq!(completed(&stack.post(TRANSCRIPT, &by_sid()).await), clip.transcript());
    assert_eq!(stack.stack.whisper.requests()[0].file_bytes, clip.mp3.len() as u64);
}

#[tokio::test]
async fn truncated_media_is_downloaded_again_and_never_transcribed() {
    for fault in [twilio::Fault::Truncate] {
        let stack = with_speech().await;
        stack.stack.twilio.fault(".mp3", fault.clone(), Some(1));
        assert_eq!(completed(&stack.post(TRANSCRIPT, &by_sid()).await), words());
        assert_eq!(media_requests(&stack), 2);

        let stack = with_speech().await;
        stack.stack.twilio.fault(".mp3", fault, None);
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        failed(&refused, "twilio_unavailable");
        assert_eq!(refused.body["retryable"], true);
        assert_eq!(media_requests(&stack), 3, "nested retries would multiply");
        stack.stack.twilio.clear_faults();
        let next = stack.post(TRANSCRIPT, &by_sid()).await;
        assert_eq!(
            (completed(&next), &next.body["cached"]),
            (words().as_str(), &json!(false))
        );
    }
}

#[tokio::test]
async fn twilios_errors_have_separate_codes_for_metadata_and_media() {
    let stack = with_speech().await;
    let status = |status, retry_after| twilio::Fault::Status {
        status,
        retry_after,
        body: None,
    };
    let broken = twilio::Fault::Status {
        status: 200,
        retry_after: None,
        body: Some("<html>".into()),
    };
    for (path, fault, code, retryable, retry_after, requests) in [
        (".json", status(401, None), "twilio_unauthorized", false, None, 1),
        (".json", status(429, Some(0)), "twilio_rate_limited", true, Some("1"), 4),
        (
            ".json",
            status(429, Some(90)),
            "twilio_rate_limited",
            true,
            Some("90"),
            1,
        ),
        (".json", status(503, Some(0)), "twilio_unavailable", true, Some("1"), 4),
        (".json", broken, "twilio_error", false, None, 1),
        (".mp3", status(401, None), "twilio_unauthorized", false, None, 1),
        (".mp3", status(404, None), "media_not_found", false, None, 1),
        (".mp3", status(429, Some(0)), "twilio_rate_limited", true, Some("1"), 3),
        (
            ".mp3",
            status(429, Some(90)),
            "twilio_rate_limited",
            true,
            Some("90"),
            1,
        ),
        (".mp3", status(500, Some(0)), "twilio_unavailable", true, Some("1"), 3),
    ] {
        let path_contains = format!("{DOCUMENTED}{path}");
        stack.stack.twilio.fault(&path_contains, fault.clone(), None);
        let before = stack.stack.twilio.requests().len();
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        stack.stack.twilio.clear_faults();
        let context = format!("{path} {fault:?}: {}", refused.body);
        let error = refused.twilio_error(500, code);
        if path == ".json" {
            assert!(error.starts_with("Failed to fetch recording details: "), "{context}");
        } else {
            failed(&refused, code);
        }
        assert_eq!(
            refused.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{context}"
        );
        let header = refused.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(header, retry_after, "{context}");
        let log = stack.stack.twilio.requests();
        let asked = log[before..]
            .iter()
            .filter(|request| request.path.ends_with(&path_contains))
            .count();
        assert_eq!(asked, requests, "{context}");
    }
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn an_upstream_that_hangs_is_abandoned_before_the_deadline_and_the_job_is_queued() {
    // Shortly after the function's deadline and before the gateway's.
    let deadline = Duration::from_millis(26_600);
    for hangs in ["whisper", "twilio"] {
        let stack = with_speech().await;
        match hangs {
            "whisper" => stack.stack.whisper.fault(whisper::Fault::Hang, Some(1)),
            _ => stack.stack.twilio.fault(".mp3", twilio::Fault::Hang, Some(1)),
        }
        let clock = StoppedClock::new();
        let request = stack
            .request(Method::POST, TRANSCRIPT)
            .header("x-api-key", demo::API_KEY);
        let waiting = tokio::spawn(answer(request.json(&by_sid())));
        match hangs {
            "whisper" => stack.stack.whisper.wait_for_calls(1).await,
            _ => stack.stack.twilio.wait_for_requests(2).await,
        }
        tokio::time::advance(deadline).await;
        let accepted = waiting.await.unwrap();
        assert_eq!(
            (accepted.status.as_u16(), &accepted.body["status"]),
            (202, &json!("processing")),
            "{hangs}"
        );
        drop(clock);
        tokio::time::resume();
        let done = finished(&stack, accepted.body["status_url"].as_str().unwrap()).await;
        assert_eq!(completed(&done), words(), "{hangs}");
    }
}

#[tokio::test]
async fn without_the_database_nothing_is_paid() {
    let stack = with_speech().await;
    stack
        .stack
        .aws
        .faults()
        .set(Service::DynamoDb, Some(StatusCode::INTERNAL_SERVER_ERROR));
    let refused = stack.post(TRANSCRIPT, &by_sid()).await;
    refused.twilio_error(503, "database_unavailable");
    assert_eq!(refused.body["retryable"], true);
    assert_eq!(
        (stack.stack.twilio.requests().len(), stack.stack.whisper.calls()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_paid_transcript_is_returned_even_if_it_cannot_be_stored() {
    let stack = with_speech().await;
    let gate = Arc::new(Semaphore::new(0));
    stack.stack.whisper.fault(whisper::Fault::Gate(gate.clone()), None);
    let body = by_sid();
    let outage = async {
        stack.stack.whisper.wait_for_calls(1).await;
        let down = Some(StatusCode::SERVICE_UNAVAILABLE);
        stack.stack.aws.faults().set(Service::DynamoDb, down);
        gate.close();
    };
    let (got, ()) = tokio::join!(stack.post(TRANSCRIPT, &body), outage);
    assert_eq!(completed(&got), words());
    assert_eq!(got.body["cached"], false);
}

#[tokio::test]
async fn invalid_bodies_are_rejected_without_an_upstream_call() {
    let stack = with_speech().await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let json_type = Some("application/json");
    let large = format!(r#"{{"recording_sid": "{}"}}"#, "a".repeat(64 * 1024));
    let long_name = format!(r#"{{"{}": 1}}"#, "a".repeat(60 * 1024));
    let deep = format!(r#"{{"recording_sid": {deep}}}"#);
    let cases: Vec<(&[u8], Option<&str>, u16, &str)> = vec![
        (b"", json_type, 400, "invalid_json"),
        (b"{", json_type, 400, "invalid_json"),
        (
            b"{\"recording_sid\": \"RE1234567890abcdef\"",
            json_type,
            400,
            "invalid_json",
        ),
        (
            b"{\"recording_sid\": \"RE1234567890abcdef\"} {}",
            json_type,
            400,
            "invalid_json",
        ),
        (
            b"{'recording_sid': 'RE1234567890abcdef'}",
            json_type,
            400,
            "invalid_json",
        ),
        (b"recording_sid=RE1234567890abcdef", json_type, 400, "invalid_json"),
        (b"null", json_type, 400, "invalid_json"),
        (b"\"RE1234567890abcdef\"", json_type, 400, "invalid_json"),
        (b"[\"RE1234567890abcdef\", null]", json_type, 400, "invalid_json"),
        (
            b"[{\"recording_sid\": \"RE1234567890abcdef\"}]",
            json_type,
            400,
            "invalid_json",
        ),
        (
            b"{\"recording_sid\": \"RE1234567890abcd\xff\"}",
            json_type,
            400,
            "invalid_json",
        ),
        (b"\xff\xfe{\x00}\x00", json_type, 400, "invalid_json"),
        (b"{\"recording_sid\": 5}", json_type, 400, "invalid_body"),
        (
            b"{\"recording_sid\": [\"RE1234567890abcdef\"]}",
            json_type,
            400,
            "invalid_body",
        ),
        (b"{\"recording_sid\": {\"sid\": 1}}", json_type, 400, "invalid_body"),
        (b"{\"audio_url\": true}", json_type, 400, "invalid_body"),
        (
            b"{\"recording_sid\": \"RE1234567890abcdef\", \"recording_sid\": \"RE1234567890abcdef\"}",
            json_type,
            400,
            "invalid_body",
        ),
        (
            b"{\"recording_sid\": \"RE1234567890abcdef\", \"voice\": \"en\"}",
            json_type,
            400,
            "invalid_body",
        ),
        (
            b"{\"recordingSid\": \"RE1234567890abcdef\"}",
            json_type,
            400,
            "invalid_body",
        ),
        (long_name.as_bytes(), json_type, 400, "invalid_body"),
        (deep.as_bytes(), json_type, 400, "invalid_body"),
        (large.as_bytes(), json_type, 413, "body_too_large"),
        (
            br#"{"recording_sid": "RE1234567890abcdef"}"#,
            Some("text/plain"),
            415,
            "unsupported_media_type",
        ),
        (
            br#"{"recording_sid": "RE1234567890abcdef"}"#,
            Some("application/x-www-form-urlencoded"),
            415,
            "unsupported_media_type",
        ),
        (
            br#"{"recording_sid": "RE1234567890abcdef"}"#,
            Some(""),
            415,
            "unsupported_media_type",
        ),
        (
            br#"{"recording_sid": "RE1234567890abcdef"}"#,
            Some("json"),
            415,
            "unsupported_media_type",
        ),
    ];
    for (body, content_type, status, code) in cases {
        let mut request = stack
            .request(Method::POST, TRANSCRIPT)
            .header("x-api-key", demo::API_KEY)
            .body(body.to_vec());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let refused = answer(request).await;
        let error = refused.twilio_error(status, code);
        assert!(!error.is_empty() && error.len() < 400, "{error}");
    }
    assert_eq!(stack.stack.twilio.requests(), []);
}

#[tokio::test]
async fn json_is_accepted_with_other_json_media_types_and_without_a_content_type() {
    let stack = with_speech().await;
    for content_type in [
        None,
        Some("application/json; charset=utf-8"),
        Some("APPLICATION/JSON"),
        Some("application/vnd.api+json"),
    ] {
        let mut request = stack
            .request(Method::POST, TRANSCRIPT)
            .header("x-api-key", demo::API_KEY)
            .body(by_sid().to_string());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        completed(&answer(request).await);
    }
}

#[tokio::test]
async fn urls_that_are_not_recordings_of_the_account_are_rejected_without_an_upstream_call() {
    let stack = with_speech().await;
    let own = format!(
        "{}/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1234567890abcdef",
        stack.stack.aws_url
    );
    let path = "2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1234567890abcdef.mp3";
    for sid in [
        "RE123",
        "RE1234567890abcdeg",
        "re1234567890abcdef",
        "CA1234567890abcdef",
        " RE1234567890abcdef",
        "RE1234567890abcdef\n",
        "RE1234567890abcdef.mp3",
        "RE1234567890abcdef/../x",
        "RE0123456789abcdef0123456789abcdef0",
        "https://api.twilio.com",
        "RE\u{0}234567890abcdef1",
    ] {
        let refused = stack.post(TRANSCRIPT, &json!({ "recording_sid": sid })).await;
        let error = refused.twilio_error(400, "invalid_recording_sid");
        assert!(error.starts_with("recording_sid must be RE"), "{error}");
    }
    for url in [
        "RE1234567890abcdef".to_owned(),
        format!("/{path}"),
        format!("//api.twilio.com/{path}"),
        format!("http://api.twilio.com/{path}"),
        format!("ftp://api.twilio.com/{path}"),
        format!("file:///{path}"),
        format!("javascript:alert(1)//{path}"),
        format!("https://api.twilio.com./{path}"),
        format!("https://api.twilio.com:8443/{path}"),
        format!("https://api.twilio.com.elsewhere.example/{path}"),
        format!("https://api-twilio.com/{path}"),
        format!("https://elsewhere.example/{path}"),
        format!("https://user@api.twilio.com/{path}"),
        format!("https://user:password@api.twilio.com/{path}"),
        format!("https://:@api.twilio.com/{path}"),
        format!("https://@api.twilio.com/{path}"),
        format!("https://api.twilio.com@elsewhere.example/{path}"),
        format!("https://api.twilio.com\\@elsewhere.example/{path}"),
        format!("https:\\\\api.twilio.com\\{path}"),
        format!("https://api.twilio.com\t/{path}"),
        format!(" https://api.twilio.com/{path}"),
        format!("https://api.twilio.com/{path}\n"),
        format!("https://аpi.twilio.com/{path}"),
        format!("https://127.0.0.1/{path}"),
        format!("https://[::1]/{path}"),
        format!("http://169.254.169.254/{path}"),
        format!("http://localhost:9001/{path}"),
        format!("https://api.twilio.com/{path}?x=1"),
        format!("https://api.twilio.com/{path}?"),
        format!("https://api.twilio.com/{path}#x"),
        format!("https://api.twilio.com/{path}/"),
        format!("https://api.twilio.com/x/{path}"),
        "https://api.twilio.com/".to_owned(),
        "https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Recordings/".to_owned(),
        "https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE123.mp3".to_owned(),
        "https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Calls/RE1234567890abcdef.mp3".to_owned(),
        "https://api.twilio.com/2010-04-01/Accounts/AC0000000000000000/Recordings/RE1234567890abcdef.mp3".to_owned(),
        "https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Recordings/%52E1234567890abcdef.mp3".to_owned(),
        format!("{own}.json"),
        format!("{own}.mp3.mp3"),
        format!("{own}.exe"),
        format!("https{}.mp3", own.strip_prefix("http").unwrap()),
        "x".repeat(60_000),
    ] {
        let refused = stack.post(TRANSCRIPT, &json!({ "audio_url": url })).await;
        assert_eq!(refused.body["code"], "invalid_audio_url", "{url}: {}", refused.body);
        let error = refused.twilio_error(400, "invalid_audio_url");
        assert!(error.starts_with("audio_url must be") && error.len() < 400, "{error}");
        assert!(!error.contains("password@"), "{error}");
    }
    let different = json!({"recording_sid": "RE00000000000000000000000000000000", "audio_url": format!("{own}.mp3")});
    let refused = stack.post(TRANSCRIPT, &different).await;
    refused.twilio_error(400, "conflicting_parameters");
    for query in ["recording_sid=RE1234567890abcdef", "x=1", "api_key=a&api_key=b"] {
        let refused = stack.post(&format!("{TRANSCRIPT}?{query}"), &by_sid()).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
    }
    assert_eq!(stack.stack.twilio.requests(), []);
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn redirects_of_the_media_are_followed_without_credentials() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let elsewhere = serve(axum::Router::new().fallback(move |request: axum::extract::Request| {
        log.lock().unwrap().push(request.headers().clone());
        async { clips::CLIPS[0].mp3 }
    }))
    .await;
    let stack = with_speech().await;
    stack
        .stack
        .twilio
        .fault(".mp3", twilio::Fault::Redirect(elsewhere), None);
    assert_eq!(completed(&stack.post(TRANSCRIPT, &by_sid()).await), words());
    let seen = seen.lock().unwrap();
    assert_eq!(
        (seen.len(), seen[0].get("authorization"), seen[0].get("referer")),
        (1, None, None)
    );
}

#[tokio::test]
async fn without_secrets_the_error_names_the_missing_configuration() {
    for (variable, code) in [
        ("TWILIO_SECRET", "twilio_not_configured"),
        ("WHISPER_SECRET", "whisper_not_configured"),
        ("API_KEYS_SECRET", "api_keys_not_configured"),
    ] {
        let stack = TestStack::with_environment([(variable, "absent")]).await;
        stack.stack.twilio.add(recording(Media::mp3(clips::CLIPS[0].mp3)));
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        refused.twilio_error(500, code);
        assert_eq!(stack.stack.whisper.calls(), 0);
    }
}

#[tokio::test]
async fn the_log_contains_no_keys_transcripts_or_credentials() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    let upstreams = with_speech().await;
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&upstreams, dir.path()).await;
    let with_key = format!("{TRANSCRIPT}?api_key={}", demo::API_KEY);
    completed(&answer(program.post_without_key(&with_key, &by_sid())).await);
    let by_header = program.post(TRANSCRIPT, &by_sid());
    completed(&answer(by_header).await);
    for key in [demo::API_KEY, "wrong_secret_key"] {
        answer(program.request(&format!("/api/twilio/recordings/?limit=5&api_key={key}"))).await;
    }
    let url = "https://someone:her_password@api.twilio.com/x";
    answer(program.post_without_key(&with_key, &json!({ "audio_url": url }))).await;
    // Customer data in fields where it is not expected.
    let other = json!({"recording_sid": "RE0123456789abcdef0123456789abcdef"});
    upstreams.stack.twilio.add(Recording {
        sid: other["recording_sid"].as_str().unwrap().into(),
        ..recording(Media::mp3(clips::CLIPS[0].mp3))
    });
    upstreams.stack.whisper.fault(whisper_says(json!(words())), Some(1));
    failed(
        &answer(program.post_without_key(&with_key, &other)).await,
        "whisper_error",
    );
    // Connections that break.
    upstreams.stack.twilio.fault(".mp3", twilio::Fault::Truncate, None);
    failed(
        &answer(program.post_without_key(&with_key, &other)).await,
        "twilio_unavailable",
    );
    let refusing = "http://user:her_password@127.0.0.1:9/x".into();
    upstreams
        .stack
        .twilio
        .fault(".json", twilio::Fault::Redirect(refusing), None);
    answer(program.post_without_key(&with_key, &other))
        .await
        .twilio_error(500, "twilio_unavailable");

    let log = program.log();
    assert!(
        log.contains("request answered") && log.contains("request failed"),
        "{log}"
    );
    let basic = BASE64_STANDARD.encode(format!("{}:{}", demo::ACCOUNT_SID, demo::AUTH_TOKEN));
    for secret in [
        demo::API_KEY,
        demo::AUTH_TOKEN,
        demo::WHISPER_API_KEY,
        &basic,
        "wrong_secret_key",
        "her_password",
        "Basic ",
        "Bearer ",
        "interview question",
    ] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{secret} is in the log: {lines:#?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_does_not_grow_with_the_audio() {
    let upstreams = with_media(Media::Generated { bytes: 500_000 }).await;
    let of_unknown_length = "REfedcba9876543210fedcba9876543210";
    let large = ["RE0123456789abcdef0123456789abcdef", of_unknown_length];
    let sizes = [24_000_000, 12_000_000];
    for (sid, bytes) in large.into_iter().zip(sizes) {
        upstreams.stack.twilio.add(Recording {
            sid: sid.into(),
            ..recording(Media::Generated { bytes })
        });
    }
    let chunked = twilio::Fault::NoContentLength;
    upstreams
        .stack
        .twilio
        .fault(format!("{of_unknown_length}.mp3"), chunked, None);
    upstreams
        .stack
        .whisper
        .fault(whisper_says(json!({"text": "silence"})), None);
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&upstreams, dir.path()).await;
    let transcribe = |sid: &str| answer(program.post(TRANSCRIPT, &json!({ "recording_sid": sid })));
    assert_eq!(completed(&transcribe(DOCUMENTED).await), "silence");
    let before = program.peak_memory();
    assert_eq!(completed(&transcribe(large[0]).await), "silence");
    let uploads = upstreams.stack.whisper.requests();
    assert_eq!(uploads.last().unwrap().file_bytes, 24_000_000);
    assert_eq!(completed(&transcribe(of_unknown_length).await), "silence");
    assert_eq!(upstreams.stack.whisper.calls(), 3);
    let grown = program.peak_memory() - before;
    assert!(grown < 8, "{grown} MB more at the peak for 24 MB of audio");
}

#[tokio::test]
async fn the_demos_dialogue_has_two_speakers() {
    let stack = TestStack::demo().await;
    let dual = demo::twilio_recordings(demo::DOCUMENTED_TIME)
        .into_iter()
        .find(|row| row.channels == 2)
        .unwrap();
    let answer = stack.post(TRANSCRIPT, &json!({"recording_sid": dual.sid})).await;
    let speakers: Vec<_> = answer.body["turns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| turn["speaker"].clone())
        .collect();
    assert_eq!(speakers, ["agent", "customer", "agent"], "{}", answer.body);
    assert_eq!(
        answer.body["transcript"].as_str().unwrap(),
        clips::CLIPS[2].sentences().collect::<Vec<_>>().join("\n")
    );
    assert_eq!(stack.stack.whisper.calls(), 2);
}
