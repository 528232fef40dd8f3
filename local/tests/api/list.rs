//! `GET /recordings`: the calls that can be played, newest first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use local::demo;
use serde_json::{Value, json};
use shared::{
    calls::{Field, Interaction, TwilioRecording},
    clients::twilio::RecordingStatus,
    ids::DispatchId,
    time::to_millis,
};

use crate::stack::TestStack;

fn ids(body: &Value) -> Vec<String> {
    let rows = body["recordings"].as_array().unwrap();
    rows.iter()
        .map(|row| row["dispatch_id"].as_str().unwrap().to_owned())
        .collect()
}

/// The demo's calls that can be played, newest first.
fn playable() -> Vec<String> {
    let mut calls = demo::calls(demo::DOCUMENTED_TIME);
    calls.retain(|call| call.recording.is_some());
    calls.sort_by_key(|call| std::cmp::Reverse(call.start_time));
    calls.into_iter().map(|call| call.dispatch_id).collect()
}

/// Reports a call that Twilio recorded, and perhaps its status.
async fn add_call(stack: &TestStack, id: &str, start: &str, status: Option<String>) {
    let calls = stack.calls();
    let start: Timestamp = start.parse().unwrap();
    let mut fields = BTreeMap::from([(Field::StartTime, Some(to_millis(start).into()))]);
    fields.extend(status.map(|status| (Field::Status, Some(status.into()))));
    let dispatch_id = DispatchId::parse(id);
    let recording = TwilioRecording {
        status: RecordingStatus::new("completed"),
        sid: format!("RE-{id}"),
        start_time: Some(start),
        ..TwilioRecording::default()
    };
    let call_sid = format!("CA-{id}");
    let recorded = calls.record_twilio_recording(&call_sid, &recording, None, dispatch_id.as_ref());
    recorded.await.unwrap();
    let reported = Interaction {
        interaction_id: None,
        dispatch_id,
        fields,
        at: start,
    };
    calls.record_interaction(&reported).await.unwrap();
}

#[tokio::test]
async fn the_documented_example_has_the_documented_rows() {
    let stack = TestStack::demo().await;
    let mut body = stack.get_without_key("/recordings?limit=5").await.body;
    let row = &mut body["recordings"][0];
    let url = row["recording_url"].take();
    let expires_at = row["expires_at"].take();
    let all = row["recordings"].take();
    assert_eq!(
        all,
        json!([{
            "source": "livekit",
            "recording_url": url,
            "stable_url": "/recordings/dispatch_1754653479_15103455686/audio",
            "expires_at": expires_at,
            "content_type": "audio/mp4"
        }])
    );
    assert_eq!(
        *row,
        json!({
            "interaction_id": "test_interaction_louis_001",
            "customer_name": "Louis Smith",
            "phone": "+15103455686",
            "status": "COMPLETED",
            "outcome": "PAYMENT_PROMISED",
            "duration": 180,
            "start_time": "2025-08-08T11:44:39.000Z",
            "end_time": "2025-08-08T11:47:39.000Z",
            "recording_url": null,
            "expires_at": null,
            "dispatch_id": "dispatch_1754653479_15103455686",
            "source": "livekit",
            "call_sid": null,
            "has_transcript": false,
            "recordings": null
        })
    );
    assert!(expires_at.as_str().unwrap().ends_with(".000Z"), "{expires_at}");
    let played = stack
        .fetch(url.as_str().unwrap())
        .header("Range", "bytes=0-99")
        .send()
        .await;
    assert_eq!(played.unwrap().status(), 206);

    let fields: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["limit", "next_cursor", "offset", "recordings"]));
    assert_eq!((&body["limit"], &body["offset"]), (&json!(5), &json!(0)));
    assert_eq!(ids(&body), playable()[..5]);
}

#[tokio::test]
async fn the_default_is_the_ten_newest_recordings() {
    let stack = TestStack::demo().await;
    let body = stack.get_without_key("/recordings").await.body;
    assert_eq!((&body["limit"], &body["offset"]), (&json!(10), &json!(0)));
    assert_eq!(ids(&body), playable()[..10]);
    let body = stack.get_without_key("/recordings?offset=4&limit=3").await.body;
    assert_eq!((&body["limit"], &body["offset"]), (&json!(3), &json!(4)));
    assert_eq!(ids(&body), playable()[4..7]);
}

#[tokio::test]
async fn only_calls_that_can_be_played_are_listed() {
    let stack = TestStack::demo().await;
    let body = stack.get("/recordings?limit=100").await.body;
    assert_eq!(ids(&body), playable());
    assert_eq!(body["next_cursor"], Value::Null);
    assert!(playable().len() < demo::calls(demo::DOCUMENTED_TIME).len());
}

