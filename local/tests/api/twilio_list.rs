//! `GET /api/twilio/recordings/`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use local::{
    demo,
    stack::TwilioAccount,
    standins::twilio::{Fault, Media, Recording},
};
use serde_json::{Value, json};

use crate::stack::{Answer, StoppedClock, TestStack, answer, serve};

const LIST: &str = "/api/twilio/recordings/";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn sid(number: u32) -> String {
    format!("RE{number:032x}")
}

/// Number 1 is older than number 2.
fn recording(number: u32, status: &str) -> Recording {
    let created = at("2025-03-01T12:00:00Z") + Duration::from_secs(60 * u64::from(number));
    Recording {
        sid: sid(number),
        call_sid: format!("CA{number:032x}"),
        status: status.into(),
        date_created: created,
        date_updated: created,
        start_time: created,
        media: Media::Generated { bytes: 288 },
        ..Recording::default()
    }
}

fn sids(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let rows = answer.body["recordings"].as_array().unwrap();
    assert_eq!(answer.body["total_recordings"], rows.len());
    rows.iter().map(|row| row["sid"].as_str().unwrap()).collect()
}

/// The requests for pages of the list, without media checks.
fn pages(stack: &TestStack) -> Vec<local::standins::twilio::Logged> {
    let log = stack.stack.twilio.requests();
    log.into_iter()
        .filter(|request| request.path.ends_with("/Recordings.json"))
        .collect()
}

fn fails(status: u16, retry_after: Option<u64>) -> Fault {
    Fault::Status {
        status,
        retry_after,
        body: None,
    }
}

fn answers(body: impl ToString) -> Fault {
    Fault::Status {
        status: 200,
        retry_after: None,
        body: Some(body.to_string()),
    }
}

#[tokio::test]
async fn the_documented_request_returns_the_documented_row() {
    let stack = TestStack::demo().await;
    let documented = json!({
        "sid": "RE1234567890abcdef",
        "account_sid": "AC1234567890abcdef",
        "call_sid": "CA1234567890abcdef",
        "duration": 45,
        "status": "completed",
        "channels": 1,
        "source": "RecordVerb",
        "error_code": null,
        "uri": "/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1234567890abcdef.json",
        "media_location": null,
        "media_url": format!("{}/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1234567890abcdef.mp3", stack.stack.aws_url),
        "media_accessible": true,
        "media_status_code": 200,
        "date_created": "2024-01-15T10:30:00Z",
        "date_updated": "2024-01-15T10:30:30Z",
        "start_time": "2024-01-15T10:30:00Z",
        "price": "0.0025",
        "price_unit": "USD",
        "track": "both"
    });
    let path = format!("{LIST}?limit=20&status=completed");
    let list = stack.get(&path).await;
    assert!(
        list.body["recordings"].as_array().unwrap().contains(&documented),
        "{:#}",
        list.body
    );
    assert_eq!(
        list.body["query_parameters"],
        json!({"limit": "20", "status": "completed", "date_created_after": null, "date_created_before": null})
    );
    assert_eq!(list.headers["content-type"], "application/json");

    for other in [
        "/api/twilio/recordings?limit=20&status=completed".to_owned(),
        format!("{path}&api_key={}", demo::API_KEY),
    ] {
        let mut request = stack.request(Method::GET, &other);
        if !other.contains("api_key") {
            request = request.header("x-api-key", demo::API_KEY);
        }
        assert_eq!(answer(request).await.body, list.body, "{other}");
    }
}

