//! Rejected requests.

use futures_util::StreamExt as _;

use super::*;

#[tokio::test]
async fn a_missing_or_wrong_key_is_rejected() {
    let (whisper, url) = start().await;
    let client = client();
    let upload = || form("a.mp3", CLIPS[0].mp3, &[("model", "whisper-1")]);
    for (request, code) in [
        (client.post(&url), Value::Null),
        (client.post(&url).bearer_auth("sk-wrong"), json!("invalid_api_key")),
    ] {
        let response = request.multipart(upload()).send().await.unwrap();
        assert_eq!(response.status(), 401);
        let error = response.json::<Value>().await.unwrap()["error"].take();
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("invalid_request_error"), &code)
        );
        assert!(!error["message"].as_str().unwrap().contains("wrong"));
    }
    assert!(whisper.requests().iter().all(|request| !request.authorized));
}

#[tokio::test]
async fn fields_are_validated_as_by_openai() {
    let (_, url) = start().await;
    for (fields, status, param) in [
        (vec![], 400, "model"),
        (vec![("model", "whisper-9")], 404, ""),
        (vec![("model", "whisper-1"), ("langauge", "en")], 400, ""),
        (vec![("model", "whisper-1"), ("language", "english")], 400, "language"),
        (vec![("model", "whisper-1"), ("temperature", "1.5")], 400, "temperature"),
        (
            vec![("model", "whisper-1"), ("response_format", "xml")],
            400,
            "response_format",
        ),
        (
            vec![("model", "whisper-1"), ("timestamp_granularities[]", "word")],
            400,
            "timestamp_granularities",
        ),
        (
            vec![("model", "gpt-4o-transcribe"), ("response_format", "verbose_json")],
            400,
            "response_format",
        ),
    ] {
        let (answered, body) = post_json(&url, form("a.mp3", CLIPS[4].mp3, &fields)).await;
        assert_eq!(
            (answered, body["error"]["param"].as_str().unwrap_or_default()),
            (status, param),
            "{fields:?} {body}"
        );
    }
    let no_file = Form::new().text("model", "whisper-1");
    assert_eq!(post_json(&url, no_file).await.1["error"]["param"], "file");
    let (status, body) = post_json(&url, form("a.mp3", CLIPS[4].mp3, &[("model", "gpt-4o-transcribe")])).await;
    assert_eq!((status, &body["usage"]["type"]), (200, &json!("tokens")));
    let (status, body) = post_json(&url.replace("audio/transcriptions", "models"), Form::new()).await;
    assert_eq!((status, &body["error"]["type"]), (404, &json!("invalid_request_error")));
}

#[tokio::test]
async fn files_with_a_wrong_extension_or_damage_are_rejected() {
    let (_, url) = start().await;
    let short = wav(&pcm([100; 700]));
    let junk: Vec<u8> = (0..50_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for (name, bytes, code, message) in [
        (
            "a.txt",
            CLIPS[4].mp3,
            Value::Null,
            "Invalid file format. Supported formats: ['flac', 'm4a', 'mp3'",
        ),
        ("mp3", CLIPS[4].mp3, Value::Null, "Invalid file format."),
        (
            "a.wav",
            CLIPS[4].mp3,
            json!("unsupported_format"),
            "This model does not support the format you provided.",
        ),
        (
            "a.mp3",
            CLIPS[4].mp4.unwrap(),
            json!("unsupported_format"),
            "This model does not support",
        ),
        (
            "a.mp3",
            &junk,
            json!("invalid_value"),
            "Audio file might be corrupted or unsupported",
        ),
        (
            "a.mp3",
            b"",
            json!("invalid_value"),
            "Audio file might be corrupted or unsupported",
        ),
        (
            "a.wav",
            &short,
            json!("audio_too_short"),
            "Audio file is too short. Minimum audio length is 0.1 seconds.",
        ),
    ] {
        let (status, body) = post_json(&url, form(name, bytes, &[("model", "whisper-1")])).await;
        assert_eq!((status, &body["error"]["code"]), (400, &code), "{name} {body}");
        assert!(
            body["error"]["message"].as_str().unwrap().starts_with(message),
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_size_limit_applies_to_the_whole_body() {
    let (whisper, url) = start().await;
    let upload = |bytes: usize| form("a.wav", vec![0; bytes], &[("model", "whisper-1")]);
    let (status, body) = post_json(&url, upload(MAX_BODY_BYTES as usize)).await;
    assert_eq!(status, 413);
    assert_eq!(
        (&body["error"]["type"], &body["error"]["code"]),
        (&json!("server_error"), &Value::Null)
    );
    // 1 KB is left for the multipart framing, so the file is read and rejected because it is not a wav file.
    let (status, body) = post_json(&url, upload(MAX_BODY_BYTES as usize - 1024)).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_value")));
    assert_eq!(whisper.requests()[1].file_bytes, MAX_BODY_BYTES - 1024);
    let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 1 << 20])).take(26);
    let part = Part::stream(reqwest::Body::wrap_stream(chunks)).file_name("a.wav");
    assert_eq!(
        post(&url, Form::new().text("model", "whisper-1").part("file", part))
            .await
            .status(),
        413
    );
}

#[tokio::test]
async fn only_the_gpt_4o_models_have_a_maximum_duration() {
    let (_, url) = start().await;
    let silence = wav(&vec![0; 16_000 * 1401]);
    let (status, body) = post_json(
        &url,
        form("a.wav", silence.as_slice(), &[("model", "gpt-4o-mini-transcribe")]),
    )
    .await;
    let message = "audio duration 1401.000000 seconds is longer than 1400 seconds which is the maximum for this model";
    assert_eq!(
        (status, &body["error"]["message"], &body["error"]["code"]),
        (400, &json!(message), &json!("invalid_value"))
    );
    assert_eq!(
        post(&url, form("a.wav", silence, &[("model", "whisper-1")]))
            .await
            .status(),
        200
    );
}
