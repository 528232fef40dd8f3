//! API keys, and the absence of secrets in responses and logs.

use std::time::Duration;

use local::{aws::Service, demo, stack::account};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::http::access;

use crate::{
    logs::log_of_this_thread,
    stack::{Answer, TestStack, answer, pass},
};

const ID: &str = "dispatch_1754653479_15103455686";
const KEY: &str = demo::API_KEY;

async fn required() -> TestStack {
    TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
    })
    .await
}

/// `GET` of a path with the value of the `X-API-Key` header, if any.
async fn get(stack: &TestStack, path: &str, key: Option<&str>) -> Answer {
    let mut request = stack.request(Method::GET, path);
    if let Some(key) = key {
        request = request.header("X-API-Key", key);
    }
    answer(request).await
}

/// The secret with these keys: id, key, scopes, end.
fn keys(keys: &[(&str, &str, &[&str], Option<&str>)]) -> String {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(id, key, scopes, end)| json!({"id": id, "sha256": access::hash_key(key), "scopes": scopes, "expires_at": end}))
        .collect();
    json!({ "keys": keys }).to_string()
}

fn secret_reads(stack: &TestStack) -> usize {
    stack.stack.aws.calls_of(Service::SecretsManager, "GetSecretValue")
}

#[tokio::test]
async fn a_key_can_be_in_the_header_or_the_query_and_the_header_takes_precedence() {
    let stack = required().await;
    let wrong = "wrong";
    for (path, header, query, status) in [
        ("/recordings", Some(KEY), None, 200),
        ("/recordings", None, Some(KEY), 200),
        ("/recordings", Some(KEY), Some(wrong), 200),
        ("/recordings", Some(wrong), Some(KEY), 401),
        ("/recordings", Some(""), Some(KEY), 401),
        ("/recordings", None, Some(""), 401),
        ("/recordings", Some("your_api_key_her"), None, 401),
        ("/recordings", Some("YOUR_API_KEY_HERE"), None, 401),
        ("/recordings", None, None, 401),
    ]
    .into_iter()
    .flat_map(|(path, header, query, status)| {
        let one = "/recordings/dispatch_1754653479_15103455686";
        [path, one, "/api/twilio/recordings"].map(|path| (path, header, query, status))
    }) {
        let target = match query {
            Some(key) => format!("{path}?api_key={key}"),
            None => path.to_owned(),
        };
        let answer = get(&stack, &target, header).await;
        assert_eq!(answer.status, status, "{target} {header:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_wrong_and_a_missing_key_have_the_same_response() {
    let stack = required().await;
    let one = format!("/recordings/{ID}");
    for (method, path) in [
        (Method::GET, "/recordings"),
        (Method::GET, &one),
        (Method::GET, "/api/twilio/recordings/"),
        (Method::GET, "/api/twilio/transcript/RE1234567890abcdef"),
        (Method::POST, "/api/twilio/transcript/"),
    ] {
        let mut texts = Vec::new();
        for key in [None, Some(""), Some("wrong"), Some(&KEY[1..])] {
            let mut request = stack.request(method.clone(), path);
            if let Some(key) = key {
                request = request.header("X-API-Key", key);
            }
            let answer = answer(request).await;
            let text = match path.starts_with("/api") {
                true => answer.twilio_error(401, "unauthorized"),
                false => answer.recordings_error(401, "unauthorized"),
            };
            texts.push(text.to_owned());
        }
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    }
    assert!(
        stack.stack.twilio.requests().is_empty(),
        "no request without a key reaches Twilio"
    );
}

#[tokio::test]
async fn a_repeated_key_is_rejected() {
    let stack = required().await;
    for path in ["/recordings", "/recordings/a"] {
        let answer = get(&stack, &format!("{path}?api_key={KEY}&api_key={KEY}"), None).await;
        let text = answer.recordings_error(400, "repeated_parameter");
        assert!(text.contains("api_key") && !text.contains(KEY), "{text}");
    }
    let answer = get(
        &stack,
        &format!("/api/twilio/recordings?api_key={KEY}&api_key=x"),
        Some(KEY),
    )
    .await;
    answer.twilio_error(400, "repeated_parameter");
    let twice = stack
        .request(Method::GET, "/recordings")
        .header("X-API-Key", KEY)
        .header("X-API-Key", KEY);
    crate::stack::answer(twice).await.recordings_error(401, "unauthorized");
}

#[tokio::test]
async fn recordings_are_open_only_if_configured_and_twilio_endpoints_never_are() {
    let open = TestStack::demo().await;
    assert_eq!(get(&open, "/recordings", None).await.status, 200);
    assert_eq!(get(&open, "/recordings", Some("wrong")).await.status, 200);
    get(&open, "/api/twilio/recordings", None)
        .await
        .twilio_error(401, "unauthorized");
    let undecided = TestStack::with_environment([("RECORDINGS_AUTH", "")]).await;
    get(&undecided, "/recordings", None)
        .await
        .recordings_error(401, "unauthorized");
    get(&undecided, &format!("/recordings/{ID}"), None)
        .await
        .recordings_error(401, "unauthorized");
}

#[tokio::test]
async fn a_key_grants_only_its_scopes() {
    let stack = required().await;
    let secret = keys(&[
        ("listens", "listens", &["recordings:read"], None),
        ("reads", "reads", &["twilio:read"], None),
        ("pays", "pays", &["twilio:transcribe"], None),
        ("both", "both", &["recordings:read", "twilio:read"], None),
        ("all", "all", &["*"], None),
        ("none", "none", &[], None),
        ("unknown", "unknown", &["recordings:write", "recordings", "**"], None),
    ]);
    stack.put_secret(account::API_KEYS_SECRET, &secret).await;
    for (key, allowed) in [
        ("listens", [true, false, false]),
        ("reads", [false, true, false]),
        ("pays", [false, false, true]),
        ("both", [true, true, false]),
        ("all", [true, true, true]),
        ("none", [false, false, false]),
        ("unknown", [false, false, false]),
    ] {
        for ((method, path, scope), allowed) in [
            (Method::GET, "/recordings", "recordings:read"),
            (Method::GET, "/api/twilio/recordings?limit=1", "twilio:read"),
            (Method::POST, "/api/twilio/transcript", "twilio:transcribe"),
        ]
        .into_iter()
        .zip(allowed)
        {
            let request = stack.request(method, path).header("X-API-Key", key).body("{}");
            let answer = answer(request).await;
            if allowed {
                assert!(
                    !matches!(answer.status.as_u16(), 401 | 403),
                    "{key} {path}: {}",
                    answer.body
                );
                continue;
            }
            let text = match path.starts_with("/api") {
                true => answer.twilio_error(403, "forbidden"),
                false => answer.recordings_error(403, "forbidden"),
            };
            assert!(text.contains(scope), "{text}");
        }
        let one = get(&stack, &format!("/recordings/{ID}"), Some(key)).await;
        assert_eq!(one.status == 200, allowed[0], "{key}: {}", one.body);
    }
}

#[tokio::test]
async fn an_expired_key_is_rejected_like_an_unknown_key() {
    let stack = required().await;
    let secret = keys(&[
        ("old", "old", &["*"], Some("2024-01-01T00:00:00Z")),
        ("young", "young", &["*"], Some("2999-01-01T00:00:00Z")),
    ]);
    stack.put_secret(account::API_KEYS_SECRET, &secret).await;
    assert_eq!(get(&stack, "/recordings", Some("young")).await.status, 200);
    let expired = get(&stack, "/recordings", Some("old")).await;
    let missing = get(&stack, "/recordings", None).await;
    assert_eq!(
        expired.recordings_error(401, "unauthorized"),
        missing.recordings_error(401, "unauthorized")
    );
}

#[tokio::test]
async fn a_new_key_works_within_30_seconds_and_a_removed_one_until_the_cache_expires() {
    let stack = required().await;
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
    assert_eq!(get(&stack, "/recordings", Some("new")).await.status, 401);
    let both = keys(&[("demo", KEY, &["*"], None), ("new", "new", &["*"], None)]);
    stack.put_secret(account::API_KEYS_SECRET, &both).await;
    // An unknown key has just caused the secret to be read.
    assert_eq!(get(&stack, "/recordings", Some("new")).await.status, 401);
    pass(Duration::from_secs(30)).await;
    assert_eq!(get(&stack, "/recordings", Some("new")).await.status, 200);
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
    stack
        .put_secret(account::API_KEYS_SECRET, &keys(&[("new", "new", &["*"], None)]))
        .await;
    pass(shared::clients::secrets::TTL).await;
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 401);
    assert_eq!(get(&stack, "/recordings", Some("new")).await.status, 200);
}

#[tokio::test]
async fn unknown_keys_cause_the_secret_to_be_read_at_most_every_30_seconds() {
    let stack = required().await;
    let before = secret_reads(&stack);
    let junk = async |from: u32| {
        let requests = (from..from + 40).map(|n| {
            let stack = &stack;
            async move { get(stack, "/recordings", Some(&format!("junk-{n}"))).await.status }
        });
        let statuses = futures_util::future::join_all(requests).await;
        assert!(statuses.iter().all(|status| *status == StatusCode::UNAUTHORIZED));
    };
    junk(0).await;
    assert_eq!(secret_reads(&stack), before + 1);
    pass(Duration::from_secs(15)).await;
    junk(100).await;
    assert_eq!(secret_reads(&stack), before + 1);
    pass(Duration::from_secs(15)).await;
    junk(200).await;
    assert_eq!(secret_reads(&stack), before + 2);
    for _ in 0..20 {
        assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
    }
    assert_eq!(get(&stack, "/recordings", None).await.status, 401);
    assert_eq!(
        secret_reads(&stack),
        before + 2,
        "known and missing keys cause no request to Secrets Manager"
    );
}

#[tokio::test]
async fn an_unreadable_keys_secret_is_reported_without_its_content() {
    let stack = TestStack::with(|settings| {
        let variables = [("RECORDINGS_AUTH", "required"), ("API_KEYS_SECRET", "other-keys")];
        settings
            .environment
            .extend(variables.map(|(name, value)| (name.into(), value.into())));
    })
    .await;
    let ask = async |status, code| {
        for path in ["/recordings", "/recordings/a", "/api/twilio/recordings"] {
            let answer = get(&stack, path, Some(KEY)).await;
            let text = match path.starts_with("/api") {
                true => answer.twilio_error(status, code),
                false => answer.recordings_error(status, code),
            };
            assert!(!text.contains("other-keys"), "{text}");
            let body = answer.body.to_string();
            assert!(!body.contains("sesame") && !body.contains("Set by a test"), "{body}");
            assert_eq!(answer.body["retryable"].as_bool(), (status == 503).then_some(true));
        }
    };
    ask(500, "api_keys_not_configured").await;
    for malformed in ["sesame", r#"{"keys": "sesame"}"#, r#"["sesame"]"#, ""] {
        if !malformed.is_empty() {
            stack.put_secret("other-keys", malformed).await;
            pass(Duration::from_secs(31)).await;
            ask(500, "api_keys_not_configured").await;
        }
    }
    pass(Duration::from_secs(31)).await;
    let faults = stack.stack.aws.faults();
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE] {
        faults.set(Service::SecretsManager, Some(status));
        pass(Duration::from_secs(4)).await;
        ask(503, "api_keys_unavailable").await;
    }
    faults.set(Service::SecretsManager, None);
    stack.put_secret("other-keys", r#"{"keys": []}"#).await;
    pass(Duration::from_secs(4)).await;
    get(&stack, "/recordings", Some(KEY))
        .await
        .recordings_error(401, "unauthorized");
    stack
        .put_secret("other-keys", &keys(&[("demo", KEY, &["*"], None)]))
        .await;
    pass(Duration::from_secs(31)).await;
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
}

#[tokio::test]
async fn known_keys_work_during_an_outage_of_secrets_manager() {
    let stack = required().await;
    stack
        .stack
        .aws
        .faults()
        .set(Service::SecretsManager, Some(StatusCode::SERVICE_UNAVAILABLE));
    pass(shared::clients::secrets::TTL).await;
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
    assert_eq!(get(&stack, "/recordings", Some("wrong")).await.status, 401);
    pass(Duration::from_secs(3600)).await;
    get(&stack, "/recordings", Some(KEY))
        .await
        .recordings_error(503, "api_keys_unavailable");
}

#[tokio::test]
async fn a_missing_or_unreadable_secret_costs_few_reads_however_many_keys_are_guessed() {
    let stack = TestStack::with_environment([("RECORDINGS_AUTH", "required"), ("API_KEYS_SECRET", "other-keys")]).await;
    let junk = async |code: &str| {
        let requests = (0..20).map(|n| {
            let stack = &stack;
            async move { get(stack, "/recordings", Some(&format!("junk-{n}"))).await }
        });
        let before = secret_reads(&stack);
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(answer.body["code"], code, "{}", answer.body);
        }
        secret_reads(&stack) - before
    };
    assert_eq!(junk("api_keys_not_configured").await, 1);
    assert_eq!(junk("api_keys_not_configured").await, 0);
    pass(Duration::from_secs(31)).await;
    let faults = stack.stack.aws.faults();
    faults.set(Service::SecretsManager, Some(StatusCode::BAD_REQUEST));
    assert_eq!(junk("api_keys_unavailable").await, 1);
    assert_eq!(junk("api_keys_unavailable").await, 0);
    faults.set(Service::SecretsManager, None);
    let client = stack.aws().secrets_manager();
    let secret = keys(&[("demo", KEY, &["*"], None)]);
    let created = client.create_secret().name("other-keys").secret_string(secret);
    created.send().await.unwrap();
    // A good key works soon after the permission was repaired, and at once after an outage.
    pass(Duration::from_secs(3)).await;
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
}

