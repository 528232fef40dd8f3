//! Requests, as API Gateway passes them on: path, query string, cookies and body. The first lines of an input are the method, the path parameter, the
//! query string and the cookie; the rest is the body.

#![no_main]
#![allow(dead_code)]

// The sessions are private to `shared`, and the bodies to their functions.
#[path = "../../../functions/request-erasure/src/request.rs"]
mod erasure;
#[path = "../../src/http/access/session.rs"]
mod session;
#[path = "../../../functions/share-recording/src/request.rs"]
mod share;

use std::sync::LazyLock;

use erasure::NewErasure;
use jiff::Timestamp;
use lambda_http::{
    Body,
    http::{HeaderMap, StatusCode, Uri, header},
    request::from_str,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use session::Session;
use share::NewShare;
use shared::{
    calls::Interaction,
    config::Env,
    erasure::Target,
    http::{
        ApiError, ApiRequest, ErrorFormat,
        access::{ApiKey, is_mistyped},
        respond, respond_leniently,
    },
    ids::DispatchId,
    phones::Phones,
    transcript_api::TranscriptOptions,
};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
static PHONES: LazyLock<Phones> =
    LazyLock::new(|| Phones::from_env(&Env::from_iter([("DEFAULT_COUNTRY", "US")])).expect("a country"));
static API_KEY: LazyLock<ApiKey> = LazyLock::new(|| ApiKey::random().expect("random bits"));
const KEY: [u8; 32] = [7; 32];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, parameter, query, cookie, body) = (line(), line(), line(), line(), line());
    cookies(cookie);
    let event = |method: &str| {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/recordings/x", "rawQueryString": query,
            "headers": {"host": "api.example.com", "content-type": "application/json", "accept-encoding": cookie, "prefer": cookie},
            "cookies": [cookie], "pathParameters": {"dispatch_id": parameter, "proxy": parameter}, "body": body, "isBase64Encoded": false,
            "requestContext": {"http": {"method": method, "path": "/recordings/x", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
                "requestId": "id", "routeKey": "$default", "stage": "$default", "timeEpoch": 0},
        })
        .to_string()
    };
    // Other bytes are escaped before `lambda_http` sees them (`serve.rs`).
    if query.contains('#')
        || format!("https://api.example.com/recordings/x?{query}")
            .parse::<Uri>()
            .is_err()
    {
        return;
    }
    // The gateway refuses other methods, and control characters in headers.
    let Ok(first) = from_str(&event(method)) else { return };
    let request = || from_str(&event(method)).expect("an event");
    let strict = answer(respond(ErrorFormat::Recordings, first, |request| async move {
        handle(&request, query, body)
    }));
    let lenient = answer(respond_leniently(request(), |request| async move {
        handle(&request, query, body)
    }));
    if strict == StatusCode::OK {
        assert_eq!(
            lenient,
            StatusCode::OK,
            "the lenient reader accepts what the strict one does"
        );
    }
});

fn answer(answered: impl Future<Output = lambda_http::Response<Body>>) -> StatusCode {
    let answer = RUNTIME.block_on(answered);
    let status = answer.status();
    assert!(!status.is_server_error(), "{answer:?}");
    if let Body::Text(text) = answer.body() {
        let value: Value = serde_json::from_str(text).expect("JSON");
        assert!(
            status.is_success() || value["code"].is_string() && value["request_id"] == "id",
            "{value}"
        );
    }
    status
}

fn handle(request: &ApiRequest, raw: &str, body: &str) -> Result<(StatusCode, Value), ApiError> {
    for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
        assert!(
            request.query.all(&name).any(|given| given == value),
            "{name} is {value}"
        );
    }
    assert_eq!(request.body()?, body.as_bytes());
    request.prefers("respond-async");
    bodies(request);
    request.accepts_gzip();
    request.query.only(&["limit", "offset", "page_token", "phone"])?;
    assert!((1..=100).contains(&request.query.integer("limit", 10, 1..=100)?));
    for segment in [
        request.last_segment("dispatch_id"),
        request.segment_before("dispatch_id", "audio"),
    ] {
        if let Some(id) = DispatchId::parse(&segment?) {
            assert!(!id.as_str().contains(['/', '%', '.']));
        }
    }
    let options: TranscriptOptions = request.json_if_any()?;
    options.options("recording_sid, ")?;
    let object: serde_json::Map<String, Value> = request.json_if_any()?;
    if let Ok(interaction) = Interaction::from_json(&object, Timestamp::UNIX_EPOCH) {
        assert!(interaction.interaction_id.is_some() || interaction.dispatch_id.is_some());
    }
    Ok((StatusCode::OK, json!({})))
}

/// What is valid is possible.
fn bodies(request: &ApiRequest) {
    if let Ok(share) = request.json::<NewShare>().and_then(|share| share.checked(2_592_000)) {
        assert!((1..=2_592_000).contains(&share.expires_in));
        assert!(share.from.unwrap_or_default() < share.to.unwrap_or(f64::INFINITY));
        assert!(share.passcode.is_none_or(|passcode| passcode.chars().count() >= 4));
    }
    let now = Timestamp::from_second(1_790_000_000).expect("a time");
    if let Ok(wanted) = request
        .json::<NewErasure>()
        .and_then(|erasure| erasure.checked(&PHONES, now))
    {
        assert!(wanted.before.is_none_or(|before| before <= now));
        if let Target::Phone(digits) = wanted.target {
            assert!((5..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
        }
    }
}

/// A session is accepted as it was made, and no other text is.
fn cookies(cookie: &str) {
    let now = Timestamp::from_second(1_790_000_000).expect("a time");
    let presented = |text: &str| {
        let headers = header::HeaderValue::from_str(text)
            .ok()
            .map(|value| HeaderMap::from_iter([(header::COOKIE, value)]));
        headers.and_then(|headers| Session::presented(&headers, true, now))
    };
    if let Some(session) = presented(cookie) {
        assert!(session.end > now && !session.is_of(&KEY), "a forged session");
    }
    let made = session::cookie(&KEY, now + session::LIFETIME, true).expect("a cookie");
    let made = made.to_str().expect("text").split(';').next().expect("a pair");
    assert!(presented(made).is_some_and(|session| session.is_of(&KEY) && !session.is_of(&[8; 32])));
    // The checksum notices one changed byte of an API key behind its prefix.
    let key = API_KEY.as_str().as_bytes();
    assert!(!is_mistyped(key));
    if let (Some(at), Some(byte)) = (cookie.len().checked_rem(key.len() - 4), cookie.bytes().last()) {
        let mut other = key.to_vec();
        other[4 + at] = byte;
        assert_eq!(is_mistyped(&other), other != key);
    }
    is_mistyped(cookie.as_bytes());
    // One byte of the cookie is another one.
    if let (Some(at), Some(byte)) = (cookie.len().checked_rem(made.len()), cookie.bytes().last()) {
        let mut other = made.as_bytes().to_vec();
        if !other[at].eq_ignore_ascii_case(&byte) {
            other[at] = byte;
            let other = String::from_utf8_lossy(&other).into_owned();
            assert!(presented(&other).is_none_or(|session| !session.is_of(&KEY)), "{other}");
        }
    }
}
