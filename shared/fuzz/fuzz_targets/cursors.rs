//! Cursors of lists and page tokens of Twilio's list. The first line of an input is a cursor, the second one a position, the third one a filter, and
//! the fourth one the query string of a request with a page token.

#![no_main]
#![allow(dead_code)]

// The query is private to its function.
#[path = "../../../functions/list-twilio-recordings/src/query.rs"]
mod query;

use std::sync::LazyLock;

use lambda_http::{Request, http::StatusCode};
use libfuzzer_sys::fuzz_target;
use query::{Position, RecordingFilter};
use serde_json::json;
use shared::{
    calls::{Cursor, ListFilter, ListOrder},
    http::{ApiError, ErrorFormat, respond},
};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    cursor(line(), line(), line());
    page_token(line());
});

fn cursor(received: &str, position: &str, phone: &str) {
    let filters = [
        ListFilter::default(),
        ListFilter {
            phone: Some(phone.to_owned()),
            ..ListFilter::default()
        },
    ];
    let orders = [
        (ListOrder::Newest, ListOrder::Oldest),
        (ListOrder::Oldest, ListOrder::Newest),
    ];
    for (filter, other) in [(&filters[0], &filters[1]), (&filters[1], &filters[0])] {
        for (order, reverse) in orders {
            if let Some(cursor) = Cursor::decode(received, filter, order) {
                assert_eq!(cursor.encode(filter, order), received, "a cursor has one encoding");
            }
            let Ok(cursor) = serde_json::from_value::<Cursor>(position.into()) else {
                return;
            };
            let text = cursor.encode(filter, order);
            if let Some(decoded) = Cursor::decode(&text, filter, order) {
                assert_eq!(decoded, cursor);
                assert_eq!(Cursor::decode(&text, filter, reverse), None);
                assert_eq!(Cursor::decode(&text, other, order), None);
            }
        }
    }
}

fn page_token(query: &str) {
    let Some((position, token)) = read(query) else { return };
    let parameters = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "page_token");
    let mut again = form_urlencoded::Serializer::new(String::new());
    again.extend_pairs(parameters).append_pair("page_token", &token);
    assert_eq!(
        read(&again.finish()),
        Some((position, token.clone())),
        "a token is read back"
    );
    let other = format!("page_token={token}&status=completed");
    assert!(
        read(&other).is_none() || query.contains("status"),
        "a token is bound to its filter"
    );
}

/// The position in the query string of a request, and the token that would be made of it.
fn read(query: &str) -> Option<(Position, String)> {
    let request = Request::default();
    let mut request = request;
    *request.uri_mut() = format!("/?{query}").parse().ok()?;
    let mut found = None;
    let answer = RUNTIME.block_on(respond(ErrorFormat::Twilio, request, |request| {
        let read = || {
            let filter = RecordingFilter::parse(&request.query)?;
            Ok::<_, ApiError>(
                filter
                    .start(&request.query)?
                    .map(|position| (filter.token(&position), position)),
            )
        };
        let result = read().map(|read| {
            found = read.map(|(token, position)| (position, token));
            (StatusCode::OK, json!({}))
        });
        async move { result }
    }));
    assert!(answer.status() == StatusCode::OK || answer.status() == StatusCode::BAD_REQUEST);
    found
}