#[tokio::test]
async fn pages_add_up_to_the_whole_list() {
    let stack = TestStack::demo().await;
    let all = playable();
    for limit in [3, 7, all.len() - 1, all.len(), all.len() + 1] {
        let (mut by_cursor, mut by_offset) = (Vec::new(), Vec::new());
        let mut query = format!("limit={limit}");
        loop {
            let body = stack.get(&format!("/recordings?{query}")).await.body;
            let page = ids(&body);
            assert!(!page.is_empty(), "no page is empty: {query}");
            by_cursor.extend(page);
            let offset = by_offset.len();
            by_offset.extend(ids(&stack
                .get(&format!("/recordings?limit={limit}&offset={offset}"))
                .await
                .body));
            match body["next_cursor"].as_str() {
                Some(cursor) => query = format!("limit={limit}&cursor={cursor}"),
                None => break assert_eq!(body["next_cursor"], Value::Null),
            }
        }
        assert_eq!(by_cursor, all, "limit {limit}");
        assert_eq!(by_offset, all, "limit {limit}");
    }
}

#[tokio::test]
async fn a_page_can_cover_any_number_of_days() {
    let stack = TestStack::empty().await;
    let first: Timestamp = "2024-12-01T12:00:00Z".parse().unwrap();
    let days = 0..60_i64;
    for day in days.clone() {
        let start = first + SignedDuration::from_hours(24 * day);
        let status = Some(format!("{}", day % 10));
        add_call(&stack, &format!("call-{day:02}"), &start.to_string(), status).await;
    }
    for (order, query) in [("asc", ""), ("desc", ""), ("asc", "&status=3"), ("desc", "&status=3")] {
        let passing = days.clone().filter(|day| query.is_empty() || day % 10 == 3);
        let mut expected: Vec<String> = passing.map(|day| format!("call-{day:02}")).collect();
        if order == "desc" {
            expected.reverse();
        }
        for limit in [7, 100] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = stack
                    .get(&format!("/recordings?limit={limit}&order={order}{query}{cursor}"))
                    .await;
                found.extend(ids(&page.body));
                let Some(next) = page.body["next_cursor"].as_str() else {
                    break;
                };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(found, expected, "{order} {query} {limit}");
        }
    }
}

#[tokio::test]
async fn a_page_after_the_end_is_empty() {
    let stack = TestStack::demo().await;
    for offset in [playable().len(), 100_000] {
        let body = stack.get(&format!("/recordings?offset={offset}")).await.body;
        assert_eq!(
            body,
            json!({"recordings": [], "limit": 10, "offset": offset, "next_cursor": null})
        );
    }
}

#[tokio::test]
async fn an_offset_above_a_hundred_thousand_is_rejected_with_a_hint_to_the_cursor() {
    let stack = TestStack::demo().await;
    for query in ["offset=100001", "offset=4294967295", "offset=100001&status=COMPLETED"] {
        let answer = stack.get(&format!("/recordings?{query}")).await;
        let text = answer.recordings_error(400, "offset_too_deep");
        assert!(text.contains("cursor") && text.contains("100000"), "{text}");
    }
}

#[tokio::test]
async fn an_empty_index_is_an_empty_list() {
    let stack = TestStack::empty().await;
    let body = stack.get("/recordings/").await.body;
    assert_eq!(
        body,
        json!({"recordings": [], "limit": 10, "offset": 0, "next_cursor": null})
    );
}

#[tokio::test]
async fn a_call_that_is_added_between_two_pages_shifts_no_row() {
    let stack = TestStack::demo().await;
    let all = playable();
    let first = stack.get("/recordings?limit=7").await.body;
    add_call(&stack, "newest", "2025-08-09T00:00:00Z", None).await;
    add_call(&stack, "oldest", "2025-01-01T00:00:00Z", None).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = stack.get(&format!("/recordings?limit=100&cursor={cursor}")).await.body;
    let mut rows = ids(&first);
    rows.extend(ids(&rest));
    assert_eq!(rows[..all.len()], all);
    assert_eq!(rows[all.len()..], ["oldest"]);
    assert_eq!(ids(&stack.get("/recordings?limit=1").await.body), ["newest"]);
}

#[tokio::test]
async fn calls_with_the_same_start_time_are_each_listed_once() {
    let stack = TestStack::empty().await;
    let all: Vec<String> = (0..5).rev().map(|n| format!("call-{n}")).collect();
    for id in &all {
        add_call(&stack, id, "2025-08-08T11:44:39Z", None).await;
    }
    let mut rows = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let body = stack.get(&format!("/recordings?{query}")).await.body;
        rows.extend(ids(&body));
        let Some(cursor) = body["next_cursor"].as_str() else {
            break;
        };
        query = format!("limit=2&cursor={cursor}");
    }
    assert_eq!(rows, all);
}

