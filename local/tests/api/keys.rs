//! `cargo run -- keys`: creating, listing, rotating, revoking and importing API keys, and what each command changes for requests.

use std::time::Duration;

use local::{aws::Service, demo, stack::account};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::{clients::secrets::TTL, http::access};

use crate::{
    command_line,
    stack::{TestStack, answer, pass},
};

/// Runs `keys` with these arguments: what it printed for programs and for people, and whether it succeeded.
async fn keys(stack: &TestStack, arguments: &[&str], input: &str) -> (String, String, bool) {
    let url = stack.stack.aws_url.clone();
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let input = input.to_owned();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        command_line::keys(&url, &arguments, &input)
    };
    let output = shared::panics::blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    (text(output.stdout), text(output.stderr), output.status.success())
}

async fn created(stack: &TestStack, arguments: &[&str]) -> String {
    let (key, said, succeeded) = keys(stack, arguments, "").await;
    assert!(succeeded && key.starts_with("crk_"), "{key} {said}");
    assert!(!said.contains(&key), "{said}");
    key
}

async fn status(stack: &TestStack, key: &str) -> StatusCode {
    let request = stack.request(Method::GET, "/api/twilio/recordings?limit=1");
    answer(request.header("X-API-Key", key)).await.status
}

/// Lets the functions read the secret again, also for an unknown key.
async fn forget(stack: &TestStack) {
    pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(status(stack, "a key that nobody has").await, 401);
}

#[tokio::test]
async fn a_key_is_created_rotated_with_an_overlap_and_revoked() {
    let stack = TestStack::demo().await;
    let first = created(&stack, &["create", "ops", "--scope", "twilio:read"]).await;
    assert_eq!(status(&stack, &first).await, 200);

    let (said, error, succeeded) = keys(&stack, &["create", "ops"], "").await;
    assert!(
        !succeeded && said.is_empty() && error.contains("keys rotate ops"),
        "{error}"
    );

    let second = created(&stack, &["rotate", "ops", "--overlap-hours", "1"]).await;
    forget(&stack).await;
    for key in [&first, &second] {
        assert_eq!(status(&stack, key).await, 200);
    }
    let transcript = stack
        .request(Method::POST, "/api/twilio/transcript/")
        .header("X-API-Key", &second);
    let refused = answer(transcript.body("{}")).await;
    assert_eq!(
        refused.status, 403,
        "the new key has the scopes of the old one: {}",
        refused.body
    );
    let (_, error, succeeded) = keys(&stack, &["rotate", "ops"], "").await;
    assert!(!succeeded && error.contains("2 live keys"), "{error}");

    let fingerprint = &access::hash_key(&first)[..8];
    let (said, warning, succeeded) = keys(&stack, &["revoke", "ops", "--fingerprint", fingerprint], "").await;
    assert!(
        succeeded && said == "1 revoked" && warning.contains("five minutes"),
        "{said} {warning}"
    );
    forget(&stack).await;
    assert_eq!(status(&stack, &first).await, 401);
    assert_eq!(status(&stack, &second).await, 200);
    assert_eq!(keys(&stack, &["revoke", "ops"], "").await.0, "1 revoked");
    forget(&stack).await;
    assert_eq!(status(&stack, &second).await, 401);
    assert_eq!(status(&stack, demo::API_KEY).await, 200, "other keys are untouched");
    let (_, error, succeeded) = keys(&stack, &["revoke", "ops"], "").await;
    assert!(!succeeded && error.contains("no key ops"), "{error}");
}

#[tokio::test]
async fn a_key_from_elsewhere_is_imported_from_the_standard_input_and_stored_as_a_hash() {
    let stack = TestStack::demo().await;
    let key = "key-of-the-old-system-42";
    let (fingerprint, said, succeeded) = keys(&stack, &["import", "old", "--scope", "twilio:read"], key).await;
    assert!(
        succeeded && fingerprint == access::hash_key(key)[..8],
        "{fingerprint} {said}"
    );
    assert_eq!(status(&stack, key).await, 200);
    let secret = stack.aws().secrets_manager();
    let secret = secret
        .get_secret_value()
        .secret_id(account::API_KEYS_SECRET)
        .send()
        .await;
    let secret = secret.unwrap().secret_string.unwrap();
    assert!(!secret.contains(key) && secret.contains(&access::hash_key(key)));
    for (arguments, input, reason) in [
        (["import", "again"], key, "already"),
        (["import", "old"], "another-key-0123456789", "already"),
        (["import", "short"], "short", "16 to 200"),
        (["import", "a b"], "another-key-0123456789", "letters, digits"),
        (["import", "typo"], "crk_0123456789012345", "checksum"),
    ] {
        let (_, error, succeeded) = keys(&stack, &arguments, input).await;
        assert!(!succeeded && error.contains(reason), "{arguments:?}: {error}");
        assert!(!error.contains(input), "{error}");
    }
}

