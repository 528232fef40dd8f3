//! The day ledger: `GET /reports/daily`, `include_total`, and late writes to closed days.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use local::aws::Service;
use serde_json::{Value, json};
use shared::{
    calls::{Calls, Field, Interaction, TwilioRecording},
    clients::twilio::RecordingStatus,
    ids::DispatchId,
    time::{to_millis, utc_day},
};

use crate::{index::count_ledger, stack::TestStack};

/// A call that Twilio recorded, or failed to record.
async fn add_call(calls: &Calls, id: &str, start: Timestamp, recorded: bool) {
    let dispatch_id = DispatchId::parse(id);
    let recording = TwilioRecording {
        status: RecordingStatus::new(if recorded { "completed" } else { "in-progress" }),
        sid: format!("RE-{id}"),
        start_time: Some(start),
        duration: recorded.then_some(90),
        ..TwilioRecording::default()
    };
    let call_sid = format!("CA-{id}");
    let recorded = calls.record_twilio_recording(&call_sid, &recording, None, dispatch_id.as_ref());
    recorded.await.unwrap();
    report_status(calls, id, start, "COMPLETED").await;
}

async fn report_status(calls: &Calls, id: &str, start: Timestamp, status: &str) {
    let reported = Interaction {
        interaction_id: None,
        dispatch_id: DispatchId::parse(id),
        fields: BTreeMap::from([
            (Field::StartTime, Some(to_millis(start).into())),
            (Field::Status, Some(status.into())),
            (Field::Outcome, Some("PAYMENT_PROMISED".into())),
        ]),
        at: start,
    };
    calls.record_interaction(&reported).await.unwrap();
}

fn ago(now: Timestamp, days: i64) -> Timestamp {
    now - SignedDuration::from_hours(24 * days)
}

#[tokio::test]
async fn the_daily_report_has_rows_minutes_sources_statuses_and_reasons() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    let start = ago(now, 10);
    let day = utc_day(start);
    add_call(&calls, "one", start, true).await;
    add_call(&calls, "two", start, true).await;
    add_call(&calls, "three", start, false).await;
    let path = format!("/reports/daily?from={day}&to={day}");
    let empty = stack.get(&path).await.body;
    assert_eq!(
        empty,
        json!({"from": day.to_string(), "to": day.to_string(), "days": []})
    );
    count_ledger(&calls, now).await;
    for path in [path.clone(), path.replace('?', "/?")] {
        let mut body = stack.get(&path).await.body;
        assert_eq!(body["days"][0]["computed_at"].take(), json!(to_millis(now)));
        assert_eq!(
            body["days"],
            json!([{
                "day": day.to_string(), "computed_at": null, "playable": 2, "missing": 1, "recordings_without_call": 0, "seconds": 180,
                "minutes": 3.0, "transcripts": 0, "recordings": {"twilio": 2}, "statuses": {"COMPLETED": 3}, "outcomes": {"PAYMENT_PROMISED": 3},
                "missing_reasons": {"Twilio's recording is not completed.": 1},
            }])
        );
    }
}

#[tokio::test]
async fn the_daily_report_rejects_anything_but_a_range_of_up_to_366_days() {
    let stack = TestStack::empty().await;
    for (query, named) in [
        ("", "from"),
        ("from=2025-08-08", "to"),
        ("from=2025-08-09&to=2025-08-08", "after"),
        ("from=2024-01-01&to=2025-01-01", "366"),
        ("from=2025-8-8&to=2025-08-08", "from"),
        ("from=2025-08-08T00:00:00Z&to=2025-08-09", "from"),
        ("from=0000-01-01&to=2025-08-09", "from"),
    ] {
        let answer = stack.get(&format!("/reports/daily?{query}")).await;
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        assert!(
            ["missing_parameter", "invalid_parameter"].contains(&code.as_str()),
            "{query}: {code}"
        );
        assert!(answer.recordings_error(400, &code).contains(named), "{query}");
    }
    let whole_year = stack.get("/reports/daily?from=2024-01-01&to=2024-12-31").await;
    assert_eq!(whole_year.status, 200);
    let unknown = stack.get("/reports/daily?from=2024-01-01&to=2024-01-02&status=x").await;
    unknown.recordings_error(400, "unknown_parameter");
}

#[tokio::test]
async fn a_late_write_to_a_closed_day_is_counted_by_the_next_round_and_only_then() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    for days in [0, 1, 2, 3, 4, 40] {
        add_call(&calls, &format!("call-{days}"), ago(now, days), true).await;
    }
    count_ledger(&calls, now).await;
    let total = || async { stack.get("/recordings?include_total=true").await.body };
    assert_eq!(total().await["total"], 6);

    // A day without calls before, and a change of a call on a counted day.
    let late = now + SignedDuration::from_mins(1);
    add_call(&calls, "late", ago(now, 20), true).await;
    report_status(&calls, "call-40", ago(now, 40) + SignedDuration::from_secs(1), "FAILED").await;
    let body = total().await;
    assert_eq!(
        (&body["total"], &body["total_as_of"]),
        (&json!(6), &json!(to_millis(now)))
    );
    // A call on an open day is counted by the request.
    add_call(&calls, "fresh", now, true).await;
    assert_eq!(total().await["total"], 7);

    count_ledger(&calls, late).await;
    let body = total().await;
    assert_eq!(
        (&body["total"], &body["total_as_of"]),
        (&json!(8), &json!(to_millis(late)))
    );
    let day = utc_day(ago(now, 40));
    let ledger = calls.ledger_days(day, day).await.unwrap();
    assert_eq!(ledger[0].statuses, BTreeMap::from([("FAILED".to_owned(), 1)]));
}