#[tokio::test]
async fn every_row_has_the_documented_fields_and_types_and_the_summary_adds_up() {
    let stack = TestStack::demo().await;
    let list = stack.get(&format!("{LIST}?limit=100")).await;
    let text = |value: &Value| value.is_string();
    let text_or_null = |value: &Value| value.is_string() || value.is_null();
    let number_or_null = |value: &Value| value.is_u64() || value.is_null();
    let date = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.len() == "2024-01-15T10:30:00Z".len() && text.parse::<Timestamp>().is_ok())
    };
    type Check<'a> = &'a dyn Fn(&Value) -> bool;
    let fields: BTreeMap<&str, Check> = BTreeMap::from([
        ("sid", &text as Check),
        ("account_sid", &text),
        ("call_sid", &text),
        ("duration", &number_or_null),
        ("status", &text),
        ("channels", &Value::is_u64),
        ("source", &text),
        ("error_code", &number_or_null),
        ("uri", &text),
        ("media_location", &text_or_null),
        ("media_url", &text),
        ("media_accessible", &Value::is_boolean),
        ("media_status_code", &number_or_null),
        ("date_created", &date),
        ("date_updated", &date),
        ("start_time", &date),
        ("price", &text_or_null),
        ("price_unit", &text_or_null),
        ("track", &text_or_null),
    ]);
    let rows = list.body["recordings"].as_array().unwrap();
    assert_eq!(rows.len(), demo::twilio_recordings(demo::DOCUMENTED_TIME).len());
    let count = |matches: &dyn Fn(&Value) -> bool| rows.iter().filter(|row| matches(row)).count();
    for row in rows {
        let row = row.as_object().unwrap();
        assert_eq!(
            row.keys().map(String::as_str).collect::<Vec<_>>(),
            fields.keys().copied().collect::<Vec<_>>()
        );
        for (name, check) in &fields {
            assert!(check(&row[*name]), "{name}: {row:?}");
        }
    }
    let status = |words: &'static [&str]| move |row: &Value| words.contains(&row["status"].as_str().unwrap());
    let accessible = |wanted: bool| move |row: &Value| row["media_accessible"] == wanted;
    assert_eq!(
        list.body["summary"],
        json!({
            "completed": count(&status(&["completed"])),
            "in_progress": count(&status(&["in-progress", "paused", "stopped", "processing"])),
            "failed": count(&status(&["absent", "deleted"])),
            "accessible_media": count(&accessible(true)),
            "inaccessible_media": count(&accessible(false)),
        })
    );
    let external = rows.iter().find(|row| !row["media_location"].is_null()).unwrap();
    let location = external["media_location"].as_str().unwrap();
    assert!(
        location.starts_with("https://customer-recordings.s3.amazonaws.com/"),
        "{location}"
    );
    assert_eq!(external["media_accessible"], false);
}

#[tokio::test]
async fn the_documented_date_range_includes_both_days_and_the_default_limit_is_50() {
    let stack = TestStack::demo().await;
    let list = stack
        .get(&format!(
            "{LIST}?date_created_after=2024-01-01&date_created_before=2024-01-31"
        ))
        .await;
    let (first, end) = (at("2024-01-01T00:00:00Z"), at("2024-02-01T00:00:00Z"));
    let mut expected: Vec<_> = demo::twilio_recordings(demo::DOCUMENTED_TIME)
        .into_iter()
        .filter(|row| first <= row.date_created && row.date_created < end)
        .collect();
    expected.sort_by_key(|row| std::cmp::Reverse(row.date_created));
    assert!(expected.iter().any(|row| row.date_created == first));
    assert_eq!(sids(&list), expected.iter().map(|row| &row.sid).collect::<Vec<_>>());
    assert_eq!(
        list.body["query_parameters"],
        json!({"limit": "50", "status": null, "date_created_after": "2024-01-01", "date_created_before": "2024-01-31"})
    );
}

#[tokio::test]
async fn an_empty_account_is_an_empty_list() {
    let stack = TestStack::empty().await;
    let list = stack.get(LIST).await;
    assert_eq!(sids(&list), Vec::<&str>::new());
    assert_eq!(list.body["next_page_token"], Value::Null);
    assert_eq!(
        list.body["summary"],
        json!({"completed": 0, "in_progress": 0, "failed": 0, "accessible_media": 0, "inaccessible_media": 0})
    );
}

#[tokio::test]
async fn a_status_selects_its_group() {
    let stack = TestStack::empty().await;
    let statuses = [
        "in-progress",
        "paused",
        "stopped",
        "processing",
        "completed",
        "absent",
        "deleted",
        "failed",
    ];
    for (number, status) in (1..).zip(statuses) {
        stack.stack.twilio.add(recording(number, status));
    }
    for (wanted, matching) in [
        ("completed", vec!["completed"]),
        ("in-progress", vec!["in-progress", "paused", "processing", "stopped"]),
        ("failed", vec!["absent", "failed"]),
        ("paused", vec!["paused"]),
        ("stopped", vec!["stopped"]),
        ("processing", vec!["processing"]),
        ("absent", vec!["absent"]),
        ("deleted", vec!["deleted"]),
    ] {
        let list = stack.get(&format!("{LIST}?status={wanted}")).await;
        let rows = list.body["recordings"].as_array().unwrap();
        let mut got: Vec<_> = rows.iter().map(|row| row["status"].as_str().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, matching, "status={wanted}");
        assert_eq!(list.body["query_parameters"]["status"], wanted);
    }
}

