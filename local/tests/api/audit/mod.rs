//! Who did what: each request writes one item, and does nothing if it can't.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    stack::account,
    standins::{
        tones::{Script, Wav},
        twilio::{Media, Recording},
    },
    template::{self, TEMPLATE},
};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use shared::audit::{Action, Actor, AuditError, AuditLog, Event, Origin};

use crate::{
    events::template_variables,
    logs::{invoked, log_of_this_thread},
    stack::{TestStack, answer},
    webhooks,
};

mod erased;
mod list;

const CALL: &str = "dispatch_1754653479_15103455686";
const NUMBER: &str = "15103455686";
const SID: &str = "RE1234567890abcdef";
/// A Twilio recording that is not in the bucket.
const AT_TWILIO: &str = "RE00000000000000000000000000000055";
const CALL_SID: &str = "CA00000000000000000000000000000055";
/// The demo's share.
const SHARED: &str = "5e7a1b0c9d8f4e6a2b3c1d0e9f8a7b6c";

/// Keyed routes that write nothing.
const SILENT: [(&str, &str); 6] = [
    ("GET /api/twilio/usage", "sums of money"),
    ("GET /reports/daily", "counts of calls"),
    ("GET /reports/queues", "counts of messages"),
    ("GET /console/session", "who is signed in, which the person knows"),
    ("POST /console/session", "what the session does has items"),
    ("DELETE /console/session", "ends what the browser knows"),
];

type Item = BTreeMap<String, String>;

async fn demo_with_keys() -> TestStack {
    TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
    })
    .await
}

fn send(stack: &TestStack, method: Method, path: &str) -> RequestBuilder {
    stack.request(method, path).header("X-API-Key", demo::API_KEY)
}

/// All items, oldest first, with their attributes as text. Those of the last use of keys are left out.
async fn items(stack: &TestStack) -> Vec<Item> {
    let scan = stack.aws().dynamodb().scan().table_name(account::AUDIT_TABLE);
    let mut pages = scan.consistent_read(true).into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(item) = pages.next().await {
        let text = |value: AttributeValue| match value {
            AttributeValue::S(text) | AttributeValue::N(text) => text,
            AttributeValue::L(names) => {
                let names: Vec<String> = names.into_iter().map(|name| name.as_s().unwrap().clone()).collect();
                names.join(",")
            }
            other => format!("{other:?}"),
        };
        let item: Item = item
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect();
        if !item["day"].starts_with("key#") {
            found.push(item);
        }
    }
    found.sort_by(|one, other| one["order"].cmp(&other["order"]));
    found
}

/// The attributes of an item that say what was done.
fn done(item: &Item) -> (&str, Option<&str>, Option<&str>) {
    let text = |name: &str| item.get(name).map(String::as_str);
    (item["action"].as_str(), text("key_id"), text("subject"))
}

/// A recording that Twilio has reported and nobody has copied.
async fn record_at_twilio(stack: &TestStack) {
    let began = Timestamp::now() - SignedDuration::from_mins(90);
    stack.stack.twilio.add_call(CALL_SID, "+15550007000");
    stack.stack.twilio.add(Recording {
        sid: AT_TWILIO.into(),
        call_sid: CALL_SID.into(),
        duration: Some(3),
        start_time: began,
        date_created: began,
        date_updated: began,
        media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 2)])),
        ..Recording::default()
    });
    webhooks::recording_completes(stack, CALL_SID, AT_TWILIO, began).await;
}