#[tokio::test]
async fn a_mark_is_removed_by_a_count_that_began_ten_minutes_after_it() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    add_call(&calls, "late", ago(now, 20), true).await;
    let due = async |at: Timestamp| calls.due_days(at).await.unwrap().len();
    assert_eq!(due(now).await, 4, "three open days and the marked one");
    count_ledger(&calls, now + SignedDuration::from_mins(5)).await;
    assert_eq!(due(now).await, 4, "the write may still be in progress");
    count_ledger(&calls, now + SignedDuration::from_mins(11)).await;
    assert_eq!(due(now).await, 3);
}

#[tokio::test]
async fn a_mark_that_is_renewed_while_its_day_is_counted_is_not_lost() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    add_call(&calls, "late", ago(now, 20), true).await;
    let later = now + SignedDuration::from_mins(11);
    let due = calls.due_days(later).await.unwrap();
    // Another process, which does not know the first one's mark.
    add_call(&stack.calls(), "later", ago(now, 20), true).await;
    for due in &due {
        calls.count_day(due, later, |_| {}).await.unwrap();
    }
    assert_eq!(calls.due_days(later).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_row_that_moves_from_a_closed_day_is_subtracted_from_its_count() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    add_call(&calls, "moved", ago(now, 20), true).await;
    count_ledger(&calls, now).await;
    report_status(&stack.calls(), "moved", ago(now, 10), "COMPLETED").await;
    count_ledger(&calls, now).await;
    let total = calls.total(false).await.unwrap();
    assert_eq!(total.rows, Some(1));
    let counted = async |days: i64| {
        let day = utc_day(ago(now, days));
        calls
            .ledger_days(day, day)
            .await
            .unwrap()
            .iter()
            .map(|day| day.playable)
            .sum::<u64>()
    };
    assert_eq!((counted(20).await, counted(10).await), (0, 1));
}

#[tokio::test]
async fn days_over_centuries_are_closed_without_reading_empty_days() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    for (id, start) in [
        ("a", "0017-01-01T00:00:00Z"),
        ("b", "1969-12-31T23:59:59.999Z"),
        ("c", "9000-01-01T00:00:00Z"),
    ] {
        add_call(&calls, id, start.parse().unwrap(), true).await;
    }
    let before = stack.stack.aws.calls_of(Service::DynamoDb, "Query");
    count_ledger(&calls, now).await;
    assert!(stack.stack.aws.calls_of(Service::DynamoDb, "Query") - before < 40);
    assert_eq!(calls.total(false).await.unwrap().rows, Some(3));
    let body = stack
        .get("/recordings?include_total=true&has_recording=false")
        .await
        .body;
    assert_eq!(body["total"], 0);
}

#[tokio::test]
async fn writers_mark_only_closed_days_and_at_most_once_a_minute() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    let marks = async || {
        let client = stack.aws().dynamodb();
        let scan = client
            .scan()
            .table_name("calls")
            .filter_expression("begins_with(id, :dirty)");
        let value = aws_sdk_dynamodb::types::AttributeValue::S("dirty#".into());
        scan.expression_attribute_values(":dirty", value)
            .send()
            .await
            .unwrap()
            .items
            .unwrap_or_default()
    };
    for n in 0..3 {
        add_call(&calls, &format!("open-{n}"), ago(now, n), true).await;
    }
    assert_eq!(
        marks().await.len(),
        usize::from(utc_day(now) != utc_day(now + SignedDuration::from_hours(1)))
    );
    let puts = || stack.stack.aws.calls_of(Service::DynamoDb, "PutItem");
    let start = ago(now, 20);
    report_status(&calls, "old", start, "A").await;
    let first = puts();
    for status in ["B", "C", "D"] {
        report_status(
            &calls,
            "old",
            start + SignedDuration::from_millis(status.as_bytes()[0].into()),
            status,
        )
        .await;
    }
    assert_eq!(puts() - first, 3, "one write for each change, and no further mark");
    assert!(
        marks()
            .await
            .iter()
            .any(|mark| mark["list_order"].as_s() == Ok(&utc_day(start).to_string()))
    );
}

#[tokio::test]
async fn a_range_of_a_year_contains_all_days_in_order() {
    let stack = TestStack::empty().await;
    let (calls, now) = (stack.calls(), Timestamp::now());
    let first: Date = utc_day(ago(now, 365));
    for days in (0..365).rev().step_by(30) {
        add_call(&calls, &format!("call-{days}"), ago(now, days), true).await;
    }
    count_ledger(&calls, now).await;
    let last = first.checked_add(365.days()).unwrap();
    let body = stack.get(&format!("/reports/daily?from={first}&to={last}")).await.body;
    let days: Vec<&Value> = body["days"].as_array().unwrap().iter().map(|day| &day["day"]).collect();
    assert!(days.is_sorted_by_key(|day| day.to_string()), "{days:?}");
    let playable: i64 = body["days"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|day| day["playable"].as_i64())
        .sum();
    assert_eq!(playable, 13);
}