#[tokio::test]
async fn invalid_parameters_are_named_without_a_request_to_twilio() {
    let stack = TestStack::empty().await;
    for (query, named) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=500", "limit"),
        ("limit=-1", "limit"),
        ("limit=abc", "limit"),
        ("limit=", "limit"),
        ("limit", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=%31%00", "limit"),
        ("limit=5&limit=5", "limit"),
        ("status=done", "status"),
        ("status=Completed", "status"),
        ("status=", "status"),
        ("status=completed&status=failed", "status"),
        ("date_created_after=yesterday", "date_created_after"),
        ("date_created_after=2024-02-30", "date_created_after"),
        ("date_created_after=", "date_created_after"),
        ("date_created_after=1705312200", "date_created_after"),
        ("date_created_before=2024-01-15T10:30:00+99:00", "date_created_before"),
        ("date_created_before=9999-12-31", "date_created_before"),
        (
            "date_created_after=2024-02-01&date_created_before=2024-01-31",
            "date_created_after",
        ),
        (
            "date_created_after=2024-01-01T00:00:00Z&date_created_before=2024-01-01T00:00:00Z",
            "date_created_after",
        ),
        (
            "date_created_after=2024-01-01&date_created_after=2024-01-02",
            "date_created_after",
        ),
        ("page=2", "page"),
        ("Limit=5", "Limit"),
        ("page_token=", "page_token"),
        ("page_token=garbage", "page_token"),
        ("page_token=e30", "page_token"),
        ("status=%ff", "query string"),
    ] {
        let refused = stack.get(&format!("{LIST}?{query}")).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
        let code = refused.body["code"].as_str().unwrap();
        let error = refused.twilio_error(400, code);
        assert!(error.contains(named), "{query}: {error}");
        assert_eq!(refused.body.get("retryable"), None);
    }
    assert_eq!(stack.stack.twilio.requests(), []);
}

#[tokio::test]
async fn without_a_valid_key_there_is_no_request_to_twilio() {
    let stack = TestStack::demo().await;
    for (path, key) in [
        (LIST.to_owned(), None),
        (LIST.to_owned(), Some("wrong")),
        (LIST.to_owned(), Some("")),
        (format!("{LIST}?api_key=wrong"), None),
        // The header takes precedence.
        (format!("{LIST}?api_key={}", demo::API_KEY), Some("wrong")),
    ] {
        let mut request = stack.request(Method::GET, &path);
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        answer(request).await.twilio_error(401, "unauthorized");
    }
    assert_eq!(stack.stack.twilio.requests(), []);
}

#[tokio::test]
async fn an_unknown_path_below_the_prefix_is_a_404_in_its_format() {
    let stack = TestStack::empty().await;
    for path in [
        "/api/twilio/recordings/x",
        "/api/twilio/other",
        "/api/twilio/recordings/../x/",
    ] {
        let refused = stack.get(path).await;
        assert_eq!(refused.status, 404, "{path}: {}", refused.body);
    }
    assert_eq!(stack.stack.twilio.requests(), []);
}

#[tokio::test]
async fn twilios_pages_are_read_until_enough_rows_match() {
    let stack = TestStack::empty().await;
    for number in 1..=3 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    for number in 4..=430 {
        stack.stack.twilio.add(recording(number, "paused"));
    }
    let list = stack.get(&format!("{LIST}?limit=2&status=completed")).await;
    assert_eq!(sids(&list), [sid(3), sid(2)]);
    assert!(list.body["next_page_token"].is_string());
    assert!(
        (2..=10).contains(&pages(&stack).len()),
        "few large pages: {}",
        pages(&stack).len()
    );
    let probes = stack.stack.twilio.requests().len() - pages(&stack).len();
    assert_eq!(probes, 2, "only the media of returned rows is checked");
}

/// Follows `next_page_token` to the last page. `between` is called after each page with its number, from 1.
async fn walk(stack: &TestStack, query: &str, mut between: impl FnMut(u32)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut path = format!("{LIST}?{query}");
    for page in 1.. {
        assert!(page < 50, "the pagination does not end");
        let list = stack.get(&path).await;
        seen.extend(sids(&list).into_iter().map(str::to_owned));
        let Some(token) = list.body["next_page_token"].as_str() else {
            break;
        };
        path = format!("{LIST}?{query}&page_token={token}");
        between(page);
    }
    seen
}

