//! Responses and errors of the transcription API, tested through the whole system.

use axum::{
    Router,
    body::Bytes,
    extract::Request,
    http::{StatusCode, header},
};
use local::{
    clips,
    stack::{Settings, TranscriptionApi},
    standins::{
        twilio::{Media, Recording},
        whisper::{Fault, Whisper},
    },
};
use serde_json::{Value, json};

use crate::stack::{Answer, TestStack, serve};

const SID: &str = "RE1234567890abcdef";

async fn with(change: impl FnOnce(&mut Settings)) -> TestStack {
    let stack = TestStack::with(change).await;
    stack.stack.twilio.add(Recording {
        sid: SID.into(),
        media: Media::mp3(clips::CLIPS[3].mp3),
        ..Recording::default()
    });
    stack
}

async fn transcribe(stack: &TestStack) -> Answer {
    let body = json!({ "recording_sid": SID });
    stack.post("/api/twilio/transcript", &body).await
}

fn words() -> String {
    clips::CLIPS[3].transcript()
}

#[tokio::test]
async fn every_error_of_the_api_has_its_code_and_only_transient_ones_are_retried() {
    let error = |message: &str, kind: &str, code: Value| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    let invalid = |message: &str, code: Value| error(message, "invalid_request_error", code);
    let quota = |code: &str| error("You exceeded your current quota", "insufficient_quota", json!(code));
    let null = Value::Null;
    // Status, headers, body; code, retryable, Retry-After, uploads.
    type Case = (
        u16,
        &'static [(&'static str, &'static str)],
        Value,
        &'static str,
        bool,
        Option<&'static str>,
        usize,
    );
    let cases: Vec<Case> = vec![
        (
            400,
            &[],
            invalid(
                "Audio file is too short. Minimum audio length is 0.1 seconds.",
                json!("audio_too_short"),
            ),
            "audio_too_short",
            false,
            None,
            1,
        ),
        (
            400,
            &[],
            invalid(
                "This model does not support the format you provided.",
                json!("unsupported_format"),
            ),
            "audio_unsupported",
            false,
            None,
            2,
        ),
        (
            400,
            &[],
            invalid("Audio file might be corrupted or unsupported", json!("invalid_value")),
            "audio_unsupported",
            false,
            None,
            2,
        ),
        (
            400,
            &[],
            invalid("Invalid file format. Supported formats: ['flac', 'mp3']", null.clone()),
            "audio_unsupported",
            false,
            None,
            2,
        ),
        (
            400,
            &[],
            invalid(
                "The audio file could not be decoded or its format is not supported.",
                null.clone(),
            ),
            "audio_unsupported",
            false,
            None,
            2,
        ),
        (
            400,
            &[],
            invalid(
                "audio duration 1830.530612 seconds is longer than 1400 seconds which is the maximum for this model",
                json!("invalid_value"),
            ),
            "audio_too_long",
            false,
            None,
            1,
        ),
        (
            400,
            &[],
            invalid("chunking_strategy is required for diarization models", null.clone()),
            "whisper_error",
            false,
            None,
            3,
        ),
        (
            401,
            &[],
            invalid("Incorrect API key provided: sk-1***", json!("invalid_api_key")),
            "whisper_unauthorized",
            false,
            None,
            1,
        ),
        (
            403,
            &[],
            error(
                "Country, region, or territory not supported",
                "request_forbidden",
                json!("unsupported_country_region_territory"),
            ),
            "whisper_unauthorized",
            false,
            None,
            1,
        ),
        (
            404,
            &[],
            invalid("The model `x` does not exist", json!("model_not_found")),
            "whisper_model_not_found",
            false,
            None,
            1,
        ),
        (
            413,
            &[("retry-after", "0")],
            error(
                "413: Maximum content size limit (26214400) exceeded",
                "server_error",
                null.clone(),
            ),
            "audio_too_large",
            false,
            None,
            1,
        ),
        (
            413,
            &[],
            invalid("Request Entity Too Large", json!("request_too_large")),
            "audio_too_large",
            false,
            None,
            1,
        ),
        (
            429,
            &[("retry-after", "0")],
            error("Rate limit reached", "requests", json!("rate_limit_exceeded")),
            "whisper_rate_limited",
            true,
            Some("1"),
            3,
        ),
        (
            429,
            &[("retry-after", "0")],
            error("Slow down", "rate_limit_error", json!("slow_down")),
            "whisper_rate_limited",
            true,
            Some("1"),
            3,
        ),
        (
            429,
            &[("retry-after", "120")],
            error("Rate limit reached", "tokens", json!("rate_limit_exceeded")),
            "whisper_rate_limited",
            true,
            Some("120"),
            1,
        ),
        (
            429,
            &[("retry-after", "1.2e18")],
            error("Rate limit reached", "tokens", json!("rate_limit_exceeded")),
            "whisper_rate_limited",
            true,
            Some("1200000000000000000"),
            1,
        ),
        (
            429,
            &[("retry-after", "0")],
            quota("insufficient_quota"),
            "whisper_quota_exceeded",
            false,
            None,
            1,
        ),
        (
            429,
            &[("retry-after", "0")],
            quota("credit_balance_exhausted"),
            "whisper_quota_exceeded",
            false,
            None,
            1,
        ),
        (
            429,
            &[],
            error("", "requests", json!("organization_spend_limit_exceeded")),
            "whisper_quota_exceeded",
            false,
            None,
            1,
        ),
        (
            429,
            &[],
            error("", "requests", json!("project_spend_limit_exceeded")),
            "whisper_quota_exceeded",
            false,
            None,
            1,
        ),
        (
            429,
            &[],
            error("", "requests", json!("organization_usage_limit_exceeded")),
            "whisper_quota_exceeded",
            false,
            None,
            1,
        ),
        (
            429,
            &[("x-should-retry", "true")],
            error("", "requests", json!("billing_hard_limit_reached")),
            "whisper_quota_exceeded",
            false,
            None,
            1,
        ),
        (
            429,
            &[],
            error("", "insufficient_quota", null.clone()),
            "whisper_quota_exceeded",
            false,
            None,
            1,
        ),
        (
            408,
            &[("retry-after", "0")],
            null.clone(),
            "whisper_unavailable",
            true,
            Some("1"),
            3,
        ),
        (
            409,
            &[("retry-after", "0")],
            null.clone(),
            "whisper_unavailable",
            true,
            Some("1"),
            3,
        ),
        (
            500,
            &[("retry-after", "0")],
            error("The server had an error", "server_error", null.clone()),
            "whisper_unavailable",
            true,
            Some("1"),
            3,
        ),
        (
            503,
            &[("retry-after", "0")],
            error("overloaded", "service_unavailable_error", json!("server_is_overloaded")),
            "whisper_unavailable",
            true,
            Some("1"),
            3,
        ),
        (
            503,
            &[("retry-after", "0"), ("x-should-retry", "false")],
            null.clone(),
            "whisper_unavailable",
            false,
            None,
            1,
        ),
        (
            429,
            &[("retry-after", "0"), ("x-should-retry", "false")],
            error("Rate limit reached", "requests", json!("rate_limit_exceeded")),
            "whisper_rate_limited",
            false,
            None,
            1,
        ),
        (
            400,
            &[("retry-after", "0"), ("x-should-retry", "true")],
            invalid("try again", null.clone()),
            "whisper_unavailable",
            true,
            Some("1"),
            3,
        ),
        (
            307,
            &[("location", "http://127.0.0.1:9/")],
            null.clone(),
            "whisper_error",
            false,
            None,
            1,
        ),
        // Compatible servers.
        (
            400,
            &[],
            json!({"error": "failed to read audio data, unsupported"}),
            "audio_unsupported",
            false,
            None,
            2,
        ),
        (
            400,
            &[],
            json!({"error": "no 'file' field in the request"}),
            "whisper_error",
            false,
            None,
            1,
        ),
        (
            404,
            &[],
            json!({"detail": "Model 'whisper-1' is not installed locally."}),
            "whisper_model_not_found",
            false,
            None,
            1,
        ),
        (
            422,
            &[],
            json!({"detail": [{"loc": ["body", "model"], "msg": "field required"}]}),
            "whisper_error",
            false,
            None,
            1,
        ),
        (
            400,
            &[],
            invalid("Maximum file size exceeded", json!(400)),
            "audio_too_large",
            false,
            None,
            1,
        ),
        (
            502,
            &[("retry-after", "0")],
            json!("<html>Bad gateway</html>"),
            "whisper_unavailable",
            true,
            Some("1"),
            3,
        ),
        // A response with status 200 and no transcription.
        (200, &[], json!({}), "whisper_error", false, None, 1),
        (
            200,
            &[],
            json!({"error": {"message": "no"}}),
            "whisper_error",
            false,
            None,
            1,
        ),
        (200, &[], json!({"text": null}), "whisper_error", false, None, 1),
        (200, &[], json!("bare words"), "whisper_error", false, None, 1),
    ];
    let stack = with(|_| {}).await;
    for (status, headers, body, code, retryable, retry_after, uploads) in cases {
        let context = format!("{status} {headers:?} {body}");
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let fault = Fault::Status {
            status,
            headers: headers.collect(),
            body: body.to_string(),
        };
        stack.stack.whisper.fault(fault, None);
        let before = stack.stack.whisper.calls();
        let failed = transcribe(&stack).await;
        stack.stack.whisper.clear_faults();
        let context = format!("{context}\n{}", failed.body);
        assert_eq!(failed.body["code"], code, "{context}");
        assert_eq!(failed.twilio_error(500, code), "Unexpected error occurred");
        let details = failed.body["details"].as_str().unwrap();
        assert!(
            details.starts_with("Transcription failed: ") && !details.contains("sk-1"),
            "{context}"
        );
        assert_eq!(
            failed.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{context}"
        );
        let header = failed.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(header, retry_after, "{context}");
        assert_eq!(stack.stack.whisper.calls() - before, uploads, "{context}");
    }
    assert_eq!(
        transcribe(&stack).await.body["transcript"],
        words(),
        "no failure is stored"
    );
}

