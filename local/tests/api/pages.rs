//! Cases in which paginated lists often lose rows: equal times, filters, cursors of other lists, rows that move between two pages.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use local::aws::Service;
use serde_json::{Value, json};
use shared::{
    calls::{Calls, Cursor, Field, Interaction, ListFilter, ListOrder},
    ids::DispatchId,
    time::to_millis,
};

use crate::stack::TestStack;

const LIST: &str = "/recordings?has_recording=false";

fn start() -> Timestamp {
    "2025-08-08T11:44:39Z".parse().unwrap()
}

async fn report(calls: &Calls, id: &str, at: Timestamp, fields: &[(Field, Value)]) {
    let fields = fields.iter().map(|(field, value)| (*field, Some(value.clone())));
    let reported = Interaction {
        interaction_id: None,
        dispatch_id: DispatchId::parse(id),
        fields: fields.collect(),
        at,
    };
    calls.record_interaction(&reported).await.unwrap();
}

/// Calls without a recording, an hour apart. Call number n has status n % 10, outcome n % 3 and duration n.
async fn add_calls(stack: &TestStack, numbers: impl Iterator<Item = i64>) {
    let calls = stack.calls();
    for number in numbers {
        let started = start() + SignedDuration::from_hours(number);
        let fields = [
            (Field::StartTime, to_millis(started).into()),
            (Field::Status, format!("S{}", number % 10).into()),
            (Field::Outcome, format!("O{}", number % 3).into()),
            (Field::Duration, number.into()),
        ];
        report(&calls, &format!("call-{number:04}"), started, &fields).await;
    }
}

fn ids(body: &Value) -> Vec<String> {
    let rows = body["recordings"].as_array().unwrap();
    rows.iter()
        .map(|row| row["dispatch_id"].as_str().unwrap().to_owned())
        .collect()
}

