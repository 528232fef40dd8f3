//! `POST /api/twilio/transcript/`.

mod errors;
mod input;

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
async fn silence_is_an_empty_transcript_that_is_stored() {
    let stack = with_media(Media::Generated { bytes: 28_800 }).await;
    let first = stack.post(TRANSCRIPT, &by_sid()).await;
    assert_eq!(completed(&first), "");
    let second = stack.post(TRANSCRIPT, &by_sid()).await;
    assert_eq!((completed(&second), &second.body["cached"]), ("", &json!(true)));
    assert_eq!(stack.stack.whisper.calls(), 1);
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
    context.request_id = "invocation-of-a-test".into();
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
async fn the_largest_accepted_audio_is_below_the_apis_limit() {
    let stack = with_media(Media::Generated { bytes: MAX_AUDIO_BYTES }).await;
    stack
        .stack
        .whisper
        .fault(whisper_says(json!({"text": "long"})), Some(1));
    let mut answer = stack.post(TRANSCRIPT, &by_sid()).await;
    // On a busy machine, the upload may take longer than a request waits.
    if answer.status == 202 {
        answer = finished(&stack, answer.body["status_url"].as_str().unwrap()).await;
    }
    assert_eq!(completed(&answer), "long");
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