#[tokio::test]
async fn a_transient_fault_of_the_api_is_retried_and_not_visible_to_the_caller() {
    let stack = with(|_| {}).await;
    let busy = Fault::Status {
        status: 503,
        headers: vec![("retry-after".into(), "0".into())],
        body: String::new(),
    };
    stack.stack.whisper.fault(busy, Some(2));
    let got = transcribe(&stack).await;
    assert_eq!(
        (&got.body["transcript"], &got.body["cached"]),
        (&json!(words()), &json!(false))
    );
    assert_eq!(stack.stack.whisper.calls(), 3);
    let uploads = stack.stack.whisper.requests();
    assert!(
        uploads
            .iter()
            .all(|upload| upload.file_bytes == clips::CLIPS[3].mp3.len() as u64)
    );
}

#[tokio::test]
async fn responses_of_compatible_servers_are_parsed() {
    for (body, text) in [
        (
            json!({"text": " Hello. ", "usage": {"type": "duration", "seconds": 9}}),
            "Hello.",
        ),
        (
            json!({"text": "Hi", "duration": "12.5", "segments": [{"no_speech_prob": null}], "language": "english"}),
            "Hi",
        ),
        (
            json!({"task": "transcribe", "text": "Hi", "detected_language": "en", "language_probabilities": {"en": 0.9}, "segments": [{"words": [{"probability": 1}]}]}),
            "Hi",
        ),
        (
            json!({"text": "Hi", "segments": [{"start": 0, "end": 9_000_000_000_u64, "tokens": null}]}),
            "Hi",
        ),
        (json!({"text": "", "duration": null, "language": null}), ""),
        (json!({"text": "\n"}), ""),
    ] {
        let stack = with(|_| {}).await;
        let answer = Fault::Status {
            status: 200,
            headers: vec![],
            body: body.to_string(),
        };
        stack.stack.whisper.fault(answer, None);
        let got = transcribe(&stack).await;
        assert_eq!(
            (got.status.as_u16(), &got.body["transcript"]),
            (200, &json!(text)),
            "{body}"
        );
        let again = transcribe(&stack).await;
        assert_eq!(
            (&again.body["transcript"], &again.body["cached"]),
            (&json!(text), &json!(true))
        );
    }
}

