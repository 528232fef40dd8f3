//! `POST` and `GET /recordings/{dispatch_id}/transcript`.

use local::{
    clips, demo,
    stack::account,
    standins::{
        tones::{Script, Wav},
        whisper::Fault,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::http::access;

use crate::{
    jobs::finished,
    stack::{Answer, TestStack, answer},
    worker::{Worker, assert_transcript},
};

/// The call in the API documentation.
const ID: &str = "dispatch_1754653479_15103455686";
const PATH: &str = "/recordings/dispatch_1754653479_15103455686/transcript";

/// A call with two speakers that is only in the bucket and not in the index.
const SPOKEN_ID: &str = "dispatch_1754000000_15550001111";
const SPOKEN: &str = "/recordings/dispatch_1754000000_15550001111/transcript";

fn spoken() -> [Script; 2] {
    Script::dialogue(30.0, 1)
}

/// A stack whose bucket has a recording of two speakers on two channels.
async fn with_spoken() -> TestStack {
    let stack = TestStack::empty().await;
    put_spoken(&stack);
    stack
}

fn put_spoken(stack: &TestStack) {
    let key = "egress-recordings/2025/07/31/outbound-15550001111_1754000003.wav";
    stack.put_object(key, &Wav::new(16_000, spoken()).bytes());
}

/// `POST` with the demo's key and without a body.
async fn post_nothing(stack: &TestStack, path: &str) -> Answer {
    answer(stack.request(Method::POST, path).header("X-API-Key", demo::API_KEY)).await
}

/// Requests the transcript of a recording of unknown length, which the worker transcribes. Returns the completed state.
async fn transcribed(stack: &TestStack, path: &str, body: &Value) -> Value {
    let accepted = stack.post(path, body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    assert_eq!(accepted.body["status"], "processing");
    finished(stack, accepted.body["status_url"].as_str().unwrap())
        .await
        .body
}

/// Whether the list shows the call with a transcript.
async fn is_listed_with_transcript(stack: &TestStack, id: &str) -> bool {
    let body = stack.get("/recordings?limit=100").await.body;
    let row = body["recordings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["dispatch_id"] == id);
    row.unwrap_or_else(|| panic!("{id} is not listed"))["has_transcript"]
        .as_bool()
        .unwrap()
}

/// Waits until the worker has marked the call as transcribed, which it does after storing the transcript.
async fn until_listed_with_transcript(stack: &TestStack, id: &str) {
    while !is_listed_with_transcript(stack, id).await {
        tokio::task::yield_now().await;
    }
}

fn clip_of(id: &str) -> String {
    let call = demo::calls(demo::DOCUMENTED_TIME)
        .into_iter()
        .find(|call| call.dispatch_id == id);
    call.unwrap().recording.unwrap().1.transcript()
}

#[tokio::test]
async fn a_livekit_recording_is_transcribed_once_and_then_listed_with_its_transcript() {
    let stack = TestStack::demo().await;
    stack.get(PATH).await.recordings_error(404, "transcript_not_found");
    assert!(!is_listed_with_transcript(&stack, ID).await);
    let first = post_nothing(&stack, PATH).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let mut expected = json!({
        "dispatch_id": ID,
        "transcript": clip_of(ID),
        "status": "completed",
        "cached": false,
        "language": "english",
        "model": "whisper-1",
        "no_speech": false,
        "dropped_segments": 0,
    });
    for measured in ["timestamp", "audio_seconds", "billed_seconds", "cost_usd"] {
        expected[measured] = first.body[measured].clone();
    }
    assert_eq!(first.body, expected);
    let seconds = first.body["audio_seconds"].as_f64().unwrap();
    let billed = first.body["billed_seconds"].as_u64().unwrap();
    assert!(
        (seconds - 180.0).abs() < 0.5 && billed < 60,
        "most of it is silent: {first:?}"
    );
    assert!(is_listed_with_transcript(&stack, ID).await);

    expected["cached"] = true.into();
    let calls = stack.stack.whisper.calls();
    assert_eq!(post_nothing(&stack, &format!("{PATH}/")).await.body, expected);
    assert_eq!(stack.post(PATH, &json!({})).await.body, expected);
    for path in [PATH, &format!("{PATH}/"), &format!("{PATH}?format=json")] {
        assert_eq!(stack.get_without_key(path).await.body, expected, "{path}");
    }
    assert_eq!(stack.stack.whisper.calls(), calls);
}

#[tokio::test]
async fn a_recording_missing_from_the_index_is_found_and_then_listed() {
    let stack = TestStack::demo().await;
    let object = demo::unindexed_objects().remove(0);
    let id = object.dispatch_id.unwrap();
    let path = format!("/recordings/{id}/transcript");
    let clip = clips::CLIPS.iter().find(|clip| clip.mp4 == Some(object.bytes)).unwrap();
    let body = transcribed(&stack, &format!("{path}/"), &json!({})).await;
    assert_eq!(
        (&body["status"], &body["transcript"]),
        (&json!("completed"), &json!(clip.transcript()))
    );
    until_listed_with_transcript(&stack, &id).await;
}

#[tokio::test]
async fn a_recording_without_a_reported_call_is_listed_with_its_transcript() {
    let stack = TestStack::empty().await;
    let key = "egress-recordings/2025/07/31/outbound-15550001111_1754000003.wav";
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let put = s3.put_object().bucket(account::BUCKET).key(key);
    let sound = Wav::new(16_000, spoken()).bytes();
    put.body(sound.into()).send().await.unwrap();
    while stack.get("/recordings").await.body["recordings"] == json!([]) {}
    let id = "dispatch_1754000003_15550001111";
    assert!(!is_listed_with_transcript(&stack, id).await);
    let done = transcribed(&stack, &format!("/recordings/{id}/transcript"), &json!({})).await;
    assert_eq!(done["status"], "completed");
    until_listed_with_transcript(&stack, id).await;
}

#[tokio::test]
async fn two_channels_are_two_speakers_in_every_format() {
    let stack = with_spoken().await;
    let both = spoken();
    let english = transcribed(&stack, SPOKEN, &json!({"language": "en"})).await;
    assert_eq!(english["status"], "completed", "{english}");
    let uploads = stack.stack.whisper.requests();
    let field = ("language".to_owned(), "en".to_owned());
    assert!(uploads.len() == 2 && uploads.iter().all(|upload| upload.fields.contains(&field)));
    let answer = stack
        .post(SPOKEN, &json!({"language": "en", "timestamps": "word"}))
        .await;
    assert_eq!((answer.status.as_u16(), &answer.body["cached"]), (200, &json!(true)));
    for (speaker, script) in ["agent", "customer"].into_iter().zip(&both) {
        let words = answer.body["words"].as_array().unwrap().iter();
        let words: Vec<_> = words.filter(|word| word["speaker"] == speaker).collect();
        assert_transcript(script, &json!({"transcript": script.text(), "words": words}));
    }

    let mixed = transcribed(&stack, SPOKEN, &json!({"speakers": false})).await;
    assert_eq!(
        (&mixed["status"], mixed.get("turns")),
        (&json!("completed"), None),
        "{mixed}"
    );
    let words: usize = both.iter().map(|script| script.words().len()).sum();
    assert_eq!(mixed["transcript"].as_str().unwrap().split(' ').count(), words);

    let default = transcribed(&stack, SPOKEN, &json!({})).await;
    assert!(default["turns"].is_array(), "{default}");
    let calls = stack.stack.whisper.calls();
    for (format, content_type, beginning) in [
        ("text", "text/plain; charset=utf-8", "agent: "),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00."),
    ] {
        let response = stack
            .request(Method::GET, &format!("{SPOKEN}?format={format}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["content-type"], content_type);
        let text = response.text().await.unwrap();
        assert!(text.starts_with(beginning) && text.contains("customer"), "{text}");
    }
    assert_eq!(stack.stack.whisper.calls(), calls);
}

#[tokio::test]
async fn a_long_recording_is_transcribed_by_the_worker_and_marked_in_the_index() {
    let stack = TestStack::demo().await;
    let request = stack.request(Method::POST, PATH).header("Prefer", "respond-async");
    let accepted = answer(request.header("X-API-Key", demo::API_KEY)).await;
    assert_eq!(
        (
            accepted.status.as_u16(),
            &accepted.body["status"],
            &accepted.body["status_url"]
        ),
        (202, &json!("processing"), &json!(PATH))
    );
    assert!(
        accepted.body["estimated_seconds"]
            .as_u64()
            .is_some_and(|seconds| seconds > 0)
    );
    let done = finished(&stack, PATH).await.body;
    assert_eq!(
        (&done["status"], &done["transcript"]),
        (&json!("completed"), &json!(clip_of(ID)))
    );
    until_listed_with_transcript(&stack, ID).await;
}

#[tokio::test]
async fn failures_have_the_format_of_the_recordings_endpoints() {
    let stack = TestStack::demo().await;
    put_spoken(&stack);
    let broken = Fault::Status {
        status: 400,
        headers: vec![],
        body: r#"{"error":{"message":"Audio file might be corrupted or unsupported"}}"#.into(),
    };
    stack.stack.whisper.fault(broken, None);
    let refused = post_nothing(&stack, PATH).await;
    let detail = refused.recordings_error(500, "audio_unsupported");
    assert!(detail.starts_with("Transcription failed: "), "{detail}");
    let state = transcribed(&stack, SPOKEN, &json!({})).await;
    assert_eq!(
        (
            &state["dispatch_id"],
            &state["status"],
            &state["code"],
            &state["retryable"]
        ),
        (
            &json!(SPOKEN_ID),
            &json!("failed"),
            &json!("audio_unsupported"),
            &json!(false)
        )
    );
    stack
        .get(&format!("{SPOKEN}?format=vtt"))
        .await
        .recordings_error(409, "transcript_not_ready");

    for (path, status, code) in [
        (
            "/recordings/dispatch_1754000000_19998887777/transcript",
            404,
            "recording_not_found",
        ),
        ("/recordings/nobody/transcript", 404, "recording_not_found"),
        ("/recordings/no%20body/transcript", 400, "invalid_dispatch_id"),
        ("/recordings/nobody/transcripts", 404, "path_not_found"),
        ("/recordings/nobody", 404, "path_not_found"),
    ] {
        post_nothing(&stack, path).await.recordings_error(status, code);
    }
    for (body, code) in [
        (json!({"recording_sid": "RE1234567890abcdef"}), "invalid_body"),
        (json!({"wait": true}), "invalid_body"),
        (json!({"language": "english"}), "invalid_parameter"),
        (json!([]), "invalid_json"),
    ] {
        stack.post(SPOKEN, &body).await.recordings_error(400, code);
    }
    for query in ["format=docx", "timestamps=letter", "variant=x"] {
        let refused = stack.get(&format!("{SPOKEN}?{query}")).await;
        refused.recordings_error(400, "invalid_parameter");
    }
    stack
        .get("/recordings/nobody/transcript")
        .await
        .recordings_error(404, "transcript_not_found");
}

#[tokio::test]
async fn an_empty_or_unreadable_object_is_not_transcribed() {
    let stack = TestStack::empty().await;
    stack.put_object("egress-recordings/2025/07/31/outbound-15550001111_1754000003.mp4", b"");
    post_nothing(&stack, SPOKEN)
        .await
        .recordings_error(404, "recording_not_found");
    stack.put_object(
        "egress-recordings/2025/07/31/outbound-15550001111_1754000004.mp4",
        b"<html>no audio",
    );
    let state = transcribed(&stack, SPOKEN, &json!({})).await;
    assert_eq!(
        (&state["status"], &state["code"]),
        (&json!("failed"), &json!("media_not_audio"))
    );
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn without_a_bucket_the_response_is_the_documented_error() {
    let stack = TestStack::with_environment([("RECORDINGS_BUCKET", "")]).await;
    let refused = post_nothing(&stack, PATH).await;
    let detail = refused.recordings_error(500, "s3_not_configured");
    assert_eq!(detail, "S3 configuration missing. Recording URLs not available.");
    // A job that was queued before the bucket was removed fails with the same error.
    let worker = Worker::with_usual_parts(&stack).await;
    worker.deliver(&json!({"dispatch_id": ID})).await;
    assert_eq!(worker.sent_work().len(), 0);
    stack.get(PATH).await.recordings_error(500, "s3_not_configured");

    let stack = TestStack::with_environment([("RECORDINGS_BUCKET", "no-such-bucket")]).await;
    post_nothing(&stack, PATH)
        .await
        .recordings_error(500, "s3_not_configured");
}

#[tokio::test]
async fn a_job_for_a_call_without_a_recording_ends_and_leaves_no_transcript() {
    let stack = TestStack::empty().await;
    let worker = Worker::with_usual_parts(&stack).await;
    worker.deliver(&json!({"dispatch_id": ID})).await;
    stack.get(PATH).await.recordings_error(404, "transcript_not_found");
    assert_eq!(worker.sent_work().len(), 0);
}

#[tokio::test]
async fn transcribing_requires_a_key_with_its_scope_even_if_reading_is_open() {
    let stack = with_spoken().await;
    let keys: Vec<Value> = [
        ("reader", vec!["recordings:read"]),
        ("caller", vec!["twilio:transcribe"]),
        ("writer", vec!["recordings:transcribe"]),
    ]
    .into_iter()
    .map(|(key, scopes)| json!({"id": key, "sha256": access::hash_key(key), "scopes": scopes, "expires_at": null}))
    .collect();
    stack
        .put_secret(account::API_KEYS_SECRET, &json!({ "keys": keys }).to_string())
        .await;
    let post = async |key: Option<&str>| {
        let mut request = stack.request(Method::POST, SPOKEN);
        if let Some(key) = key {
            request = request.header("X-API-Key", key);
        }
        answer(request).await
    };
    post(None).await.recordings_error(401, "unauthorized");
    post(Some("wrong")).await.recordings_error(401, "unauthorized");
    for key in ["reader", "caller"] {
        post(Some(key)).await.recordings_error(403, "forbidden");
    }
    assert_eq!(stack.stack.whisper.calls(), 0);
    assert_eq!(post(Some("writer")).await.status, 202);
    assert_eq!(stack.get_without_key(SPOKEN).await.status, 200);
}

#[tokio::test]
async fn reading_a_transcript_requires_a_key_unless_reading_is_open() {
    let stack =
        TestStack::with(|settings| settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()))).await;
    for path in [PATH, &format!("{PATH}/")] {
        stack.get_without_key(path).await.recordings_error(401, "unauthorized");
        stack.get(path).await.recordings_error(404, "transcript_not_found");
    }
}
