//! `GET /api/twilio/recordings/`.

mod input;
mod media_checks;
mod paging;
mod upstream;

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

use crate::stack::{Answer, StoppedClock, TestStack, answer, pass, serve};

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