#[tokio::test]
async fn the_list_shows_scopes_ends_and_last_uses_and_no_key() {
    let stack = TestStack::demo().await;
    let key = created(
        &stack,
        &[
            "create",
            "reader",
            "--scope",
            "twilio:read",
            "--expires-at",
            "2999-01-01T00:00:00Z",
        ],
    )
    .await;
    created(&stack, &["create", "unused"]).await;
    stack.put_secret("broken", "{").await;
    let (_, error, succeeded) = keys(&stack, &["list", "--secret-id", "broken"], "").await;
    assert!(!succeeded && error.contains("is not of the form"), "{error}");
    assert_eq!(status(&stack, &key).await, 200);
    let (list, said, succeeded) = keys(&stack, &["list"], "").await;
    assert!(succeeded && said.is_empty(), "{said}");
    let line = |id: &str| {
        list.lines()
            .find(|line| line.starts_with(id))
            .unwrap_or_else(|| panic!("{list}"))
    };
    assert!(
        line("reader").contains("2999-01-01T00:00:00Z") && line("reader").ends_with("twilio:read"),
        "{list}"
    );
    assert!(!line("reader").contains("never"), "it was used: {list}");
    assert_eq!(line("unused").matches("never").count(), 2, "{list}");
    assert!(
        line("demo").contains("unknown"),
        "nobody knows when it was created: {list}"
    );
    assert!(!list.contains(&key) && !list.contains(&access::hash_key(&key)));

    let (_, error, succeeded) = keys(&stack, &["rotate", "reader"], "").await;
    assert!(!succeeded && error.contains("--expires-at"), "{error}");
    created(&stack, &["rotate", "reader", "--expires-at", "2998-01-01T00:00:00Z"]).await;
    let (list, said, succeeded) = keys(&stack, &["list", "--audit-table", "none"], "").await;
    assert!(succeeded && said.contains("last used"), "{said}");
    assert_eq!(
        list.lines().filter(|line| line.starts_with("reader")).count(),
        2,
        "{list}"
    );
}

#[tokio::test]
async fn the_last_use_of_a_key_is_written_once_an_hour_and_no_request_fails_for_it() {
    let stack = TestStack::demo().await;
    let updates = || stack.stack.aws.calls_of(Service::DynamoDb, "UpdateItem");
    let before = updates();
    for _ in 0..5 {
        assert_eq!(status(&stack, demo::API_KEY).await, 200);
    }
    assert_eq!(updates(), before + 1);
    pass(Duration::from_secs(3601)).await;
    stack
        .stack
        .aws
        .faults()
        .set(Service::DynamoDb, Some(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(
        stack.get("/reports/queues").await.status,
        200,
        "a report that needs no table"
    );
}

#[tokio::test]
async fn entries_that_functions_skip_survive_a_change_of_the_secret() {
    let stack = TestStack::demo().await;
    let by_hand = r#"{"keys": [{"id": "noted", "note": "by hand"}, {"id": "ops", "sha256": "00", "scopes": ["*"]}]}"#;
    stack.put_secret(account::API_KEYS_SECRET, by_hand).await;
    created(&stack, &["create", "new"]).await;
    let secret = stack.aws().secrets_manager();
    let secret = secret
        .get_secret_value()
        .secret_id(account::API_KEYS_SECRET)
        .send()
        .await;
    let secret: Value = serde_json::from_str(&secret.unwrap().secret_string.unwrap()).unwrap();
    let ids: Vec<&str> = secret["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["ops", "new", "noted"]);
    assert!(secret.to_string().contains("by hand"));
}
