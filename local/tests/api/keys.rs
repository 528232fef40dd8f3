//! `cargo run -- keys`: creating, listing, rotating, revoking and importing API keys, and what each command changes for requests.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use local::{aws::Service, demo, stack::account};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
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
    let secret = stack.secret(account::API_KEYS_SECRET).await;
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
async fn the_last_use_of_a_key_is_written_once_an_hour_by_all_functions_together_and_no_request_fails_for_it() {
    let stack = TestStack::demo().await;
    let updates = || stack.stack.aws.calls_of(Service::DynamoDb, "UpdateItem");
    let before = updates();
    for _ in 0..5 {
        assert_eq!(status(&stack, demo::API_KEY).await, 200);
    }
    assert_eq!(updates(), before + 1);

    // Other functions know only from the item when it was written.
    let now = jiff::Timestamp::now().as_second();
    set_last_use(&stack, now - 3500).await;
    assert_eq!(stack.get("/reports/queues").await.status, 200);
    assert_eq!(last_use(&stack).await, now - 3500, "less than an hour ago");
    set_last_use(&stack, now - 3700).await;
    assert_eq!(stack.get("/api/twilio/usage").await.status, 200);
    assert!(last_use(&stack).await >= now, "more than an hour ago");

    // The first function writes again after an hour.
    set_last_use(&stack, now - 3700).await;
    pass(Duration::from_secs(3599)).await;
    assert_eq!(status(&stack, demo::API_KEY).await, 200);
    assert_eq!(last_use(&stack).await, now - 3700);
    pass(Duration::from_secs(2)).await;
    assert_eq!(status(&stack, demo::API_KEY).await, 200);
    assert!(last_use(&stack).await >= now);

    let faults = stack.stack.aws.faults();
    faults.set(Service::DynamoDb, Some(StatusCode::INTERNAL_SERVER_ERROR));
    pass(Duration::from_secs(3601)).await;
    let report = stack.get("/reports/queues").await;
    assert_eq!(report.status, 200, "a report that needs no table");
}

/// The item of the demo key's last use.
fn demo_key() -> HashMap<String, AttributeValue> {
    let fingerprint = access::hash_key(demo::API_KEY)[..8].to_owned();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("day".into(), text("key#demo")), ("order".into(), text(&fingerprint))])
}

async fn set_last_use(stack: &TestStack, used_at: i64) {
    let mut item = demo_key();
    item.insert("used_at".into(), AttributeValue::N(used_at.to_string()));
    let put = stack.aws().dynamodb().put_item().table_name(account::AUDIT_TABLE);
    put.set_item(Some(item)).send().await.unwrap();
}

async fn last_use(stack: &TestStack) -> i64 {
    let get = stack.aws().dynamodb().get_item().table_name(account::AUDIT_TABLE);
    let item = get.set_key(Some(demo_key())).consistent_read(true).send().await;
    item.unwrap().item.unwrap()["used_at"].as_n().unwrap().parse().unwrap()
}

#[tokio::test]
async fn commands_that_run_at_the_same_time_lose_no_key_and_undo_no_revocation() {
    let stack = TestStack::demo().await;
    let old = created(&stack, &["create", "leaves"]).await;
    let rotated = created(&stack, &["create", "rotated"]).await;
    let ids: Vec<String> = (0..5).map(|n| format!("new-{n}")).collect();
    let commands = ids.iter().map(|id| vec!["create", id]);
    let commands: Vec<_> = commands
        .chain([vec!["revoke", "leaves"], vec!["rotate", "rotated"]])
        .collect();
    let runs = commands.iter().map(|arguments| keys(&stack, arguments, ""));
    let outputs = futures_util::future::join_all(runs).await;

    let secret = stack.secret(account::API_KEYS_SECRET).await;
    assert!(secret.contains(&access::hash_key(demo::API_KEY)), "{secret}");
    assert!(secret.contains(&access::hash_key(&rotated)), "{secret}");
    assert!(!secret.contains(&access::hash_key(&old)), "{secret}");
    for (arguments, (printed, said, succeeded)) in commands.iter().zip(outputs) {
        assert!(succeeded, "{arguments:?}: {said}");
        match arguments[0] {
            "revoke" => assert_eq!(printed, "1 revoked"),
            _ => assert!(secret.contains(&access::hash_key(&printed)), "{arguments:?}: {secret}"),
        }
    }
    let entries: Value = serde_json::from_str(&secret).unwrap();
    assert_eq!(entries["keys"].as_array().unwrap().len(), 1 + 2 + ids.len());
}

#[tokio::test]
async fn a_secret_without_a_text_is_not_replaced() {
    let stack = TestStack::demo().await;
    let client = stack.aws().secrets_manager();
    let put = client.put_secret_value().secret_id(account::API_KEYS_SECRET);
    let binary = aws_sdk_secretsmanager::primitives::Blob::new(*b"{\"keys\":[]}");
    put.secret_binary(binary).send().await.unwrap();
    for arguments in [&["create", "ops"][..], &["revoke", "demo"], &["list"]] {
        let (said, error, succeeded) = keys(&stack, arguments, "").await;
        assert!(
            !succeeded && said.is_empty() && error.contains("no text value"),
            "{error}"
        );
    }
    let stored = client.get_secret_value().secret_id(account::API_KEYS_SECRET);
    assert_eq!(stored.send().await.unwrap().secret_string, None);
}