#[tokio::test]
async fn pagination_returns_every_row_once_and_in_order_while_rows_are_added() {
    for query in [
        "limit=3",
        "limit=3&status=completed",
        "limit=4&date_created_after=2025-03-01",
    ] {
        let stack = TestStack::empty().await;
        for number in 1..=14 {
            let status = if query.contains("status") && number % 3 == 0 {
                "absent"
            } else {
                "completed"
            };
            stack.stack.twilio.add(recording(number, status));
        }
        let expected: Vec<_> = (1..=14)
            .rev()
            .filter(|number| !query.contains("status") || number % 3 != 0)
            .map(sid)
            .collect();
        assert_eq!(walk(&stack, query, |_| {}).await, expected, "{query}");
        let arriving = |page| {
            for number in 0..2 {
                stack.stack.twilio.add(recording(100 * page + number, "completed"));
            }
        };
        assert_eq!(walk(&stack, query, arriving).await, expected, "{query}, rows arriving");
    }
}

#[tokio::test]
async fn a_row_that_moved_to_twilios_next_page_is_still_found() {
    let stack = TestStack::empty().await;
    for number in 1..=205 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let query = "limit=100&status=completed";
    let arriving = |page| {
        // After the first page, the row after which the list continues moves from Twilio's first page of 200 to its second.
        for number in 0..150 {
            stack.stack.twilio.add(recording(1000 * page + number, "completed"));
        }
    };
    let expected: Vec<_> = (1..=205).rev().map(sid).collect();
    assert_eq!(walk(&stack, query, arriving).await, expected);
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_filters_only_and_forgeries_are_rejected() {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    let stack = TestStack::empty().await;
    for number in 1..=5 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let list = stack.get(&format!("{LIST}?limit=2&status=completed")).await;
    let token = list.body["next_page_token"].as_str().unwrap();
    let asked = stack.stack.twilio.requests().len();
    for query in [
        format!("page_token={token}"),
        format!("status=failed&page_token={token}"),
        format!("status=completed&date_created_after=2025-01-01&page_token={token}"),
        format!("status=completed&page_token={token}x"),
        format!("status=completed&page_token={}", &token[..token.len() - 4]),
    ] {
        let refused = stack.get(&format!("{LIST}?{query}")).await;
        let error = refused.twilio_error(400, "invalid_parameter");
        assert!(error.contains("page_token"), "{error}");
    }
    let token_of = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let none = json!([null, null, null]);
    for forged in [
        json!({"page": "PageSize=5#", "after": null, "filter": none}),
        json!({"page": "PageSize=5 HTTP/1.1\r\nHost: elsewhere", "after": null, "filter": none}),
        json!({"page": "PageSize=5", "after": "../../x", "filter": none}),
        json!({"page": "PageSize=5", "after": null, "filter": none, "host": "elsewhere"}),
        json!({"page": 5, "after": null, "filter": none}),
        json!([]),
        Value::Null,
    ] {
        let refused = stack.get(&format!("{LIST}?page_token={}", token_of(forged))).await;
        refused.twilio_error(400, "invalid_parameter");
    }
    assert_eq!(stack.stack.twilio.requests().len(), asked, "Twilio was asked");

    // Tokens that only Twilio can reject.
    let junk = token_of(json!({"page": "PageSize=5&Page=1&PageToken=junk", "after": null, "filter": none}));
    let refused = stack.get(&format!("{LIST}?page_token={junk}")).await;
    refused.twilio_error(400, "page_token_expired");
    let more = stack
        .get(&format!("{LIST}?limit=1&status=completed&page_token={token}"))
        .await;
    assert_eq!(sids(&more), [sid(3)]);
    stack.stack.twilio.remove(&sid(4));
    let expired = stack
        .get(&format!("{LIST}?limit=2&status=completed&page_token={token}"))
        .await;
    expired.twilio_error(400, "page_token_expired");
}

#[tokio::test]
async fn dates_are_exact_at_both_ends() {
    let stack = TestStack::empty().await;
    let moments = [
        "2025-06-01T23:59:59Z",
        "2025-06-02T00:00:00Z",
        "2025-06-02T10:30:00Z",
        "2025-06-02T23:59:59Z",
        "2025-06-03T00:00:00Z",
    ];
    for (number, moment) in (1..).zip(moments) {
        stack.stack.twilio.add(Recording {
            date_created: at(moment),
            ..recording(number, "completed")
        });
    }
    for (query, expected) in [
        ("date_created_after=2025-06-02", vec![5, 4, 3, 2]),
        ("date_created_before=2025-06-02", vec![4, 3, 2, 1]),
        (
            "date_created_after=2025-06-02&date_created_before=2025-06-02",
            vec![4, 3, 2],
        ),
        ("date_created_after=2025-06-02T10:30:00Z", vec![5, 4, 3]),
        ("date_created_before=2025-06-02T10:30:00Z", vec![2, 1]),
        ("date_created_after=2025-06-02T10:30:01Z", vec![5, 4]),
        ("date_created_before=2025-06-02T10:30:00.001Z", vec![3, 2, 1]),
        ("date_created_after=2025-06-02T10:30:00", vec![5, 4, 3]),
        ("date_created_after=2025-06-02T12:30:00%2B02:00", vec![5, 4, 3]),
        ("date_created_after=2025-06-02T12:30:00+02:00", vec![5, 4, 3]),
        ("date_created_after=2025-06-02T08:30:00-02:00", vec![5, 4, 3]),
        ("date_created_before=2025-06-03T00:00:00Z", vec![4, 3, 2, 1]),
        // In UTC these times are on the day before and the day after.
        ("date_created_after=2025-06-03T01:00:00%2B02:00", vec![5, 4]),
        ("date_created_before=2025-06-01T23:00:00-02:00", vec![2, 1]),
        ("date_created_after=2025-06-03T00:00:01Z", vec![]),
    ] {
        let list = stack.get(&format!("{LIST}?{query}")).await;
        let expected: Vec<_> = expected.into_iter().map(sid).collect();
        assert_eq!(sids(&list), expected, "{query}");
    }
}

#[tokio::test]
async fn an_unescaped_plus_is_the_same_date_in_the_response_and_the_token() {
    let stack = TestStack::empty().await;
    for number in 1..=3 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let list = stack
        .get(&format!("{LIST}?limit=1&date_created_after=2025-03-01T01:00:00+01:00"))
        .await;
    assert_eq!(
        list.body["query_parameters"]["date_created_after"],
        "2025-03-01T01:00:00+01:00"
    );
    let token = list.body["next_page_token"].as_str().unwrap();
    let next = stack
        .get(&format!(
            "{LIST}?limit=1&date_created_after=2025-03-01T01:00:00%2B01:00&page_token={token}"
        ))
        .await;
    assert_eq!(sids(&next), [sid(2)]);
}

#[tokio::test]
async fn a_failed_media_check_is_shown_in_its_row_and_never_fails_the_list() {
    let stack = TestStack::empty().await;
    let twilio = &stack.stack.twilio;
    let refusing = "http://127.0.0.1:9/";
    let itself = format!(
        "{}/2010-04-01/Accounts/{}/Recordings/{}.mp3",
        stack.stack.aws_url,
        demo::ACCOUNT_SID,
        sid(8)
    );
    for number in 1..=8 {
        twilio.add(recording(number, "completed"));
    }
    for (number, status) in [(2, 404), (3, 410), (4, 500), (5, 403)] {
        twilio.add(Recording {
            media: Media::Status(status),
            ..recording(number, "completed")
        });
    }
    twilio.fault(format!("{}.mp3", sid(6)), fails(429, Some(0)), None);
    twilio.fault(format!("{}.mp3", sid(7)), Fault::Redirect(refusing.into()), None);
    twilio.fault(format!("{}.mp3", sid(8)), Fault::Redirect(itself), None);
    let list = stack.get(LIST).await;
    assert_eq!(list.status, 200);
    let rows = list.body["recordings"].as_array().unwrap();
    let got: Vec<_> = rows
        .iter()
        .rev()
        .map(|row| {
            (
                row["media_accessible"].as_bool().unwrap(),
                row["media_status_code"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            (true, Some(200)),
            (false, Some(404)),
            (false, Some(410)),
            (false, Some(500)),
            (false, Some(403)),
            (false, Some(429)),
            (false, None),
            (false, None),
        ]
    );
    assert_eq!(list.body["summary"]["accessible_media"], 1);
    assert_eq!(list.body["summary"]["inaccessible_media"], 7);
    let loops = stack.stack.twilio.requests();
    let loops = loops.iter().filter(|request| request.path.contains(&sid(8))).count();
    assert_eq!(
        loops, 4,
        "redirects are followed three times, and a loop is not retried"
    );
}

#[tokio::test]
async fn media_that_hangs_does_not_block_the_list() {
    let stack = TestStack::empty().await;
    for number in 1..=20 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    stack.stack.twilio.fault(".mp3", Fault::Hang, None);
    let clock = StoppedClock::new();
    let request = stack.request(Method::GET, LIST).header("x-api-key", demo::API_KEY);
    let list = tokio::spawn(answer(request));
    // One page and the first media checks.
    stack.stack.twilio.wait_for_requests(1 + 16).await;
    tokio::time::advance(Duration::from_secs(9)).await;
    let list = list.await.unwrap();
    drop(clock);
    assert_eq!(sids(&list).len(), 20);
    for row in list.body["recordings"].as_array().unwrap() {
        assert_eq!(
            (&row["media_accessible"], &row["media_status_code"]),
            (&json!(false), &Value::Null)
        );
    }
}

/// A stack with a Twilio that responds to each request with the result of `respond`.
async fn with_twilio<R: IntoResponse>(
    respond: impl Fn(&Request) -> R + Clone + Send + Sync + 'static,
) -> (TestStack, Arc<Mutex<Vec<(String, String)>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let router = Router::new().fallback(move |request: Request| {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        seen.lock()
            .unwrap()
            .push((format!("{} {}", request.method(), uri.path()), query.to_owned()));
        let response = respond(&request).into_response();
        async move { response }
    });
    let base_url = serve(router).await;
    let stack = TestStack::with(|settings| {
        settings.twilio = Some(TwilioAccount {
            account_sid: demo::ACCOUNT_SID.into(),
            auth_token: demo::AUTH_TOKEN.into(),
            base_url,
        })
    })
    .await;
    (stack, log)
}

fn page(rows: &[u32], next: Option<&str>) -> Response {
    let rows: Vec<_> = rows
        .iter()
        .map(|number| json!({"sid": sid(*number), "status": "completed", "date_created": "Sat, 01 Mar 2025 12:00:00 +0000"}))
        .collect();
    let resource = format!("/2010-04-01/Accounts/{}/Recordings.json", demo::ACCOUNT_SID);
    let next = next.map(|query| format!("{resource}?{query}"));
    axum::Json(json!({"recordings": rows, "next_page_uri": next})).into_response()
}

#[tokio::test]
async fn media_is_checked_with_get_if_head_is_not_supported() {
    let (stack, log) = with_twilio(|request| match (request.method(), request.uri().path()) {
        (&Method::HEAD, path) if path.contains(".mp3") => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (_, path) if path.contains(".mp3") => "ID3".into_response(),
        _ => page(&[1], None),
    })
    .await;
    let list = stack.get(LIST).await;
    assert_eq!(list.body["recordings"][0]["media_status_code"], 200, "{}", list.body);
    assert_eq!(list.body["recordings"][0]["media_accessible"], true);
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_neither_credentials_nor_a_referer() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let elsewhere = serve(Router::new().fallback(move |request: Request| {
        log.lock().unwrap().push(request.headers().clone());
        async { "ID3" }
    }))
    .await;
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(1, "completed"));
    stack.stack.twilio.fault(".mp3", Fault::Redirect(elsewhere), None);
    let list = stack.get(LIST).await;
    assert_eq!(list.body["recordings"][0]["media_accessible"], true, "{}", list.body);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    for name in [header::AUTHORIZATION, header::COOKIE, header::REFERER] {
        assert_eq!(seen[0].get(&name), None, "{name} was sent elsewhere");
    }
    assert!(stack.stack.twilio.requests().iter().all(|request| request.authorized));
}

#[tokio::test]
async fn a_redirect_on_twilios_own_host_keeps_the_credentials() {
    let stack = TestStack::empty().await;
    for number in 1..=2 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let other = format!(
        "{}/2010-04-01/Accounts/{}/Recordings/{}.mp3",
        stack.stack.aws_url,
        demo::ACCOUNT_SID,
        sid(2)
    );
    stack
        .stack
        .twilio
        .fault(format!("{}.mp3", sid(1)), Fault::Redirect(other), None);
    let list = stack.get(LIST).await;
    assert_eq!(list.body["summary"]["accessible_media"], 2, "{}", list.body);
}

#[tokio::test]
async fn each_upstream_error_has_its_code_and_only_transient_ones_are_retried() {
    let stack = TestStack::empty().await;
    let own = format!("/2010-04-01/Accounts/{}/Recordings.json", demo::ACCOUNT_SID);
    let next = |uri: &str| answers(json!({"recordings": [], "next_page_uri": uri}));
    // Fault, code, retryable, Retry-After, requests to Twilio.
    for (fault, code, retryable, retry_after, requests) in [
        (fails(401, None), "twilio_unauthorized", false, None, 1),
        (fails(403, None), "twilio_unauthorized", false, None, 1),
        (fails(404, None), "twilio_unauthorized", false, None, 1),
        (fails(400, None), "twilio_error", false, None, 1),
        (fails(429, Some(0)), "twilio_rate_limited", true, Some("1"), 4),
        (fails(429, Some(3600)), "twilio_rate_limited", true, Some("3600"), 1),
        (
            fails(429, Some(10u64.pow(18))),
            "twilio_rate_limited",
            true,
            Some("1000000000000000000"),
            1,
        ),
        (fails(500, Some(0)), "twilio_unavailable", true, Some("1"), 4),
        (fails(503, Some(0)), "twilio_unavailable", true, Some("1"), 4),
        (answers("{\"recordings\": ["), "twilio_error", false, None, 1),
        (answers("<html>"), "twilio_error", false, None, 1),
        (answers("{}"), "twilio_error", false, None, 1),
        (
            next("https://elsewhere.example/2010-04-01/Accounts/x/Recordings.json?Page=1"),
            "twilio_error",
            false,
            None,
            1,
        ),
        (
            next("//elsewhere.example/Recordings.json?Page=1"),
            "twilio_error",
            false,
            None,
            1,
        ),
        (
            next("/2010-04-01/Accounts/AC00000000000000000000000000000000/Recordings.json?Page=1"),
            "twilio_error",
            false,
            None,
            1,
        ),
        (next(&format!("{own}?PageSize=50")), "twilio_error", false, None, 1),
        (
            Fault::Redirect(format!("{}{own}", stack.stack.aws_url)),
            "twilio_error",
            false,
            None,
            4,
        ),
    ] {
        let before = stack.stack.twilio.requests().len();
        stack.stack.twilio.fault("Recordings.json", fault.clone(), None);
        let failed = stack.get(LIST).await;
        stack.stack.twilio.clear_faults();
        let context = format!("{fault:?}: {}", failed.body);
        assert_eq!(failed.body["code"], code, "{context}");
        let error = failed.twilio_error(500, code);
        assert!(error.starts_with("Failed to list recordings: "), "{context}");
        assert_eq!(
            failed.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{context}"
        );
        let header = failed.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(header, retry_after, "{context}");
        assert_eq!(stack.stack.twilio.requests().len() - before, requests, "{context}");
    }
}

#[tokio::test]
async fn a_transient_fault_is_retried_and_not_visible_to_the_caller() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(1, "completed"));
    for fault in [fails(429, None), fails(503, None), Fault::Truncate] {
        stack.stack.twilio.fault("Recordings.json", fault.clone(), Some(1));
        assert_eq!(sids(&stack.get(LIST).await), [sid(1)], "{fault:?}");
    }
}