#[tokio::test]
async fn after_a_bad_edit_of_the_secret_known_keys_work_for_five_minutes() {
    let stack = required().await;
    stack.put_secret(account::API_KEYS_SECRET, "{").await;
    assert_eq!(get(&stack, "/recordings", Some("unknown")).await.status, 401);
    assert_eq!(get(&stack, "/recordings", Some(KEY)).await.status, 200);
    pass(shared::clients::secrets::TTL).await;
    get(&stack, "/recordings", Some(KEY))
        .await
        .recordings_error(500, "api_keys_not_configured");
}

#[tokio::test]
async fn no_log_or_response_contains_a_key_and_no_log_contains_a_url_or_customer_data() {
    // The whole stack runs on this thread.
    let log = log_of_this_thread();
    let stack = required().await;
    let wrong = "wrong_key_0123456789";
    let mut answers = String::new();
    let mut signatures = Vec::new();
    for path in [
        "/recordings?limit=1".to_owned(),
        format!("/recordings/{ID}?expires_in=60"),
        "/recordings/dispatch_1754493610_14155550123?x=1".into(),
        "/recordings/dispatch_1754493610_14155550123?x=1".replace("?x=1", "?"),
        "/recordings/dispatch_1754653479_19998887777?".into(),
        "/recordings/%00?".into(),
        "/recordings?limit=x".into(),
        "/api/twilio/recordings?limit=1".into(),
        "/api/twilio/nothing?".into(),
    ] {
        for key in [KEY, wrong] {
            let in_header = get(&stack, &path, Some(key)).await;
            let separator = if path.contains('?') { '&' } else { '?' };
            let in_query = get(&stack, &format!("{path}{separator}api_key={key}"), None).await;
            for answer in [in_header, in_query] {
                for url in ["/recording_url", "/recordings/0/recording_url"] {
                    let signature = answer.body.pointer(url).and_then(Value::as_str);
                    let signature = signature.and_then(|url| url.split("X-Amz-Signature=").nth(1));
                    signatures.extend(signature.map(|text| text.split('&').next().unwrap().to_owned()));
                }
                answers.push_str(&answer.body.to_string());
            }
        }
    }
    for service in [Service::S3, Service::DynamoDb] {
        stack
            .stack
            .aws
            .faults()
            .set(service, Some(StatusCode::INTERNAL_SERVER_ERROR));
        get(&stack, "/recordings/dispatch_1_2", Some(KEY)).await;
    }
    let log = log.text();
    assert!(
        log.contains("key_id") && log.contains("request refused") && log.contains("request failed"),
        "{log}"
    );
    assert!(signatures.len() >= 4 && signatures.iter().all(|signature| signature.len() == 64));
    for secret in [
        KEY,
        wrong,
        &access::hash_key(KEY),
        demo::AUTH_TOKEN,
        "local-signer-secret",
    ] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
        assert!(!answers.contains(secret), "{secret} in an answer");
    }
    for private in ["X-Amz-Signature", "api_key=", "Louis Smith", "15103455686"]
        .into_iter()
        .chain(signatures.iter().map(String::as_str))
    {
        assert!(!log.contains(private), "{private} in the log:\n{log}");
    }
}