/// A request of each keyed route, in an order in which all succeed, with the action and the subject of its item.
fn requests() -> Vec<(&'static str, String, Value, &'static str, Option<&'static str>)> {
    let none = || Value::Null;
    let call = |rest: &str| format!("/recordings/{CALL}{rest}");
    vec![
        (
            "GET /recordings",
            "/recordings?limit=3&status=COMPLETED".into(),
            none(),
            "list",
            None,
        ),
        (
            "GET /api/twilio/recordings",
            "/api/twilio/recordings?limit=2".into(),
            none(),
            "list_twilio_recordings",
            None,
        ),
        (
            "GET /recordings/{dispatch_id}",
            call(""),
            none(),
            "get_urls",
            Some(CALL),
        ),
        (
            "GET /recordings/{dispatch_id}/audio",
            call("/audio"),
            none(),
            "play",
            Some(CALL),
        ),
        (
            "GET /recordings/{dispatch_id}/audio",
            call("/audio?download=1"),
            none(),
            "download",
            Some(CALL),
        ),
        (
            "POST /recordings/{dispatch_id}/transcript",
            call("/transcript"),
            json!({}),
            "make_transcript",
            Some(CALL),
        ),
        (
            "POST /recordings/{dispatch_id}/transcript",
            call("/transcript"),
            json!({}),
            "read_transcript",
            Some(CALL),
        ),
        (
            "GET /recordings/{dispatch_id}/transcript",
            call("/transcript?format=text"),
            none(),
            "read_transcript",
            Some(CALL),
        ),
        (
            "POST /recordings/{dispatch_id}/waveform",
            call("/waveform"),
            json!({}),
            "draw_waveform",
            Some(CALL),
        ),
        (
            "POST /recordings/{dispatch_id}/shares",
            call("/shares"),
            json!({"expires_in": 600}),
            "share",
            Some(CALL),
        ),
        (
            "GET /recordings/{dispatch_id}/shares",
            call("/shares"),
            none(),
            "read_shares",
            Some(CALL),
        ),
        (
            "GET /recordings/{dispatch_id}/shares/{share_id}",
            call("/shares/{share_id}"),
            none(),
            "read_shares",
            Some(CALL),
        ),
        (
            "DELETE /recordings/{dispatch_id}/shares/{share_id}",
            call("/shares/{share_id}"),
            none(),
            "revoke_share",
            Some(CALL),
        ),
        (
            "PATCH /recordings/{dispatch_id}",
            call(""),
            json!({"hold": {"reason": "Complaint 17"}}),
            "hold",
            Some(CALL),
        ),
        (
            "PATCH /recordings/{dispatch_id}",
            call(""),
            json!({"hold": null}),
            "lift_hold",
            Some(CALL),
        ),
        (
            "PATCH /recordings/{dispatch_id}",
            call(""),
            json!({"retain_until": "2099-01-01T00:00:00Z"}),
            "retain",
            Some(CALL),
        ),
        (
            "POST /api/twilio/transcript",
            "/api/twilio/transcript".into(),
            json!({"recording_sid": SID}),
            "make_transcript",
            Some(SID),
        ),
        (
            "GET /api/twilio/transcript/{recording_sid}",
            format!("/api/twilio/transcript/{SID}"),
            none(),
            "read_transcript",
            Some(SID),
        ),
        (
            "POST /recordings/{dispatch_id}/archive",
            format!("/recordings/{AT_TWILIO}/archive"),
            json!({}),
            "archive",
            Some(AT_TWILIO),
        ),
        (
            "POST /interactions",
            "/interactions".into(),
            json!({"interaction_id": "i-audit", "phone": format!("+{NUMBER}"), "customer_name": "Louis Planted"}),
            "report_interaction",
            Some("interaction#i-audit"),
        ),
        (
            "GET /reports/completeness",
            "/reports/completeness".into(),
            none(),
            "read_report",
            None,
        ),
        (
            "POST /erasures",
            "/erasures".into(),
            json!({"phone": format!("+{NUMBER}"), "dry_run": true}),
            "preview_erasure",
            None,
        ),
        ("GET /audit", "/audit?action=play".into(), none(), "read_audit", None),
        (
            "GET /audit",
            format!("/audit?recording={CALL}"),
            none(),
            "read_audit",
            Some(CALL),
        ),
        (
            "DELETE /recordings/{dispatch_id}",
            call(""),
            none(),
            "erase",
            Some(CALL),
        ),
        (
            "GET /erasures/{erasure_id}",
            "/erasures/{erasure_id}".into(),
            none(),
            "read_erasure",
            None,
        ),
    ]
}

