//! Presigned URLs: playing, seeking, downloading, expiry and signers.

use super::*;

fn parameter(url: &Value, name: &str) -> Option<String> {
    let url = Url::parse(url.as_str().unwrap()).unwrap();
    url.query_pairs()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// When a presigned URL expires, according to its parameters.
fn end_of(url: &Value) -> Timestamp {
    let signed = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", parameter(url, "X-Amz-Date").unwrap()).unwrap();
    let seconds = parameter(url, "X-Amz-Expires").unwrap().parse().unwrap();
    TimeZone::UTC.to_timestamp(signed).unwrap() + SignedDuration::from_secs(seconds)
}

#[tokio::test]
async fn the_documented_example_has_the_documented_fields() {
    let stack = TestStack::demo().await;
    let answer = stack.get_without_key(&format!("/recordings/{ID}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    let body = &answer.body;
    let fields: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "call",
        "channels",
        "content_type",
        "dispatch_id",
        "download_url",
        "duration",
        "expires_at",
        "expires_in",
        "recording_url",
        "s3_key",
        "size_bytes",
        "stable_url",
    ];
    assert_eq!(fields, BTreeSet::from(documented));
    assert_eq!(body["dispatch_id"], ID);
    assert_eq!(body["s3_key"], KEY);
    assert_eq!(body["expires_in"], 3600);
    assert_eq!(body["call"]["interaction_id"], "test_interaction_louis_001");
    assert_eq!(body["call"]["start_time"], "2025-08-08T11:44:39.000Z");
    for url in ["recording_url", "download_url"] {
        let url = Url::parse(body[url].as_str().unwrap()).unwrap();
        assert!(url.path().ends_with(KEY), "{url}");
    }
    assert_eq!(parameter(&body["recording_url"], "response-content-disposition"), None);
    let disposition = parameter(&body["download_url"], "response-content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename="), "{disposition}");
}

#[tokio::test]
async fn expires_at_is_the_time_when_both_urls_expire() {
    let stack = TestStack::demo().await;
    for (query, seconds) in [
        ("", 3600),
        ("?expires_in=86400", 86_400),
        ("?expires_in=1", 1),
        ("?expires_in=604800", 604_800),
    ] {
        let answer = stack.get_without_key(&format!("/recordings/{ID}{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        let body = answer.body;
        assert_eq!(body["expires_in"], seconds);
        assert_eq!(body.get("expires_limited_by"), None);
        let expires_at = body["expires_at"].as_str().unwrap();
        assert!(expires_at.ends_with(".000Z") && expires_at.len() == 24, "{expires_at}");
        let moment: Timestamp = expires_at.parse().unwrap();
        for url in ["recording_url", "download_url"] {
            assert_eq!(parameter(&body[url], "X-Amz-Expires"), Some(seconds.to_string()));
            assert_eq!(end_of(&body[url]), moment);
        }
    }
}

#[tokio::test]
async fn the_urls_support_playing_seeking_and_downloading() {
    let stack = TestStack::demo().await;
    let body = stack.get_without_key(&format!("/recordings/{ID}")).await.body;
    let (play, download) = (
        body["recording_url"].as_str().unwrap(),
        body["download_url"].as_str().unwrap(),
    );
    let sound = clips::CLIPS.iter().find(|clip| clip.mp4_seconds == 180).unwrap();
    let sound = sound.mp4.unwrap();

    let whole = stack.fetch(play).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.headers()["content-type"], "audio/mp4");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert!(whole.headers().get("content-disposition").is_none());
    assert_eq!(whole.bytes().await.unwrap(), sound);

    let size = sound.len();
    for (range, first, last) in [
        ("bytes=0-99".to_owned(), 0, 99),
        (format!("bytes={}-", size - 10), size - 10, size - 1),
        ("bytes=-5".into(), size - 5, size - 1),
    ] {
        let part = stack.fetch(play).header("Range", &range).send().await.unwrap();
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(
            part.headers()["content-range"].to_str().unwrap(),
            format!("bytes {first}-{last}/{size}")
        );
        assert_eq!(part.bytes().await.unwrap(), sound[first..=last]);
    }

    let file = stack.fetch(download).send().await.unwrap();
    assert_eq!(file.status(), 200);
    assert_eq!(
        file.headers()["content-disposition"],
        "attachment; filename=\"outbound-15103455686_1754653479.mp4\"; filename*=UTF-8''outbound-15103455686_1754653479.mp4"
    );
    assert_eq!(file.bytes().await.unwrap(), sound);
}

#[tokio::test]
async fn a_modified_url_is_rejected() {
    let stack = TestStack::demo().await;
    let body = stack.get_without_key(&format!("/recordings/{ID}")).await.body;
    let url = body["download_url"].as_str().unwrap();
    let signature = parameter(&body["download_url"], "X-Amz-Signature").unwrap();
    let (kept, last) = signature.split_at(signature.len() - 1);
    let other_signature = format!("{kept}{}", if last == "0" { "1" } else { "0" });
    let other_recording = demo::calls(demo::DOCUMENTED_TIME)
        .into_iter()
        .filter_map(|call| call.recording)
        .map(|(key, _)| key)
        .find(|key| key != KEY)
        .unwrap();
    for (what, changed) in [
        ("signature", url.replace(&signature, &other_signature)),
        ("key", url.replace(KEY, &other_recording)),
        ("expiry", url.replace("X-Amz-Expires=3600", "X-Amz-Expires=604800")),
        ("disposition", url.replacen("attachment", "inline", 1)),
        ("type", url.replace("audio%2Fmp4", "text%2Fhtml")),
        ("signer", url.replace("local-signer", "local")),
        ("an addition", format!("{url}&response-cache-control=no-store")),
    ] {
        assert_ne!(changed, url, "{what}");
        let answer = stack.fetch(&changed).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{what}");
    }
    assert_eq!(stack.fetch(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_expired_url_is_rejected() {
    let stack = TestStack::demo().await;
    let signer = Credentials::new(
        aws::SIGNER_ACCESS_KEY_ID,
        aws::SIGNER_SECRET_ACCESS_KEY,
        None,
        None,
        "test",
    );
    let config = stack.aws().s3_config().to_builder();
    let client = aws_sdk_s3::Client::from_conf(
        config
            .credentials_provider(SharedCredentialsProvider::new(signer))
            .build(),
    );
    for (life, status) in [(60, 403), (3600, 200)] {
        let presigning = PresigningConfig::builder()
            .start_time(SystemTime::now() - Duration::from_secs(120))
            .expires_in(Duration::from_secs(life))
            .build()
            .unwrap();
        let get = client.get_object().bucket(account::BUCKET).key(KEY);
        let url = get.presigned(presigning).await.unwrap().uri().to_owned();
        assert_eq!(stack.fetch(&url).send().await.unwrap().status(), status, "of {life} s");
    }
}

#[tokio::test]
async fn urls_are_signed_by_the_signer_if_configured_or_else_by_the_function() {
    for (signer, id) in [
        (account::SIGNER_SECRET, "local-signer/"),
        ("", "local-function-get-recording/"),
    ] {
        let stack = TestStack::with_environment([("SIGNER_SECRET", signer)]).await;
        stack.put_object(KEY, b"sound");
        let body = stack.get(&format!("/recordings/{ID}?expires_in=604800")).await.body;
        for url in ["recording_url", "download_url"] {
            assert!(
                parameter(&body[url], "X-Amz-Credential").unwrap().starts_with(id),
                "{body}"
            );
            let answer = stack.fetch(body[url].as_str().unwrap()).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "sound");
        }
        assert_eq!(body["expires_in"], 604_800);
        assert_eq!(body.get("expires_limited_by"), None);
    }
}

#[tokio::test]
async fn a_url_signed_with_temporary_credentials_states_at_most_15_minutes() {
    let stack = TestStack::with_environment([("SIGNER_SECRET", ""), ("AWS_SESSION_TOKEN", "a-token")]).await;
    stack.put_object(KEY, b"sound");
    for (query, seconds, limited_by) in [
        ("", 900, Some("temporary_credentials")),
        ("?expires_in=604800", 900, Some("temporary_credentials")),
        ("?expires_in=901", 900, Some("temporary_credentials")),
        ("?expires_in=900", 900, None),
        ("?expires_in=60", 60, None),
    ] {
        let body = stack.get(&format!("/recordings/{ID}{query}")).await.body;
        assert_eq!(body["expires_in"], seconds, "{query}");
        assert_eq!(body["expires_limited_by"].as_str(), limited_by, "{query}");
        assert_eq!(
            end_of(&body["download_url"]),
            body["expires_at"].as_str().unwrap().parse().unwrap()
        );
        assert_eq!(
            parameter(&body["recording_url"], "X-Amz-Security-Token").as_deref(),
            Some("a-token")
        );
        let answer = stack
            .fetch(body["recording_url"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn with_a_signer_urls_can_be_valid_for_seven_days() {
    let stack = TestStack::with_environment([("AWS_SESSION_TOKEN", "a-token")]).await;
    stack.put_object(KEY, b"sound");
    let body = stack.get(&format!("/recordings/{ID}?expires_in=604800")).await.body;
    assert_eq!(body["expires_in"], 604_800);
    assert_eq!(parameter(&body["recording_url"], "X-Amz-Security-Token"), None);
}

#[tokio::test]
async fn expires_in_is_a_number_of_seconds_up_to_seven_days() {
    let stack = TestStack::demo().await;
    for value in [
        "0",
        "604801",
        "-1",
        "abc",
        "",
        "1.5",
        "1e3",
        "+60",
        "%2060",
        "99999999999999999999999",
        "0x10",
        "%D9%A1",
        "60%00",
    ] {
        let answer = stack.get(&format!("/recordings/{ID}?expires_in={value}")).await;
        let text = answer.recordings_error(400, "invalid_parameter");
        assert!(
            text.contains("expires_in") && text.contains("from 1 to 604800"),
            "{text}"
        );
    }
    let repeated = stack
        .get(&format!("/recordings/{ID}?expires_in=60&expires_in=60"))
        .await;
    assert!(
        repeated
            .recordings_error(400, "repeated_parameter")
            .contains("expires_in")
    );
    for (query, named) in [
        ("limit=5", "limit"),
        ("expires-in=5", "expires-in"),
        ("EXPIRES_IN=5", "EXPIRES_IN"),
    ] {
        let unknown = stack.get(&format!("/recordings/{ID}?{query}")).await;
        let text = unknown.recordings_error(400, "unknown_parameter");
        assert!(text.contains(named) && text.contains("expires_in"), "{text}");
    }
}

#[tokio::test]
async fn a_presigned_url_is_for_reading_only() {
    let stack = TestStack::demo().await;
    let body = stack.get(&format!("/recordings/{ID}")).await.body;
    let url = body["recording_url"].as_str().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for method in [Method::HEAD, Method::PUT, Method::DELETE] {
        let answer = client.request(method.clone(), url).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{method}");
    }
}

#[tokio::test]
async fn after_a_rotation_no_url_is_signed_with_the_old_key_that_was_cached() {
    let secret = "call-recordings/rotated-signer";
    let stack =
        TestStack::with_environment([("SIGNER_SECRET", secret), ("SIGNER_KEY_ID", aws::SIGNER_ACCESS_KEY_ID)]).await;
    stack.put_object(KEY, b"sound");
    let keys = |id: &str, key: &str| json!({"access_key_id": id, "secret_access_key": key}).to_string();
    stack.put_secret(secret, &keys("AKIAOLD", "old")).await;
    let url = async || stack.get(&format!("/recordings/{ID}")).await.body["recording_url"].clone();
    assert!(
        parameter(&url().await, "X-Amz-Credential")
            .unwrap()
            .starts_with("AKIAOLD/")
    );
    stack
        .put_secret(secret, &keys(aws::SIGNER_ACCESS_KEY_ID, aws::SIGNER_SECRET_ACCESS_KEY))
        .await;
    // Long before the cached secret is read again by its age.
    pass(Duration::from_secs(31)).await;
    let signed = url().await;
    assert_eq!(
        stack.fetch(signed.as_str().unwrap()).send().await.unwrap().status(),
        200
    );
}
