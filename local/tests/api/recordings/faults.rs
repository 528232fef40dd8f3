//! Invalid requests, and outages of S3, DynamoDB and Secrets Manager.

use super::*;

#[tokio::test]
async fn an_invalid_dispatch_id_is_rejected_before_any_request_to_aws() {
    let stack = TestStack::empty().await;
    let long = "a".repeat(129);
    // The first request stores when its key was last used.
    assert_not_found(&stack.get("/recordings/a").await);
    let known = stack.stack.aws.calls(Service::DynamoDb);
    for id in [
        "dispatch_1%2F2",
        "%2F",
        "%2e%2E%2fsecret",
        "a%00b",
        "%00",
        "%FF",
        "%C3%28",
        "%E2%82%AC",
        "a%20b",
        "a+b",
        "a'b",
        "a%22b",
        "day%232025-08-08",
        "..",
        ".",
        "%2e%2e",
        "a%",
        "a%zz",
        "x%2F/",
        &long,
    ] {
        let (status, body) = stack.get_raw(format!("/recordings/{id}").as_bytes()).await;
        assert_eq!(status, 400, "{id}: {body}");
        let code = body["code"].as_str().unwrap();
        assert!(matches!(code, "invalid_dispatch_id" | "invalid_path"), "{id}: {body}");
        assert!(
            body["detail"].is_string() && body["request_id"].is_string(),
            "{id}: {body}"
        );
    }
    assert_eq!(stack.stack.aws.calls(Service::DynamoDb), known);
    assert_eq!(stack.stack.aws.calls_of(Service::S3, "ListObjectsV2"), 0);
    assert_not_found(&stack.get(&format!("/recordings/{}", "a".repeat(128))).await);
}

#[tokio::test]
async fn invalid_bytes_in_the_query_are_a_400() {
    let stack = TestStack::demo().await;
    for query in ["expires_in=%FF", "%FF=1", "expires_in=60&x=%C3%28"] {
        let (status, body) = stack.get_raw(format!("/recordings/{ID}?{query}").as_bytes()).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (400, Some("invalid_query")),
            "{query}: {body}"
        );
    }
    for query in ["&", "&&expires_in=60&", ""] {
        let (status, body) = stack.get_raw(format!("/recordings/{ID}?{query}").as_bytes()).await;
        assert_eq!(status, 200, "{query}: {body}");
    }
    // HTTP servers reject these bytes in a request line; the response must be neither a success nor a crash.
    for query in [&b"expires_in=\xff"[..], b"expires_in=\x00", b"expires_in=\xc3\xa9"] {
        let target = [format!("/recordings/{ID}?").as_bytes(), query].concat();
        let (status, body) = stack.get_raw(&target).await;
        assert_eq!(status, 400, "{body}");
    }
}

#[tokio::test]
async fn without_a_bucket_both_endpoints_return_the_documented_500() {
    for bucket in ["", "no-such-bucket"] {
        let stack = TestStack::with_environment([("RECORDINGS_BUCKET", bucket)]).await;
        let mut answers = vec![stack.get(&format!("/recordings/{ID}")).await];
        if bucket.is_empty() {
            answers.push(stack.get("/recordings").await);
        }
        for answer in answers {
            assert_eq!(
                answer.recordings_error(500, "s3_not_configured"),
                "S3 configuration missing. Recording URLs not available."
            );
        }
    }
}

/// Checks that a response contains no message or address of an internal service.
#[track_caller]
fn assert_nothing_internal(answer: &Answer) {
    let text = answer.body.to_string();
    for internal in [
        "Set by a test",
        "localhost",
        "127.0.0.1",
        "Internal",
        "AccessDenied",
        "call-recordings/",
        "egress",
    ] {
        assert!(!text.contains(internal), "{internal}: {text}");
    }
}

#[tokio::test]
async fn an_outage_of_s3_is_not_a_404() {
    let stack = TestStack::empty().await;
    for (status, expected, code, retryable) in [
        (StatusCode::SERVICE_UNAVAILABLE, 503, "storage_unavailable", json!(true)),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            503,
            "storage_unavailable",
            json!(true),
        ),
        (StatusCode::FORBIDDEN, 500, "storage_access_denied", Value::Null),
    ] {
        stack.stack.aws.faults().set(Service::S3, Some(status));
        let answer = stack.get(&format!("/recordings/{ID}")).await;
        answer.recordings_error(expected, code);
        assert_eq!(answer.body["retryable"], retryable);
        assert_nothing_internal(&answer);
    }
    stack.stack.aws.faults().set(Service::S3, None);
    assert_not_found(&stack.get(&format!("/recordings/{ID}")).await);
}

#[tokio::test]
async fn an_outage_of_dynamodb_is_neither_a_404_nor_an_empty_list() {
    let stack = TestStack::demo().await;
    for status in [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_REQUEST,
    ] {
        stack.stack.aws.faults().set(Service::DynamoDb, Some(status));
        for path in [format!("/recordings/{ID}"), "/recordings".into()] {
            let answer = stack.get(&path).await;
            answer.recordings_error(503, "database_unavailable");
            assert_eq!(answer.body["retryable"], true);
            assert_nothing_internal(&answer);
        }
    }
}

#[tokio::test]
async fn an_unusable_signer_secret_is_reported_without_its_content() {
    let stack = TestStack::with_environment([("SIGNER_SECRET", "other-signer")]).await;
    stack.put_object(KEY, b"sound");
    let one = format!("/recordings/{ID}");
    let ask = async |status, code| {
        for path in [&one, "/recordings"] {
            let answer = stack.get(path).await;
            answer.recordings_error(status, code);
            assert_nothing_internal(&answer);
            assert!(!answer.body.to_string().contains("signer-"), "{}", answer.body);
        }
    };
    ask(500, "signer_not_configured").await;
    stack
        .put_secret("other-signer", r#"{"access_key_id": "signer-id"}"#)
        .await;
    pass(Duration::from_secs(31)).await;
    ask(500, "signer_not_configured").await;
    stack.put_secret("other-signer", "signer-secret, not JSON").await;
    pass(Duration::from_secs(31)).await;
    ask(500, "signer_not_configured").await;
    pass(Duration::from_secs(31)).await;
    let faults = stack.stack.aws.faults();
    faults.set(Service::SecretsManager, Some(StatusCode::INTERNAL_SERVER_ERROR));
    ask(503, "signer_unavailable").await;
    faults.set(Service::SecretsManager, None);
    // It is remembered for three seconds that the secret could not be read.
    pass(Duration::from_secs(4)).await;
    let keys = json!({"access_key_id": aws::SIGNER_ACCESS_KEY_ID, "secret_access_key": aws::SIGNER_SECRET_ACCESS_KEY});
    stack.put_secret("other-signer", &keys.to_string()).await;
    assert_found(&stack.get(&one).await, KEY);
}