#[tokio::test]
async fn each_request_with_a_key_writes_one_item_with_its_action_key_and_call() {
    let stack = demo_with_keys().await;
    record_at_twilio(&stack).await;
    webhooks::round(&stack).await;
    let (mut covered, mut known) = (BTreeSet::new(), BTreeSet::<String>::new());
    assert!(
        items(&stack).await.is_empty(),
        "what providers and schedules do is not in the audit"
    );
    let (mut share, mut erasure) = (String::new(), String::new());
    for (route, path, body, action, subject) in requests() {
        let (method, _) = route.split_once(' ').unwrap();
        let path = path.replace("{share_id}", &share).replace("{erasure_id}", &erasure);
        let request = send(&stack, method.parse().unwrap(), &path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        assert!(status.is_success(), "{route}: {status} {text}");
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if action == "share" {
            share = answer["id"].as_str().unwrap().to_owned();
        }
        if action == "erase" {
            erasure = answer["erasure_id"].as_str().unwrap().to_owned();
        }
        let mut new = items(&stack).await;
        new.retain(|item| !known.contains(&item["order"]));
        assert_eq!(new.len(), 1, "{route}");
        let item = &new[0];
        // The worker may have removed the call from the item of its erasure by now.
        let expected = if item.contains_key("call_erased") {
            None
        } else {
            subject
        };
        assert_eq!(done(item), (action, Some("demo"), expected), "{route}");
        let written = format!("{item:?}").replace(subject.unwrap_or("-"), "");
        for word in [NUMBER, "Louis Planted", "COMPLETED", "Complaint 17"] {
            assert!(!written.contains(word), "{route} writes {word}: {written}");
        }
        known.insert(item["order"].clone());
        covered.insert(route.to_owned());
    }

    let keyed: BTreeSet<String> = template_variables()
        .into_iter()
        .filter(|(_, variables)| variables.iter().any(|name| name == "API_KEYS_SECRET"))
        .map(|(function, _)| function)
        .collect();
    let routes = template::routes(TEMPLATE).unwrap().into_iter();
    let routes = routes.filter(|route| keyed.contains(&route.function) && route.method != "HEAD");
    let routes = routes.filter(|route| !route.path.contains("{proxy+}"));
    // The console's files are public.
    let routes = routes.filter(|route| route.function != "console" || route.path == "/console/session");
    let silent = SILENT.iter().map(|(route, _)| (*route).to_owned());
    assert_eq!(
        routes.map(|route| route.key()).collect::<BTreeSet<_>>(),
        covered.into_iter().chain(silent).collect::<BTreeSet<_>>(),
        "a route has no row here and no reason in SILENT"
    );
}

#[tokio::test]
async fn routes_that_show_nothing_of_calls_and_requests_that_fail_write_nothing() {
    let stack = demo_with_keys().await;
    for path in [
        "/api/twilio/usage",
        "/reports/daily?from=2025-08-01&to=2025-08-02",
        "/reports/queues",
        "/recordings/dispatch_1_2",
        "/recordings?limit=0",
        &format!("/recordings/{CALL}/transcript"),
        "/audit?from=x",
    ] {
        send(&stack, Method::GET, path).send().await.unwrap();
    }
    assert_eq!(stack.get_without_key("/audit").await.status, 401);
    let estimated = json!({"dry_run": true});
    let estimate = stack.post(&format!("/recordings/{CALL}/transcript"), &estimated).await;
    assert_eq!(estimate.status, 200, "{}", estimate.body);
    assert_eq!(items(&stack).await, Vec::<Item>::new());
}

#[tokio::test]
async fn nothing_is_disclosed_changed_or_paid_for_that_the_audit_cannot_have() {
    let stack = demo_with_keys().await;
    record_at_twilio(&stack).await;
    webhooks::round(&stack).await;
    let share = send(&stack, Method::POST, &format!("/recordings/{CALL}/shares"));
    let share = answer(share.json(&json!({"expires_in": 600}))).await.body["id"].clone();
    let made = stack.post(&format!("/recordings/{CALL}/transcript"), &json!({})).await;
    assert_eq!(made.status, 200);
    let made = stack
        .post("/api/twilio/transcript", &json!({"recording_sid": SID}))
        .await;
    assert_eq!(made.status, 200);
    let tables = stack.aws().dynamodb();
    tables
        .delete_table()
        .table_name(account::AUDIT_TABLE)
        .send()
        .await
        .unwrap();
    let stored = async || {
        let mut stored = Vec::new();
        for table in [account::CALLS_TABLE, account::SHARES_TABLE, account::LIFECYCLE_TABLE] {
            let scan = tables.scan().table_name(table).send().await.unwrap();
            let mut texts: Vec<String> = scan
                .items()
                .iter()
                .map(|item| {
                    let sorted: BTreeMap<_, _> = item.iter().collect();
                    format!("{sorted:?}")
                })
                .collect();
            texts.sort();
            stored.push(texts);
        }
        stored
    };
    let (before, paid) = (stored().await, stack.stack.whisper.calls());
    for (route, path, body, action, _) in requests() {
        if action == "read_erasure" {
            continue;
        }
        let (method, _) = route.split_once(' ').unwrap();
        let path = path.replace("{share_id}", share.as_str().unwrap());
        let body = if path.ends_with("/transcript") && method == "POST" && !path.starts_with("/api") {
            json!({"language": "de"})
        } else {
            body
        };
        let request = send(&stack, method.parse().unwrap(), &path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let refused = answer(request).await;
        assert_eq!(
            (
                refused.status.as_u16(),
                &refused.body["code"],
                &refused.body["retryable"]
            ),
            (503, &json!("audit_unavailable"), &json!(true)),
            "{route}: {}",
            refused.body
        );
        let fields: BTreeSet<&str> = refused.body.as_object().unwrap().keys().map(String::as_str).collect();
        let error = if path.starts_with("/api/twilio") {
            "error"
        } else {
            "detail"
        };
        assert_eq!(
            fields,
            BTreeSet::from(["code", "request_id", "retryable", error]),
            "{route}"
        );
    }
    for path in [format!("/s/{SHARED}"), format!("/s/{SHARED}/audio")] {
        let page = stack.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(page.status(), 503, "{path}");
        assert!(!page.text().await.unwrap().contains("<audio"), "{path}");
    }
    assert_eq!(stored().await, before);
    assert_eq!(stack.stack.whisper.calls(), paid);
}

#[tokio::test]
async fn a_list_of_many_rows_is_one_item_with_the_names_of_its_filters() {
    let stack = demo_with_keys().await;
    let path = format!(
        "/recordings?limit=100&order=asc&phone=%2B{NUMBER}&api_key={}",
        demo::API_KEY
    );
    let listed = stack.get_without_key(&path).await;
    let rows = listed.body["recordings"].as_array().unwrap().len();
    let all = stack.get("/recordings?limit=100").await.body["recordings"]
        .as_array()
        .unwrap()
        .len();
    assert!(rows >= 1 && all > 20, "{rows} {all}");
    let items = items(&stack).await;
    let shown: BTreeSet<(&str, String)> = items
        .iter()
        .map(|item| (item["parameters"].as_str(), item["rows"].clone()))
        .collect();
    let expected = BTreeSet::from([("limit,order,phone", rows.to_string()), ("limit", all.to_string())]);
    assert_eq!((items.len(), shown), (2, expected));
    assert!(!format!("{items:?}").contains(NUMBER));
    let days = items[0]["expires_at"].parse::<i64>().unwrap() - Timestamp::now().as_second();
    assert!((89 * 86_400..=90 * 86_400).contains(&days), "{days}");
}

#[tokio::test]
async fn sessions_shares_and_requests_without_a_key_are_told_apart() {
    let stack = demo_with_keys().await;
    let signed_in = send(&stack, Method::POST, "/console/session").send().await.unwrap();
    let cookie = signed_in.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let path = format!("/recordings/{CALL}/audio");
    let played = stack.request(Method::GET, &path).header(header::COOKIE, cookie);
    // Anyone can send this header.
    let played = played.header("X-Forwarded-For", "198.51.100.9");
    assert_eq!(played.send().await.unwrap().status(), 200);
    for path in [format!("/s/{SHARED}"), format!("/s/{SHARED}/audio")] {
        assert_eq!(
            stack
                .request(Method::HEAD, &format!("/s/{SHARED}"))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
        assert_eq!(
            stack.request(Method::GET, &path).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let found = items(&stack).await;
    let who: BTreeSet<(&str, &str, bool, bool)> = found
        .iter()
        .map(|item| {
            let has = |name: &str| item.contains_key(name);
            (
                item["action"].as_str(),
                item["actor"].as_str(),
                has("key_id"),
                has("share_id"),
            )
        })
        .collect();
    let expected = [
        ("play", "console", true, false),
        ("open_share", "share", false, true),
        ("play", "share", false, true),
    ];
    assert_eq!((found.len(), who), (3, BTreeSet::from(expected)));
    assert!(
        found
            .iter()
            .all(|item| item["subject"].starts_with("dispatch_") && item.contains_key("address"))
    );

    assert!(found.iter().all(|item| item["address"] != "198.51.100.9"));

    let open = TestStack::demo().await;
    assert_eq!(open.get_without_key(&format!("/recordings/{CALL}")).await.status, 200);
    let found = items(&open).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0]["actor"].as_str(), found[0].get("key_id")), ("anyone", None));
    // What is open to everyone is not who plays it.
    assert_eq!(open.get_without_key("/audit").await.status, 401);
}

#[tokio::test]
async fn without_days_nothing_is_stored_and_a_log_line_says_it_without_a_number() {
    let log = log_of_this_thread();
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
        settings.environment.push(("AUDIT_DAYS".into(), "0".into()));
    })
    .await;
    assert_eq!(stack.get(&format!("/recordings/{CALL}")).await.status, 200);
    let refused = stack.get("/audit").await;
    assert!(refused.recordings_error(404, "audit_off").contains("AuditDays"));
    assert_eq!(items(&stack).await, Vec::<Item>::new());
    let text = log.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("get_urls")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(
        lines[0].contains("audit") && lines[0].contains("key_id=\"demo\""),
        "{}",
        lines[0]
    );
    assert!(!lines[0].contains(NUMBER), "{}", lines[0]);
}