#[tokio::test]
async fn unknown_values_of_a_call_are_null_and_no_field_is_missing() {
    let stack = TestStack::empty().await;
    add_call(&stack, "bare", "2025-08-08T11:44:39.250Z", None).await;
    let body = stack.get("/recordings").await.body;
    let row = &body["recordings"][0];
    for name in [
        "interaction_id",
        "customer_name",
        "phone",
        "status",
        "outcome",
        "duration",
        "end_time",
    ] {
        assert_eq!(row.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!(row["start_time"], "2025-08-08T11:44:39.250Z");
}

#[tokio::test]
async fn a_number_out_of_range_is_rejected_and_named() {
    let stack = TestStack::demo().await;
    for (name, values, range) in [
        (
            "limit",
            &[
                "0",
                "101",
                "500",
                "-1",
                "abc",
                "",
                "1e3",
                "10.0",
                "+5",
                "99999999999999999999999999",
                "%00",
                "5%20",
            ][..],
            "from 1 to 100",
        ),
        (
            "offset",
            &[
                "-1",
                "abc",
                "",
                "1e3",
                "0.5",
                "99999999999999999999999999",
                "4294967296",
            ],
            "from 0 to 4294967295",
        ),
    ] {
        for value in values {
            let answer = stack.get(&format!("/recordings?{name}={value}")).await;
            let text = answer.recordings_error(400, "invalid_parameter");
            assert!(text.contains(name) && text.contains(range), "{value}: {text}");
        }
        let answer = stack.get(&format!("/recordings?{name}=5&{name}=5")).await;
        assert!(answer.recordings_error(400, "repeated_parameter").contains(name));
        let answer = stack.get(&format!("/recordings?{name}=5&{name}=6")).await;
        assert!(answer.recordings_error(400, "repeated_parameter").contains(name));
    }
    for name in ["page", "Limit", "expires_in", "limit[]", "%00"] {
        let answer = stack.get(&format!("/recordings?limit=5&{name}=1")).await;
        let text = answer.recordings_error(400, "unknown_parameter");
        assert!(text.contains("limit, offset, cursor"), "{text}");
        assert!(name.starts_with('%') || text.contains(name), "{text}");
    }
    let answer = stack.get(&format!("/recordings?limit={}", "9".repeat(5000))).await;
    assert!(answer.recordings_error(400, "invalid_parameter").len() < 300);
}

#[tokio::test]
async fn only_a_returned_cursor_without_an_offset_is_accepted() {
    let stack = TestStack::demo().await;
    let body = stack.get("/recordings?limit=2").await.body;
    let cursor = body["next_cursor"].as_str().unwrap();
    for offset in ["0", "2"] {
        let answer = stack.get(&format!("/recordings?cursor={cursor}&offset={offset}")).await;
        let text = answer.recordings_error(400, "invalid_parameter");
        assert!(text.contains("cursor") && text.contains("offset"), "{text}");
    }
    let upper = cursor.to_uppercase();
    for bad in [
        "",
        "abc",
        "%FF%00",
        "null",
        "MjAyNS0wOC0wOA",
        "ZGF5cw",
        &upper,
        &format!("{cursor}=="),
        "%2e%2e",
    ] {
        let answer = stack.get(&format!("/recordings?cursor={bad}")).await;
        let code = if bad.starts_with("%FF") {
            "invalid_query"
        } else {
            "invalid_parameter"
        };
        let text = answer.recordings_error(400, code);
        assert!(
            code == "invalid_query" || text.contains("cursor") && text.contains("next_cursor"),
            "{bad}: {text}"
        );
    }
    let repeated = stack.get(&format!("/recordings?cursor={cursor}&cursor={cursor}")).await;
    repeated.recordings_error(400, "repeated_parameter");
}

#[tokio::test]
async fn listed_urls_expire_at_the_time_in_their_row() {
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        let variables = [("SIGNER_SECRET", ""), ("AWS_SESSION_TOKEN", "a-token")];
        settings
            .environment
            .extend(variables.map(|(name, value)| (name.into(), value.into())));
    })
    .await;
    let body = stack.get("/recordings?limit=2").await.body;
    for row in body["recordings"].as_array().unwrap() {
        let url = row["recording_url"].as_str().unwrap();
        assert!(url.contains("X-Amz-Expires=900&"), "{url}");
        let date = url.split("X-Amz-Date=").nth(1).unwrap().split('&').next().unwrap();
        let signed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
        let end = jiff::tz::TimeZone::UTC.to_timestamp(signed).unwrap() + jiff::SignedDuration::from_secs(900);
        assert_eq!(row["expires_at"].as_str().unwrap().parse::<Timestamp>().unwrap(), end);
    }
}
