//! Limits of requests per key and address, what is open without a key, and what junk costs.

use std::time::Duration;

use local::{aws::Service, demo, stack::account};
use reqwest::{Method, StatusCode};
use serde_json::json;
use shared::http::access::{self, ApiKey};

use crate::{
    ingest,
    stack::{Answer, TestStack, answer, pass},
};

const KEY: &str = demo::API_KEY;

async fn limited(auth: &'static str) -> TestStack {
    TestStack::with(|settings| {
        settings.empty = false;
        let variables = [
            ("RECORDINGS_AUTH", auth),
            ("KEY_REQUESTS_PER_MINUTE", "6"),
            ("KEY_PAID_REQUESTS_PER_MINUTE", "2"),
            ("ADDRESS_REQUESTS_PER_MINUTE", "3"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        settings.environment.extend(variables);
    })
    .await
}

async fn get(stack: &TestStack, path: &str, key: Option<&str>) -> Answer {
    let request = stack.request(Method::GET, path);
    answer(match key {
        Some(key) => request.header("X-API-Key", key),
        None => request,
    })
    .await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_key_that_exceeds_its_limit_gets_429_with_the_time_to_wait_and_no_other_key_does() {
    let stack = limited("required").await;
    let keys = json!({"keys": [
        {"id": "demo", "sha256": access::hash_key(KEY), "scopes": ["*"]},
        {"id": "other", "sha256": access::hash_key("other"), "scopes": ["*"]},
    ]});
    stack.put_secret(account::API_KEYS_SECRET, &keys.to_string()).await;
    for remaining in (0..6).rev() {
        let answer = get(&stack, "/recordings?limit=1", Some(KEY)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"key\";q=6;w=60");
        assert!(header(&answer, "ratelimit").starts_with(&format!("\"key\";r={remaining};t=")));
    }
    let refused = get(&stack, "/recordings?limit=1", Some(KEY)).await;
    refused.recordings_error(429, "rate_limited");
    assert_eq!(refused.body["retryable"], true);
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "ratelimit"), format!("\"key\";r=0;t={wait}"));
    let other = get(&stack, "/recordings?limit=1", Some("other")).await;
    assert_eq!(other.status, 200, "{}", other.body);
    pass(Duration::from_secs(wait)).await;
    assert_eq!(get(&stack, "/recordings?limit=1", Some(KEY)).await.status, 200);
}

#[tokio::test]
async fn what_costs_money_has_a_lower_limit_than_reading_and_nothing_is_paid_above_it() {
    let stack = limited("required").await;
    let body = json!({"recording_sid": "RE1234567890abcdef", "force": true});
    for _ in 0..2 {
        let answer = stack.post("/api/twilio/transcript/", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"paid\";q=2;w=60");
    }
    let before = stack.stack.whisper.calls();
    let refused = stack.post("/api/twilio/transcript/", &body).await;
    refused.twilio_error(429, "rate_limited");
    assert!(!header(&refused, "retry-after").is_empty());
    assert_eq!(stack.stack.whisper.calls(), before);
    let stored = get(&stack, "/api/twilio/transcript/RE1234567890abcdef", Some(KEY)).await;
    assert_eq!(stored.status, 200, "what was paid can be read: {}", stored.body);
}

#[tokio::test]
async fn an_address_without_a_valid_key_is_limited_and_a_valid_key_from_it_is_not() {
    let stack = limited("required").await;
    let keys = [None, Some("wrong"), Some("wrong again")];
    for key in keys {
        get(&stack, "/recordings", key)
            .await
            .recordings_error(401, "unauthorized");
    }
    for key in keys {
        let refused = get(&stack, "/recordings", key).await;
        refused.recordings_error(429, "rate_limited");
        assert_eq!(header(&refused, "ratelimit-policy"), "\"address\";q=3;w=60");
    }
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
    let open = limited("open").await;
    for status in [200, 200, 200, 429] {
        assert_eq!(get(&open, "/recordings", None).await.status, status);
    }
    assert_eq!(get(&open, "/recordings", Some(KEY)).await.status, 200);
}

#[tokio::test]
async fn a_mistyped_key_is_refused_without_a_look_up_and_junk_costs_one_read_of_a_malformed_secret() {
    let stack = TestStack::with_environment([("RECORDINGS_AUTH", "required"), ("API_KEYS_SECRET", "other-keys")]).await;
    let reads = || stack.stack.aws.calls_of(Service::SecretsManager, "GetSecretValue");
    stack.put_secret("other-keys", "{\"keys\": 1}").await;
    pass(Duration::from_secs(31)).await;
    let key = ApiKey::random().unwrap();
    let mistyped = format!("{}x", &key.as_str()[..53]);
    let before = reads();
    for junk in [mistyped.as_str(), "crk_", "crk_junk"] {
        get(&stack, "/recordings", Some(junk))
            .await
            .recordings_error(401, "unauthorized");
    }
    assert_eq!(reads(), before);
    let junk: Vec<String> = (0..30).map(|n| format!("junk-{n}")).collect();
    let answers = futures_util::future::join_all(junk.iter().map(|key| get(&stack, "/recordings", Some(key)))).await;
    for answer in answers {
        answer.recordings_error(500, "api_keys_not_configured");
    }
    assert_eq!(reads(), before + 1, "the malformed secret is remembered");
    stack
        .put_secret(
            "other-keys",
            &json!({"keys": [{"id": "k", "sha256": access::hash_key(key.as_str()), "scopes": ["*"]}]}).to_string(),
        )
        .await;
    pass(Duration::from_secs(31)).await;
    assert_eq!(get(&stack, "/recordings", Some(key.as_str())).await.status, 200);
}

#[tokio::test]
async fn open_recordings_are_the_list_the_recordings_and_their_stored_transcripts_and_nothing_else() {
    let stack = TestStack::demo().await;
    let one = "/recordings/dispatch_1754653479_15103455686";
    for path in ["/recordings", one] {
        assert_eq!(get(&stack, path, None).await.status, 200, "{path}");
    }
    let audio = stack
        .request(Method::HEAD, &format!("{one}/audio"))
        .send()
        .await
        .unwrap();
    assert_ne!(audio.status(), StatusCode::UNAUTHORIZED);
    assert_ne!(get(&stack, &format!("{one}/transcript"), None).await.status, 401);
    for path in [
        "/reports/completeness",
        "/reports/daily",
        "/reports/queues",
        &format!("{one}/shares"),
        "/erasures/0123456789abcdef",
    ] {
        get(&stack, path, None).await.recordings_error(401, "unauthorized");
    }
    get(&stack, "/api/twilio/usage", None)
        .await
        .twilio_error(401, "unauthorized");
}

#[tokio::test]
async fn guessing_dispatch_ids_lists_the_bucket_only_with_a_key_and_within_its_limit() {
    let stack = limited("open").await;
    let lists = || stack.stack.aws.calls_of(Service::S3, "ListObjectsV2");
    let guess = |n: u32| format!("/recordings/dispatch_175465{n:04}_15559990000");
    let before = lists();
    for n in 0..3 {
        get(&stack, &guess(n), None)
            .await
            .recordings_error(404, "recording_not_found");
    }
    assert_eq!(lists(), before);
    for n in 0..2 {
        get(&stack, &guess(n), Some(KEY))
            .await
            .recordings_error(404, "recording_not_found");
    }
    assert!(lists() > before);
    let before = lists();
    let refused = get(&stack, &guess(2), Some(KEY)).await;
    refused.recordings_error(429, "rate_limited");
    assert_eq!(header(&refused, "ratelimit-policy"), "\"paid\";q=2;w=60");
    assert_eq!(lists(), before);
    let known = get(&stack, "/recordings/dispatch_1754653479_15103455686", Some(KEY)).await;
    assert_eq!(
        known.status, 200,
        "a call of the index needs no listing: {}",
        known.body
    );
}

#[tokio::test]
async fn an_unknown_dispatch_is_found_in_the_index_without_a_key_when_its_recording_is_indexed() {
    let stack = TestStack::empty().await;
    let key = "egress-recordings/2025/08/08/outbound-15103455686_1754653490.mp4";
    stack.put_object(key, b"sound");
    let path = "/recordings/dispatch_1754653479_15103455686";
    get(&stack, path, None)
        .await
        .recordings_error(404, "recording_not_found");
    ingest::deliver(
        &ingest::functions(&stack).await,
        "index-recording",
        &[ingest::created(key)],
    )
    .await;
    let found = get(&stack, path, None).await;
    assert_eq!(
        (found.status, &found.body["s3_key"]),
        (StatusCode::OK, &json!(key)),
        "{}",
        found.body
    );
}