async fn walk(stack: &TestStack, query: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let body = stack.get(&format!("{LIST}{query}{cursor}")).await.body;
        found.extend(ids(&body));
        match body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn filtered_pages_neither_lose_nor_repeat_rows_by_cursor_or_offset() {
    const CALLS: i64 = 240;
    let stack = TestStack::empty().await;
    add_calls(&stack, 0..CALLS).await;
    let cases: [(&str, &dyn Fn(i64) -> bool); 6] = [
        ("", &|_| true),
        ("&status=S3", &|n| n % 10 == 3),
        ("&status=S3&outcome=O1", &|n| n % 10 == 3 && n % 3 == 1),
        ("&min_duration=200", &|n| n >= 200),
        ("&min_duration=200&has_transcript=false&outcome=O2", &|n| {
            n >= 200 && n % 3 == 2
        }),
        ("&has_transcript=true", &|_| false),
    ];
    for (filter, passes) in cases {
        let mut expected: Vec<String> = (0..CALLS)
            .filter(|n| passes(*n))
            .map(|n| format!("call-{n:04}"))
            .collect();
        for order in ["asc", "desc"] {
            for limit in [7, 100] {
                let found = walk(&stack, &format!("{filter}&order={order}&limit={limit}")).await;
                assert_eq!(found, expected, "{filter} {order} {limit}");
            }
            for offset in [0, 1, expected.len() / 2, expected.len(), 99_999] {
                let page = stack
                    .get(&format!("{LIST}{filter}&order={order}&limit=5&offset={offset}"))
                    .await
                    .body;
                let rest = expected.iter().skip(offset);
                assert_eq!(
                    ids(&page),
                    rest.take(5).cloned().collect::<Vec<_>>(),
                    "{filter} {order} {offset}"
                );
            }
            expected.reverse();
        }
    }
}

#[tokio::test]
async fn an_offset_is_skipped_by_counting_without_reading_attributes() {
    let stack = TestStack::empty().await;
    add_calls(&stack, 0..40).await;
    let queries = || stack.stack.aws.calls_of(Service::DynamoDb, "Query");
    let before = queries();
    let page = stack.get(&format!("{LIST}&order=asc&limit=5&offset=30")).await.body;
    assert_eq!(ids(&page)[0], "call-0030");
    assert_eq!(queries() - before, 2, "one query counts and one reads");
}

#[tokio::test]
async fn a_page_is_one_query_however_many_days_it_covers() {
    let stack = TestStack::empty().await;
    add_calls(&stack, (0..40).map(|day| 24 * day)).await;
    let queries = || stack.stack.aws.calls_of(Service::DynamoDb, "Query");
    let before = queries();
    let page = stack.get(&format!("{LIST}&limit=20")).await.body;
    assert_eq!((ids(&page).len(), queries() - before), (20, 1));
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = stack.get(&format!("{LIST}&limit=20&cursor={cursor}")).await.body;
    assert_eq!((ids(&page).len(), queries() - before), (20, 2));
    let gets = |operation| stack.stack.aws.calls_of(Service::DynamoDb, operation);
    assert_eq!(
        gets("TransactWriteItems"),
        40,
        "each new call was one write, with the condition that it was not erased"
    );
    add_calls(&stack, (0..40).map(|day| 24 * day)).await;
    assert_eq!(gets("TransactWriteItems"), 40, "each change of one was one write");
}

#[tokio::test]
async fn a_cursor_of_another_order_filter_or_version_is_rejected() {
    let stack = TestStack::empty().await;
    add_calls(&stack, 0..9).await;
    let body = stack.get(&format!("{LIST}&limit=2&outcome=O1")).await.body;
    let cursor = body["next_cursor"].as_str().unwrap();
    let good = stack
        .get(&format!("{LIST}&limit=1&outcome=O1&cursor={cursor}"))
        .await
        .body;
    assert_eq!(ids(&good), ["call-0001"], "the limit does not change the list");
    // The first character encodes six bits of the version.
    let other_version = format!("B{}", &cursor[1..]);
    for (query, cursor) in [
        ("&outcome=O1&order=asc", cursor),
        ("&outcome=O2", cursor),
        ("", cursor),
        ("&outcome=O1&status=S1", cursor),
        ("&outcome=O1&started_after=2025-01-01", cursor),
        ("&outcome=O1", other_version.as_str()),
    ] {
        let answer = stack.get(&format!("{LIST}{query}&cursor={cursor}")).await;
        let text = answer.recordings_error(400, "invalid_parameter");
        assert!(text.contains("next_cursor"), "{query}: {text}");
    }
    let playable = stack.get(&format!("/recordings?outcome=O1&cursor={cursor}")).await;
    playable.recordings_error(400, "invalid_parameter");
}

#[tokio::test]
async fn an_altered_cursor_is_rejected_or_another_position_and_never_a_fault() {
    let stack = TestStack::empty().await;
    add_calls(&stack, 0..9).await;
    let (from, to) = ("2025-08-08T13:00:00Z", "2025-08-08T17:00:00Z");
    let filter = ListFilter {
        missing: true,
        started_after: from.parse().ok(),
        started_before: to.parse().ok(),
        ..ListFilter::default()
    };
    let within: BTreeSet<String> = (2..6).map(|n| format!("call-{n:04}")).collect();
    for (order, name) in [(ListOrder::Newest, "desc"), (ListOrder::Oldest, "asc")] {
        for position in [
            "0001-01-01T00:00:00.000Z#x",
            "2025-08-08T12:44:39.000Z#call-0001",
            "2025-08-08T14:44:39.000Z#object#no such row",
            "9998-12-31T23:59:59.999Z#zz",
        ] {
            let cursor: Cursor = serde_json::from_value(position.into()).unwrap();
            let cursor = cursor.encode(&filter, order);
            let path = format!("{LIST}&order={name}&started_after={from}&started_before={to}&cursor={cursor}");
            let answer = stack.get(&path).await;
            assert_eq!(answer.status, 200, "{position} {name}: {}", answer.body);
            assert!(
                ids(&answer.body).into_iter().all(|id| within.contains(&id)),
                "{position} {name}"
            );
        }
    }
}

#[tokio::test]
async fn a_row_that_moves_or_disappears_after_its_page_does_not_change_the_next_page() {
    let stack = TestStack::empty().await;
    add_calls(&stack, 0..6).await;
    let first = stack.get(&format!("{LIST}&limit=3")).await.body;
    assert_eq!(ids(&first), ["call-0005", "call-0004", "call-0003"]);
    // The start time of the row that the cursor names is corrected to an earlier one.
    let earlier = [(
        Field::StartTime,
        to_millis(start() - SignedDuration::from_hours(5)).into(),
    )];
    report(
        &stack.calls(),
        "call-0003",
        start() + SignedDuration::from_hours(9),
        &earlier,
    )
    .await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = stack.get(&format!("{LIST}&cursor={cursor}")).await.body;
    assert_eq!(ids(&rest), ["call-0002", "call-0001", "call-0000", "call-0003"]);
    assert_eq!(rest["next_cursor"], json!(null));
}

#[tokio::test]
async fn ids_with_unusual_sort_order_are_each_on_one_page() {
    let stack = TestStack::empty().await;
    let calls = stack.calls();
    let names = ["a", "A", "a-", "a_", "0", "zz", "z", "-", "_", "9a"];
    for name in names {
        report(&calls, name, start(), &[(Field::StartTime, to_millis(start()).into())]).await;
    }
    // The byte order of ids decides, in both directions.
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(walk(&stack, "&limit=3&order=asc").await, expected);
    expected.reverse();
    assert_eq!(walk(&stack, "&limit=1").await, expected);
}

#[tokio::test]
async fn phone_and_interaction_filters_combine_with_any_offset() {
    let stack = TestStack::empty().await;
    let calls = stack.calls();
    for number in 0..12_i64 {
        let started = start() + SignedDuration::from_hours(number);
        let fields = BTreeMap::from([
            (Field::StartTime, Some(to_millis(started).into())),
            (Field::Phone, Some(format!("+1510{}", number % 2).into())),
        ]);
        let reported = Interaction {
            interaction_id: Some("one".into()),
            dispatch_id: DispatchId::parse(&format!("call-{number:04}")),
            fields,
            at: started,
        };
        calls.record_interaction(&reported).await.unwrap();
    }
    let query = "&phone=%2B15101&interaction_id=one&order=asc";
    assert_eq!(walk(&stack, &format!("{query}&limit=2")).await.len(), 6);
    let page = stack.get(&format!("{LIST}{query}&limit=2&offset=3")).await.body;
    assert_eq!(ids(&page), ["call-0007", "call-0009"]);
}