/// A stack whose transcription API has this base URL.
async fn with_api(base_url: String, api_key: &str) -> TestStack {
    let api_key = api_key.to_owned();
    with(|settings| settings.whisper = Some(TranscriptionApi { api_key, base_url })).await
}

#[tokio::test]
async fn the_base_url_works_with_and_without_its_version_and_with_a_slash() {
    let whisper = Whisper::new("key");
    let base = serve(whisper.router()).await;
    for suffix in ["", "/", "/v1", "/v1/", "/v1/audio/transcriptions"] {
        let stack = with_api(format!("{base}{suffix}"), "key").await;
        assert_eq!(transcribe(&stack).await.body["transcript"], words(), "{suffix}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_an_error_of_the_deployment() {
    let whisper = Whisper::new("key");
    let stack = with_api(serve(whisper.router()).await, "another").await;
    transcribe(&stack).await.twilio_error(500, "whisper_unauthorized");
    assert_eq!(whisper.calls(), 1);
}

#[tokio::test]
async fn without_a_key_none_is_sent() {
    let base = serve(Router::new().fallback(|request: Request| async move {
        let sent = request.headers().contains_key(header::AUTHORIZATION);
        // The body is read, so that the connection closes cleanly.
        let _ = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        axum::Json(json!({ "text": if sent { "a key was sent" } else { "no key" } }))
    }))
    .await;
    let stack = with_api(base, "").await;
    assert_eq!(transcribe(&stack).await.body["transcript"], "no key");
}

#[tokio::test]
async fn an_unreachable_api_is_retryable() {
    let stack = with_api("http://127.0.0.1:9".into(), "key").await;
    let failed = transcribe(&stack).await;
    failed.twilio_error(500, "whisper_unavailable");
    assert_eq!(failed.body["retryable"], true);
}

#[tokio::test]
async fn a_response_before_the_end_of_the_upload_is_used() {
    let base = serve(Router::new().fallback(|request: Request| async {
        tokio::spawn(axum::body::to_bytes(request.into_body(), usize::MAX));
        let refusal = json!({"error": {"message": "no"}});
        (StatusCode::UNAUTHORIZED, axum::Json(refusal))
    }))
    .await;
    let stack = with_api(base, "key").await;
    stack.stack.twilio.add(Recording {
        sid: SID.into(),
        media: Media::Generated { bytes: 8_000_000 },
        ..Recording::default()
    });
    transcribe(&stack).await.twilio_error(500, "whisper_unauthorized");
}

#[tokio::test]
async fn an_endless_response_is_not_read_completely() {
    let chunk = || async { Some((Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20])), ())) };
    let base = serve(Router::new().fallback(move |request: Request| async move {
        let _ = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        axum::body::Body::from_stream(futures_util::stream::unfold((), move |()| chunk()))
    }))
    .await;
    let stack = with_api(base, "key").await;
    transcribe(&stack).await.twilio_error(500, "whisper_error");
}

#[tokio::test]
async fn a_model_other_than_whisper_1_is_requested_with_plain_json() {
    let stack = with(|settings| {
        settings
            .environment
            .push(("WHISPER_MODEL".into(), "gpt-4o-mini-transcribe".into()))
    })
    .await;
    assert_eq!(transcribe(&stack).await.body["transcript"], words());
    let fields = &stack.stack.whisper.requests()[0].fields;
    for (name, value) in [("model", "gpt-4o-mini-transcribe"), ("response_format", "json")] {
        assert!(fields.contains(&(name.into(), value.into())), "{fields:?}");
    }

    let stack = with(|settings| {
        settings
            .environment
            .push(("WHISPER_MODEL".into(), "no-such-model".into()))
    })
    .await;
    transcribe(&stack).await.twilio_error(500, "whisper_model_not_found");
}