#[tokio::test]
async fn rows_read_before_a_fault_are_returned_with_a_token_to_continue() {
    for matching in [true, false] {
        let (stack, _) = with_twilio(move |request| {
            let query = request.uri().query().unwrap_or_default();
            if request.uri().path().contains(".mp3") {
                StatusCode::OK.into_response()
            } else if query.contains("PageToken=PA1") {
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "0")]).into_response()
            } else {
                page(
                    if matching { &[2, 1] } else { &[] },
                    Some("PageSize=200&Page=1&PageToken=PA1"),
                )
            }
        })
        .await;
        let list = stack.get(&format!("{LIST}?status=completed")).await;
        let expected = if matching { vec![sid(2), sid(1)] } else { vec![] };
        assert_eq!(sids(&list), expected);
        let token = list.body["next_page_token"].as_str().expect("there may be more");
        let again = stack.get(&format!("{LIST}?status=completed&page_token={token}")).await;
        again.twilio_error(500, "twilio_unavailable");
    }
}

#[tokio::test]
async fn a_cycle_of_pages_is_an_error() {
    let (stack, log) = with_twilio(|request| {
        let second = request.uri().query().is_some_and(|query| query.contains("Page=1"));
        let next = if second {
            "PageSize=200&Page=0"
        } else {
            "PageSize=200&Page=1"
        };
        page(&[], Some(next))
    })
    .await;
    let failed = stack.get(&format!("{LIST}?status=completed")).await;
    failed.twilio_error(500, "twilio_error");
    assert!(log.lock().unwrap().len() <= 4);
}

