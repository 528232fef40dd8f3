//! Limits of requests per key and address, what is open without a key, and what junk costs.

use std::time::Duration;

use local::{aws::Service, demo, stack::account};
use reqwest::{Client, Method, StatusCode, redirect::Policy};
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
        // In 10 s the next request is allowed.
        let reset = if remaining == 0 { 10 } else { (6 - remaining) * 10 };
        assert_eq!(header(&answer, "ratelimit"), format!("\"key\";r={remaining};t={reset}"));
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
    let transcribed = stack.post(&format!("{one}/transcript"), &json!({})).await;
    assert_eq!(transcribed.status, 200, "{}", transcribed.body);
    let direct = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let api = stack.stack.api_url.as_ref().unwrap();
    let open = [
        ("/recordings", 200),
        ("/recordings/{dispatch_id}", 200),
        ("/recordings/{dispatch_id}/audio", 302),
        ("/recordings/{dispatch_id}/transcript", 200),
    ];
    // Pages for people, what they load, and what a provider signs.
    let keyless = ["/console", "/docs", "/openapi.json", "/s/", "/webhooks/"];
    let contract = local::contract::document();
    let mut checked = 0;
    for (path, operations) in contract["paths"].as_object().unwrap() {
        if path == "/" || keyless.iter().any(|keyless| path.starts_with(keyless)) {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else {
                continue;
            };
            if operation["operationId"].is_null() {
                continue;
            }
            let expected = open.iter().find(|(known, _)| method == Method::GET && known == path);
            let expected = expected.map_or(401, |(_, status)| *status);
            let filled = path
                .replace("{dispatch_id}", "dispatch_1754653479_15103455686")
                .replace("{recording_sid}", "RE1234567890abcdef")
                .replace("{erasure_id}", "9f86d081884c7d659a2feaa0c55ad015")
                .replace("{share_id}", "9f86d081884c7d659a2feaa0c55ad015");
            let request = direct.request(method.clone(), format!("{api}{filled}"));
            let status = request.json(&json!({})).send().await.unwrap().status();
            assert_eq!(status, expected, "{method} {path}");
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[tokio::test]
async fn a_request_counts_once_for_what_costs_money_and_only_if_its_key_may_do_it() {
    let stack = limited("required").await;
    let keys = json!({"keys": [
        {"id": "demo", "sha256": access::hash_key(KEY), "scopes": ["*"]},
        {"id": "reader", "sha256": access::hash_key("reader"), "scopes": ["recordings:read"]},
    ]});
    stack.put_secret(account::API_KEYS_SECRET, &keys.to_string()).await;
    let unknown = "/recordings/dispatch_1754650000_15559990000";
    let transcribe = async |key| {
        let request = stack.request(Method::POST, &format!("{unknown}/transcript"));
        answer(request.header("X-API-Key", key).json(&json!({}))).await
    };
    // It is transcribed, and for that searched in the bucket.
    for remaining in ["r=1;t=30", "r=0;t=30"] {
        let missing = transcribe(KEY).await;
        missing.recordings_error(404, "recording_not_found");
        assert_eq!(header(&missing, "ratelimit"), format!("\"paid\";{remaining}"));
    }
    transcribe(KEY).await.recordings_error(429, "rate_limited");
    for _ in 0..3 {
        transcribe("reader").await.recordings_error(403, "forbidden");
    }
    let found = get(&stack, unknown, Some("reader")).await;
    found.recordings_error(404, "recording_not_found");
    assert_eq!(
        header(&found, "ratelimit"),
        "\"paid\";r=1;t=30",
        "the first that counts"
    );
}

#[tokio::test]
async fn sessions_of_the_console_count_for_their_key_or_else_for_the_address() {
    let stack = limited("required").await;
    let session = |method| stack.request(method, "/console/session");
    let signed_in = session(Method::POST).header("X-API-Key", KEY).send().await.unwrap();
    assert_eq!(signed_in.headers()["ratelimit"], "\"key\";r=5;t=10");
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap();
    for remaining in ["r=4;t=20", "r=3;t=30"] {
        let known = answer(session(Method::GET).header("Cookie", cookie)).await;
        assert_eq!(known.body["signed_in"]["key_id"], "demo");
        assert_eq!(header(&known, "ratelimit"), format!("\"key\";{remaining}"));
    }
    let junk = |method, key: &str| answer(session(method).header("X-API-Key", key));
    assert_eq!(junk(Method::POST, "junk").await.status, 401);
    assert_eq!(answer(session(Method::GET)).await.status, 200);
    let forged = format!("{cookie}0");
    assert_eq!(answer(session(Method::GET).header("Cookie", forged)).await.status, 200);
    junk(Method::POST, "junk").await.recordings_error(429, "rate_limited");
    answer(session(Method::GET)).await.recordings_error(429, "rate_limited");
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
