//! Each route with a key writes what it does before it answers, and does nothing if it can't.

use std::collections::{BTreeMap, BTreeSet};

use local::{
    stack::account,
    template::{self, TEMPLATE},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{AT_TWILIO, CALL, NUMBER, SHARED, SID, demo_with_keys, done, items, record_at_twilio, send};
use crate::{events::template_variables, stack::answer, webhooks};

/// Keyed routes that write nothing.
const SILENT: [(&str, &str); 6] = [
    ("GET /api/twilio/usage", "sums of money"),
    ("GET /reports/daily", "counts of calls"),
    ("GET /reports/queues", "counts of messages"),
    ("GET /console/session", "who is signed in, which the person knows"),
    ("POST /console/session", "what the session does has items"),
    ("DELETE /console/session", "ends what the browser knows"),
];
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
    // A waveform is stored when it is drawn, before the item of the response that discloses it.
    let drawn = stack.post(&format!("/recordings/{CALL}/waveform"), &json!({})).await;
    assert_eq!(drawn.status, 200);
    let tables = stack.aws().dynamodb();
    tables
        .delete_table()
        .table_name(account::AUDIT_TABLE)
        .send()
        .await
        .unwrap();
    let stored = async || {
        let mut stored = Vec::new();
        for table in [
            account::CALLS_TABLE,
            account::SHARES_TABLE,
            account::LIFECYCLE_TABLE,
            account::TRANSCRIPTS_TABLE,
        ] {
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
    // One that is stored already is not counted as avoided either.
    let again = stack
        .post("/api/twilio/transcript", &json!({"recording_sid": SID}))
        .await;
    again.twilio_error(503, "audit_unavailable");
    for path in [format!("/s/{SHARED}"), format!("/s/{SHARED}/audio")] {
        let page = stack.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(page.status(), 503, "{path}");
        assert!(!page.text().await.unwrap().contains("<audio"), "{path}");
    }
    assert_eq!(stored().await, before);
    assert_eq!(stack.stack.whisper.calls(), paid);
}