#[tokio::test]
async fn a_twilio_that_hangs_is_a_timeout() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.fault("Recordings.json", Fault::Hang, None);
    let clock = StoppedClock::new();
    let request = stack.request(Method::GET, LIST).header("x-api-key", demo::API_KEY);
    let list = tokio::spawn(answer(request));
    stack.stack.twilio.wait_for_requests(1).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    let failed = list.await.unwrap();
    drop(clock);
    failed.twilio_error(500, "twilio_timeout");
    assert_eq!(failed.body["retryable"], true);
}

#[tokio::test]
async fn twilio_is_queried_only_for_the_requested_days() {
    let (stack, log) = with_twilio(|_| page(&[], None)).await;
    stack
        .get(&format!(
            "{LIST}?limit=7&date_created_after=2024-01-01&date_created_before=2024-01-31"
        ))
        .await;
    stack.get(&format!("{LIST}?limit=7")).await;
    let log = log.lock().unwrap();
    assert!(log[0].1.contains("DateCreated%3E=2024-01-01"), "{log:?}");
    assert!(log[0].1.contains("DateCreated%3C=2024-02-0"), "{log:?}");
    assert_eq!(log[1].1, "PageSize=7");
}

#[tokio::test]
async fn rows_with_missing_fields_are_listed() {
    let (stack, _) = with_twilio(|request| {
        if request.uri().path().contains(".mp3") {
            return StatusCode::NOT_FOUND.into_response();
        }
        let rows = json!([
            {"sid": sid(1)},
            {"sid": sid(2), "status": "on-hold", "duration": "-1", "price": -0.0025, "date_created": "soon", "channels": null, "new_field": {}},
        ]);
        axum::Json(json!({"recordings": rows})).into_response()
    })
    .await;
    let list = stack.get(LIST).await;
    assert_eq!(sids(&list), [sid(1), sid(2)]);
    let row = &list.body["recordings"][1];
    assert_eq!(
        (&row["duration"], &row["price"], &row["date_created"]),
        (&Value::Null, &json!("-0.0025"), &Value::Null)
    );
    assert_eq!(row["account_sid"], demo::ACCOUNT_SID);
    assert_eq!(list.body["summary"]["in_progress"], 2);
}

