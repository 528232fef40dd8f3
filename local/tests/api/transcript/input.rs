//! Requests: keys, bodies and media URLs.

use super::*;

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