#[tokio::test]
async fn an_item_is_added_once_and_never_overwritten() {
    let stack = TestStack::empty().await;
    let log = AuditLog::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let origin = Origin {
        actor: Actor::Key("ops".into()),
        request_id: "r-1".into(),
        address: None,
    };
    let at = Timestamp::now();
    let play = Event::new(Action::Play).about(CALL);
    // The SDK repeats a request whose response was lost.
    for _ in 0..2 {
        invoked(log.write_at(&play, &origin, at)).await.unwrap();
    }
    let other = invoked(log.write_at(&Event::new(Action::List), &origin, at)).await;
    assert!(matches!(other, Err(AuditError::Duplicate)), "{other:?}");
    let items = items(&stack).await;
    assert_eq!(
        items.iter().map(done).collect::<Vec<_>>(),
        [("play", Some("ops"), Some(CALL))]
    );
}

#[test]
fn no_role_deletes_items_and_one_changes_them() {
    let mut statements: Vec<(String, Vec<String>)> = Vec::new();
    for statement in TEMPLATE.split("              - Sid: ").skip(1) {
        // Up to the next statement, or the end of the role.
        let lines: Vec<&str> = statement
            .lines()
            .skip(1)
            .take_while(|line| line.is_empty() || line.starts_with("              "))
            .collect();
        let text = lines.join("\n");
        if text.contains("AuditTable") {
            let sid = statement.lines().next().unwrap().trim().to_owned();
            let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != ':');
            let actions = words
                .filter_map(|word| word.strip_prefix("dynamodb:"))
                .filter(|word| *word != "LeadingKeys");
            statements.push((sid, actions.map(str::to_owned).collect()));
        }
    }
    statements.sort();
    statements.dedup();
    let allowed = [
        ("EraseFromAudit", "UpdateItem"),
        ("FindAudited", "Query"),
        ("ReadAudit", "Query"),
        ("WriteAudit", "PutItem"),
    ];
    // The last use of keys is stored in items of their own (`key#…`).
    statements.retain(|(sid, _)| sid != "StoreUseOfKeys");
    let allowed = allowed.map(|(sid, action)| (sid.to_owned(), vec![action.to_owned()]));
    assert_eq!(statements, allowed);
}