/// A stack whose Twilio secret has this text, or does not exist.
async fn with_secret(text: Option<&str>) -> TestStack {
    let stack = TestStack::with_environment([("TWILIO_SECRET", "other")]).await;
    if let Some(text) = text {
        let secrets = stack.aws().secrets_manager();
        secrets
            .create_secret()
            .name("other")
            .secret_string(text)
            .send()
            .await
            .unwrap();
    }
    stack
}

#[tokio::test]
async fn unusable_credentials_are_reported_without_their_values() {
    for secret in [
        None,
        Some("not JSON, hunter2"),
        Some(r#"{"account_sid":"AC1234567890abcdef"}"#),
        Some(r#"{"account_sid":"AC1234567890abcdef","auth_token":""}"#),
        Some(r#"{"account_sid":"hunter2","auth_token":"hunter2"}"#),
    ] {
        let stack = with_secret(secret).await;
        let failed = stack.get(LIST).await;
        let error = failed.twilio_error(500, "twilio_not_configured");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(stack.stack.twilio.requests(), []);
    }
}

#[tokio::test]
async fn an_api_key_of_the_account_is_used_in_place_of_its_token() {
    let secret = json!({
        "account_sid": demo::ACCOUNT_SID,
        "api_key_sid": "SK0123456789abcdef0123456789abcdef",
        "api_key_secret": "key secret",
    });
    let stack = with_secret(Some(&secret.to_string())).await;
    stack
        .stack
        .twilio
        .add_api_key("SK0123456789abcdef0123456789abcdef", "key secret");
    stack.stack.twilio.add(recording(1, "completed"));
    assert_eq!(sids(&stack.get(LIST).await), [sid(1)]);
    assert!(stack.stack.twilio.requests().iter().all(|request| request.authorized));
}