#[tokio::test]
async fn what_operators_wrote_into_the_secret_survives_a_change() {
    let stack = TestStack::demo().await;
    let by_hand = json!({
        "note": "ask Ada before a change",
        "keys": [
            {"id": "noted", "note": "by hand"},
            {"id": "ops", "sha256": access::hash_key("ops"), "scopes": ["*"], "owner": "Ada"},
        ],
    });
    stack.put_secret(account::API_KEYS_SECRET, &by_hand.to_string()).await;
    created(&stack, &["create", "new"]).await;
    created(&stack, &["rotate", "ops"]).await;
    let secret: Value = serde_json::from_str(&stack.secret(account::API_KEYS_SECRET).await).unwrap();
    let entries = secret["keys"].as_array().unwrap();
    let ids: Vec<&str> = entries.iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["noted", "ops", "new", "ops"]);
    assert_eq!(secret["note"], by_hand["note"]);
    assert_eq!(entries[0], by_hand["keys"][0]);
    assert_eq!(entries[1]["owner"], "Ada");
    assert!(entries[1]["expires_at"].is_string(), "{secret}");
}

#[tokio::test]
async fn the_list_shows_each_entry_as_functions_read_it() {
    let stack = TestStack::demo().await;
    let capital = access::hash_key("capital").to_uppercase();
    let by_hand = json!({"keys": [
        {"id": "capital", "sha256": capital, "scopes": ["*"]},
        {"id": "date", "sha256": access::hash_key("date"), "scopes": ["*"], "expires_at": "2999-01-01"},
        {"id": "hash", "sha256": "zz", "scopes": ["*"]},
        {"sha256": access::hash_key("nobody"), "scopes": ["*"]},
    ]});
    stack.put_secret(account::API_KEYS_SECRET, &by_hand.to_string()).await;
    assert_eq!(status(&stack, "capital").await, 200);
    assert_eq!(status(&stack, "date").await, 401);
    let (list, said, succeeded) = keys(&stack, &["list"], "").await;
    assert!(succeeded && list.lines().count() == 2, "{list}");
    let line = list.lines().nth(1).unwrap();
    assert!(
        line.starts_with("capital") && line.matches("never").count() == 1,
        "{list}"
    );
    for ignored in [
        "entry 1, date: `expires_at`",
        "entry 2, hash: `sha256`",
        "entry 3: `id`",
    ] {
        assert!(said.contains(ignored), "{said}");
    }
    // An entry that nobody can use stands in the way of nothing, and can be removed.
    created(&stack, &["create", "hash"]).await;
    let (said, error, _) = keys(&stack, &["revoke", "hash"], "").await;
    assert_eq!(said, "2 revoked", "{error}");
    assert_eq!(keys(&stack, &["revoke", "date"], "").await.0, "1 revoked");
    // A fingerprint can have been copied from the secret.
    let fingerprint = &capital[..8];
    let (said, ..) = keys(&stack, &["revoke", "capital", "--fingerprint", fingerprint], "").await;
    assert_eq!(said, "1 revoked");
}

#[tokio::test]
async fn a_rotation_says_when_the_old_key_ends() {
    let stack = TestStack::demo().await;
    let end = "2999-01-01T00:00:00Z";
    let secret = json!({"keys": [
        {"id": "soon", "sha256": access::hash_key("soon"), "scopes": ["*"], "expires_at": soon()},
        {"id": "now", "sha256": access::hash_key("now"), "scopes": ["*"]},
    ]});
    stack.put_secret(account::API_KEYS_SECRET, &secret.to_string()).await;
    let (_, said, _) = keys(&stack, &["rotate", "soon", "--expires-at", end], "").await;
    assert!(said.contains(&format!("valid until {}", soon())), "{said}");
    let (_, said, _) = keys(&stack, &["rotate", "now", "--overlap-hours", "0"], "").await;
    assert!(said.contains("five minutes") && said.contains("30 seconds"), "{said}");
}

/// A full hour before the end of the overlap of a rotation, which is 24 hours.
fn soon() -> String {
    let hour = jiff::Timestamp::now().as_second() / 3600 + 2;
    jiff::Timestamp::from_second(hour * 3600).unwrap().to_string()
}

#[tokio::test]
async fn arguments_of_keys_are_checked_with_sentences_that_say_what_is_expected() {
    let stack = TestStack::demo().await;
    for (arguments, expected) in [
        (["create", "a", "--expires-at", "soon"], "2027-01-01"),
        (["create", "a", "--expires-at", "2020-01-01"], "in the future"),
        (["create", "a", "--scope", "everything"], "recordings:read"),
        (["rotate", "demo", "--overlap-hours", "4294967295"], "0..=8784"),
    ] {
        let (_, error, succeeded) = keys(&stack, &arguments, "").await;
        assert!(!succeeded && error.contains(expected), "{arguments:?}: {error}");
    }
    created(
        &stack,
        &[
            "create",
            "day",
            "--expires-at",
            "2999-01-01",
            "--scope",
            "*",
            "--scope",
            "*",
        ],
    )
    .await;
    let (list, ..) = keys(&stack, &["list"], "").await;
    let line = list.lines().find(|line| line.starts_with("day")).unwrap();
    assert!(
        line.contains("2999-01-01T00:00:00Z") && line.matches('*').count() == 1,
        "{list}"
    );
}
