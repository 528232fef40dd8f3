//! A stand-in for the part of Twilio's REST API that concerns recordings: list, fetch and media of one account, under
//! `/2010-04-01/Accounts/{account}/`. Wire format: Twilio's own, version 2010-04-01.
//!
//! It differs from the real one where that helps a demo: recordings whose status is `deleted` are listed unless `IncludeSoftDeleted=false`
//! is asked for, and a recording's `track` is in its row when it is known.

mod media;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tokio::sync::watch;

use media::Extension;
pub use media::Media;

/// One recording as Twilio knows it.
#[derive(Clone, Debug)]
pub struct Recording {
    /// `RE` and hex digits.
    pub sid: String,
    /// The parent call.
    pub call_sid: String,
    /// The conference, if it was one.
    pub conference_sid: Option<String>,
    /// `in-progress`, `paused`, `stopped`, `processing`, `completed`, `absent` or `deleted`.
    pub status: String,
    /// 1 or 2.
    pub channels: u8,
    /// What started it: `RecordVerb`, `DialVerb`, `Conference`, `OutboundAPI`, `Trunking`, `StartCallRecordingAPI`, `StartConferenceRecordingAPI`.
    pub source: String,
    /// Seconds; sent as a string.
    pub duration: Option<u32>,
    /// Sent as RFC 2822, like the other two.
    pub date_created: Timestamp,
    /// Last change.
    pub date_updated: Timestamp,
    /// When recording began.
    pub start_time: Timestamp,
    /// As Twilio writes it: a decimal in a string, usually negative.
    pub price: Option<String>,
    /// ISO 4217 code.
    pub price_unit: Option<String>,
    /// Why an `absent` one is: 16101 too short, 16102 silent.
    pub error_code: Option<u32>,
    /// `inbound`, `outbound` or `both`. The real account list never has it; sent when known.
    pub track: Option<String>,
    /// The parameters of an encrypted recording, whose media is then ciphertext.
    pub encryption_details: Option<Value>,
    /// The full URL in the customer's own storage; Twilio then has no media itself.
    pub external_media_url: Option<String>,
    /// The sound.
    pub media: Media,
}

impl Default for Recording {
    /// A completed mono recording from 2024-01-01 without media; SIDs are empty.
    fn default() -> Self {
        let date = Timestamp::constant(1_704_067_200, 0);
        Recording {
            sid: String::new(),
            call_sid: String::new(),
            conference_sid: None,
            status: "completed".into(),
            channels: 1,
            source: "OutboundAPI".into(),
            duration: Some(1),
            date_created: date,
            date_updated: date,
            start_time: date,
            price: Some("-0.00250".into()),
            price_unit: Some("USD".into()),
            error_code: None,
            track: None,
            encryption_details: None,
            external_media_url: None,
            media: Media::None,
        }
    }
}

/// What the log keeps of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Without the query.
    pub path: String,
    /// As it came; empty when there is none.
    pub query: String,
    /// Whether it had the account's credentials.
    pub authorized: bool,
}

/// A misbehaviour to order with [`Twilio::fault`].
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer in place of the right one.
    Status {
        /// HTTP status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u64>,
        /// Sent as JSON; `None` sends Twilio's own error for that status.
        body: Option<String>,
    },
    /// Never answer.
    Hang,
    /// 302 to this URL.
    Redirect(String),
    /// The right headers, half of the body, then the connection breaks.
    Truncate,
    /// The right answer without `Content-Length` (chunked).
    NoContentLength,
}

struct Inner {
    account_sid: String,
    /// User names and passwords that are let in.
    credentials: Mutex<Vec<(String, String)>>,
    /// Newest first.
    recordings: Mutex<Vec<Recording>>,
    log: watch::Sender<Vec<Logged>>,
    faults: Mutex<Vec<(String, Fault, Option<usize>)>>,
    /// Whom a call called.
    called: Mutex<Vec<(String, String)>>,
}

/// The stand-in. Clones share one state.
#[derive(Clone)]
pub struct Twilio {
    inner: Arc<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Twilio {
    /// An account without recordings.
    pub fn new(account_sid: impl Into<String>, auth_token: impl Into<String>) -> Self {
        let account_sid = account_sid.into();
        let credentials = Mutex::new(vec![(account_sid.clone(), auth_token.into())]);
        let (recordings, log, faults, called) = Default::default();
        Twilio {
            inner: Arc::new(Inner {
                account_sid,
                credentials,
                recordings,
                log,
                faults,
                called,
            }),
        }
    }

    /// Lets this API key (`SK...` and its secret) in, too.
    pub fn add_api_key(&self, sid: impl Into<String>, secret: impl Into<String>) {
        lock(&self.inner.credentials).push((sid.into(), secret.into()));
    }

    /// Adds a recording, or replaces the one with that SID.
    pub fn add(&self, recording: Recording) {
        let mut recordings = lock(&self.inner.recordings);
        recordings.retain(|known| known.sid != recording.sid);
        let at = recordings.partition_point(|known| known.date_created >= recording.date_created);
        recordings.insert(at, recording);
    }

    /// Adds an outbound call to this number.
    pub fn add_call(&self, call_sid: impl Into<String>, to: impl Into<String>) {
        lock(&self.inner.called).push((call_sid.into(), to.into()));
    }

    /// Removes a recording altogether.
    pub fn remove(&self, sid: &str) {
        lock(&self.inner.recordings).retain(|known| known.sid != sid);
    }

    /// Every request so far, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.inner.log.borrow().clone()
    }

    /// Waits until there have been `count` requests.
    pub async fn wait_for_requests(&self, count: usize) {
        // It fails only without a sender, and `self` holds that.
        let _ = self.inner.log.subscribe().wait_for(|log| log.len() >= count).await;
    }

    /// Misbehaves on requests whose path contains `path_contains`, `times` times or (`None`) until [`Self::clear_faults`].
    /// The fault ordered first wins.
    pub fn fault(&self, path_contains: impl Into<String>, fault: Fault, times: Option<usize>) {
        lock(&self.inner.faults).push((path_contains.into(), fault, times));
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        lock(&self.inner.faults).clear();
    }

    /// The API, to be served at the root of a host.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    fn authorized(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let decoded = sent
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|value| BASE64_STANDARD.decode(value).ok());
        decoded.is_some_and(|sent| {
            lock(&self.inner.credentials)
                .iter()
                .any(|(user, password)| format!("{user}:{password}").as_bytes() == sent)
        })
    }

    fn take_fault(&self, path: &str) -> Option<Fault> {
        let mut faults = lock(&self.inner.faults);
        let at = faults
            .iter()
            .position(|(part, _, times)| path.contains(part.as_str()) && *times != Some(0))?;
        if let Some(times) = &mut faults[at].2 {
            *times -= 1;
        }
        Some(faults[at].1.clone())
    }

    fn answer(&self, request: &Request) -> Response<Body> {
        let path = request.uri().path();
        let resource = path
            .strip_prefix("/2010-04-01/Accounts/")
            .and_then(|rest| rest.split_once('/'))
            .filter(|(account, _)| *account == self.inner.account_sid)
            .map(|(_, resource)| resource);
        let method = request.method();
        match resource {
            Some(_) if method != Method::GET && method != Method::HEAD => {
                error(StatusCode::METHOD_NOT_ALLOWED, 20004, "Method not allowed")
            }
            Some("Recordings.json") => self.list(request.uri()),
            Some(resource) if resource.starts_with("Calls/") => {
                let calls = lock(&self.inner.called);
                match calls.iter().find(|(sid, _)| resource == format!("Calls/{sid}.json")) {
                    Some((sid, to)) => {
                        let call = json!({"sid": sid, "to": to, "from": "+15005550006", "direction": "outbound-api"});
                        json_response(StatusCode::OK, &call)
                    }
                    None => not_found(path),
                }
            }
            Some(resource) => match resource.strip_prefix("Recordings/") {
                Some(file) => self.recording(file, request),
                None => not_found(path),
            },
            None => not_found(path),
        }
    }

    fn list(&self, uri: &Uri) -> Response<Body> {
        let query = match ListQuery::parse(uri) {
            Ok(query) => query,
            Err((code, message)) => return error(StatusCode::BAD_REQUEST, code, &message),
        };
        let recordings = lock(&self.inner.recordings);
        let rows: Vec<&Recording> = recordings.iter().filter(|recording| query.matches(recording)).collect();
        let (start, end) = match &query.token {
            None => (0, query.page_size),
            Some((after, anchor)) => match rows.iter().position(|recording| recording.sid == *anchor) {
                Some(at) if *after => (at + 1, at + 1 + query.page_size),
                Some(at) => (at.saturating_sub(query.page_size), at),
                None => return error(StatusCode::BAD_REQUEST, 21481, "Invalid PageToken"),
            },
        };
        let end = end.min(rows.len());
        let path = format!("/2010-04-01/Accounts/{}/Recordings.json", self.inner.account_sid);
        let page = &rows[start.min(end)..end];
        let next = page
            .last()
            .filter(|_| end < rows.len())
            .map(|last| query.uri(&path, query.page + 1, Some(("PA", &last.sid))));
        let previous = page
            .first()
            .filter(|_| start > 0)
            .map(|first| query.uri(&path, query.page.saturating_sub(1), Some(("PB", &first.sid))));
        json_response(
            StatusCode::OK,
            &json!({
                "first_page_uri": query.uri(&path, 0, None),
                "next_page_uri": next,
                "previous_page_uri": previous,
                "page": query.page,
                "page_size": query.page_size,
                "start": query.page * query.page_size,
                "end": (query.page * query.page_size + page.len()).saturating_sub(1),
                "uri": uri.path_and_query().map_or(path.as_str(), |uri| uri.as_str()),
                "recordings": page.iter().map(|recording| self.row(recording)).collect::<Vec<_>>(),
            }),
        )
    }

    fn row(&self, recording: &Recording) -> Value {
        let account = &self.inner.account_sid;
        let uri = format!("/2010-04-01/Accounts/{account}/Recordings/{}", recording.sid);
        let mut row = json!({
            "account_sid": account,
            "api_version": "2010-04-01",
            "call_sid": recording.call_sid,
            "conference_sid": recording.conference_sid,
            "date_created": rfc2822(recording.date_created),
            "date_updated": rfc2822(recording.date_updated),
            "start_time": rfc2822(recording.start_time),
            "duration": recording.duration.map(|seconds| seconds.to_string()),
            "sid": recording.sid,
            "price": recording.price,
            "price_unit": recording.price_unit,
            "status": recording.status,
            "channels": recording.channels,
            "source": recording.source,
            "error_code": recording.error_code,
            "uri": format!("{uri}.json"),
            "encryption_details": recording.encryption_details,
            "subresource_uris": {
                "add_on_results": format!("{uri}/AddOnResults.json"),
                "transcriptions": format!("{uri}/Transcriptions.json"),
            },
            "media_url": recording.external_media_url.clone().unwrap_or_else(|| format!("https://api.twilio.com{uri}")),
        });
        if let Some(track) = &recording.track {
            row["track"] = json!(track);
        }
        row
    }

    /// `RE....json`, or the media `RE....mp3`, `RE....wav`, `RE...`.
    fn recording(&self, file: &str, request: &Request) -> Response<Body> {
        let path = request.uri().path();
        let (sid, extension) = file.split_once('.').unwrap_or((file, "wav"));
        let found = lock(&self.inner.recordings)
            .iter()
            .find(|recording| recording.sid == sid)
            .cloned();
        let Some(recording) = found else {
            return not_found(path);
        };
        let extension = match extension {
            "json" => return json_response(StatusCode::OK, &self.row(&recording)),
            "mp3" => Extension::Mp3,
            "wav" => Extension::Wav,
            _ => return not_found(path),
        };
        let channels = match query(request.uri())
            .iter()
            .find(|(name, _)| name == "RequestedChannels")
            .map(|(_, value)| value.as_str())
        {
            None => None,
            Some("1") => Some(1),
            Some("2") => Some(2),
            Some(_) => return error(StatusCode::BAD_REQUEST, 20001, "RequestedChannels must be 1 or 2"),
        };
        if recording.status != "completed" || recording.external_media_url.is_some() {
            return not_found(path);
        }
        if let Media::Status(status) = recording.media {
            return status_error(
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                path,
            );
        }
        match recording.media.file(extension, channels) {
            Ok(Some(file)) => file.respond(request.method(), request.headers()),
            Ok(None) => not_found(path),
            Err(media::ChannelsUnavailable) => error(
                StatusCode::BAD_REQUEST,
                20001,
                "The requested number of channels is not available for this recording",
            ),
        }
    }
}

async fn serve(State(twilio): State<Twilio>, request: Request) -> Response<Body> {
    let authorized = twilio.authorized(request.headers());
    let path = request.uri().path();
    let logged = Logged {
        method: request.method().to_string(),
        path: path.to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        authorized,
    };
    twilio.inner.log.send_modify(|log| log.push(logged));
    let right = || {
        if authorized {
            twilio.answer(&request)
        } else {
            status_error(StatusCode::UNAUTHORIZED, path)
        }
    };
    match twilio.take_fault(path) {
        None => right(),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status {
            status,
            retry_after,
            body,
        }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = match body {
                Some(body) => json_text(status, body),
                None => status_error(status, path),
            };
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
        Some(Fault::Redirect(url)) => Response::builder()
            .status(StatusCode::FOUND)
            .header(header::LOCATION, url)
            .body(Body::empty())
            .unwrap_or_else(|_| status_error(StatusCode::INTERNAL_SERVER_ERROR, path)),
        Some(Fault::Truncate) => truncated(right()),
        Some(Fault::NoContentLength) => {
            let (mut head, body) = right().into_parts();
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from_stream(body.into_data_stream()))
        }
    }
}

/// The same headers with the whole length, but only half of the body.
fn truncated(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    let declared = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let length: u64 = declared.or(body.size_hint().exact()).unwrap_or_default();
    head.headers.insert(header::CONTENT_LENGTH, length.into());
    let half = body.into_data_stream().scan(length / 2, |left, chunk| {
        let chunk = chunk.map(|mut chunk: Bytes| {
            chunk.truncate((*left).min(chunk.len() as u64) as usize);
            *left -= chunk.len() as u64;
            chunk
        });
        std::future::ready(Some(chunk).filter(|chunk| chunk.as_ref().map_or(true, |chunk| !chunk.is_empty())))
    });
    let cut = stream::once(async {
        // Lets the server send what it has before it drops the connection.
        tokio::task::yield_now().await;
        Err(axum::Error::new(std::io::Error::other("cut by a fault")))
    });
    Response::from_parts(head, Body::from_stream(half.chain(cut)))
}

/// The list's parameters.
#[derive(Debug)]
struct ListQuery {
    page_size: usize,
    page: usize,
    /// Whether the page lies after (`PA`) or before (`PB`) the recording with this SID.
    token: Option<(bool, String)>,
    call_sid: Option<String>,
    conference_sid: Option<String>,
    on: Option<Date>,
    from: Option<Date>,
    to: Option<Date>,
    hide_deleted: bool,
    /// The filters as they came, for the URIs of other pages.
    filters: Vec<(String, String)>,
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

impl ListQuery {
    /// The error is Twilio's code and message.
    fn parse(uri: &Uri) -> Result<Self, (u32, String)> {
        let mut parsed = ListQuery {
            page_size: 50,
            page: 0,
            token: None,
            call_sid: None,
            conference_sid: None,
            on: None,
            from: None,
            to: None,
            hide_deleted: false,
            filters: Vec::new(),
        };
        for (name, value) in query(uri) {
            let invalid = |accepted: &str| (20001, format!("{name} '{value}' is not valid: {accepted}"));
            // Twilio filters by whole days (UTC); the time of a date-time is ignored.
            let day = || {
                value
                    .get(..10)
                    .and_then(|day| day.parse().ok())
                    .ok_or_else(|| invalid("a date, YYYY-MM-DD, is expected"))
            };
            match name.as_str() {
                "PageSize" => {
                    let size = value.parse().ok().filter(|size| (1..=1000).contains(size));
                    parsed.page_size = size.ok_or_else(|| invalid("1 to 1000 is expected"))?;
                    continue;
                }
                "Page" => {
                    parsed.page = value.parse().map_err(|_| invalid("a number from 0 is expected"))?;
                    continue;
                }
                "PageToken" => {
                    let after = value.strip_prefix("PA").map(|sid| (true, sid.to_owned()));
                    let before = || value.strip_prefix("PB").map(|sid| (false, sid.to_owned()));
                    parsed.token = Some(after.or_else(before).ok_or((21481, "Invalid PageToken".to_owned()))?);
                    continue;
                }
                "DateCreated" => parsed.on = Some(day()?),
                "DateCreated>" => parsed.from = Some(day()?),
                "DateCreated<" => parsed.to = Some(day()?),
                "CallSid" => parsed.call_sid = Some(value.clone()),
                "ConferenceSid" => parsed.conference_sid = Some(value.clone()),
                "IncludeSoftDeleted" => {
                    parsed.hide_deleted = !value
                        .parse::<bool>()
                        .map_err(|_| invalid("true or false is expected"))?;
                }
                _ => continue,
            }
            parsed.filters.push((name, value));
        }
        Ok(parsed)
    }

    fn matches(&self, recording: &Recording) -> bool {
        let day = TimeZone::UTC.to_datetime(recording.date_created).date();
        self.on.is_none_or(|on| day == on)
            && self.from.is_none_or(|from| day >= from)
            && self.to.is_none_or(|to| day <= to)
            && self.call_sid.as_ref().is_none_or(|sid| recording.call_sid == *sid)
            && self
                .conference_sid
                .as_ref()
                .is_none_or(|sid| recording.conference_sid.as_ref() == Some(sid))
            && !(self.hide_deleted && recording.status == "deleted")
    }

    fn uri(&self, path: &str, page: usize, token: Option<(&str, &str)>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.filters);
        query
            .append_pair("PageSize", &self.page_size.to_string())
            .append_pair("Page", &page.to_string());
        if let Some((direction, anchor)) = token {
            query.append_pair("PageToken", &format!("{direction}{anchor}"));
        }
        format!("{path}?{}", query.finish())
    }
}

fn rfc2822(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn json_text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json;charset=utf-8"),
    );
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    json_text(status, body.to_string())
}

fn error(status: StatusCode, code: u32, message: &str) -> Response<Body> {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    json_response(
        status,
        &json!({ "code": code, "message": message, "more_info": more_info, "status": status.as_u16() }),
    )
}

fn not_found(path: &str) -> Response<Body> {
    error(
        StatusCode::NOT_FOUND,
        20404,
        &format!("The requested resource {path} was not found"),
    )
}

/// Twilio's own error for a status.
fn status_error(status: StatusCode, path: &str) -> Response<Body> {
    match status.as_u16() {
        401 => {
            let mut response = error(status, 20003, "Authenticate");
            let realm = header::HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            response
        }
        404 => not_found(path),
        429 => error(status, 20429, "Too Many Requests"),
        other => error(
            status,
            20000 + u32::from(other),
            status.canonical_reason().unwrap_or("Error"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;
    use crate::demo::CLIPS;
    use crate::tones::{Script, Wav};

    const ACCOUNT: &str = "AC1234567890abcdef";

    async fn start(recordings: impl IntoIterator<Item = Recording>) -> (Twilio, String) {
        let twilio = Twilio::new(ACCOUNT, "token");
        recordings.into_iter().for_each(|recording| twilio.add(recording));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, twilio.router()).into_future());
        (twilio, base)
    }

    /// One for each test: a test is a thread, and building a client takes longer than most of them.
    fn client() -> Client {
        let build = || {
            Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap()
        };
        thread_local!(static CLIENT: std::cell::OnceCell<Client> = const { std::cell::OnceCell::new() });
        CLIENT.with(|client| client.get_or_init(build).clone())
    }

    async fn get(url: &str) -> reqwest::Response {
        client()
            .get(url)
            .basic_auth(ACCOUNT, Some("token"))
            .send()
            .await
            .unwrap()
    }

    async fn get_json(url: &str) -> (u16, Value) {
        let response = get(url).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    fn url(base: &str, resource: &str) -> String {
        format!("{base}/2010-04-01/Accounts/{ACCOUNT}/{resource}")
    }

    fn recording(sid: &str, date: &str, media: Media) -> Recording {
        Recording {
            sid: sid.into(),
            date_created: date.parse().unwrap(),
            media,
            ..Recording::default()
        }
    }

    fn sids(page: &Value) -> Vec<&str> {
        page["recordings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["sid"].as_str().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn only_the_accounts_own_credentials_are_let_in() {
        let (twilio, base) = start([recording("RE1", "2024-01-15T10:30:00Z", Media::mp3(CLIPS[0].mp3))]).await;
        twilio.add_api_key("SK1", "secret");
        for resource in ["Recordings.json", "Recordings/RE1.json", "Recordings/RE1.mp3"] {
            let url = url(&base, resource);
            for request in [
                client().get(&url),
                client().get(&url).basic_auth(ACCOUNT, Some("wrong")),
            ] {
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 401);
                assert_eq!(response.json::<Value>().await.unwrap()["code"], 20003);
            }
            assert_eq!(
                client()
                    .get(&url)
                    .basic_auth("SK1", Some("secret"))
                    .send()
                    .await
                    .unwrap()
                    .status(),
                200
            );
        }
        let (status, body) = get_json(&format!("{base}/2010-04-01/Accounts/AC2/Recordings.json?Page=0")).await;
        assert_eq!((status, &body["code"]), (404, &json!(20404)));
        let last = Logged {
            method: "GET".into(),
            path: "/2010-04-01/Accounts/AC2/Recordings.json".into(),
            query: "Page=0".into(),
            authorized: true,
        };
        assert_eq!(twilio.requests().last(), Some(&last));
        assert!(!twilio.requests()[0].authorized);
    }

    #[tokio::test]
    async fn rows_have_twilios_types() {
        let mut known = recording("RE1", "2024-02-01T00:00:00Z", Media::None);
        known.duration = Some(45);
        let (twilio, base) = start([known.clone()]).await;
        let (status, row) = get_json(&url(&base, "Recordings/RE1.json")).await;
        assert_eq!(status, 200);
        assert_eq!(row["duration"], "45");
        assert_eq!(row["price"], "-0.00250");
        assert_eq!(row["date_created"], "Thu, 01 Feb 2024 00:00:00 +0000");
        assert_eq!(
            row["media_url"],
            "https://api.twilio.com/2010-04-01/Accounts/AC1234567890abcdef/Recordings/RE1"
        );
        assert_eq!(row.get("track"), None);
        twilio.add(Recording {
            duration: None,
            price: None,
            track: Some("both".into()),
            ..known
        });
        let (_, row) = get_json(&url(&base, "Recordings/RE1.json")).await;
        assert_eq!(
            (&row["duration"], &row["price"], &row["track"]),
            (&Value::Null, &Value::Null, &json!("both"))
        );
        let (status, body) = get_json(&url(&base, "Recordings/RE2.json")).await;
        assert_eq!((status, &body["code"]), (404, &json!(20404)));
        assert!(
            body["message"]
                .as_str()
                .unwrap()
                .contains("/Recordings/RE2.json was not found")
        );
    }

    #[tokio::test]
    async fn pages_are_followed_by_their_uris_even_when_recordings_come_and_stay_filtered() {
        let dates = (1..=28).map(|day| (format!("RE{day:02}"), format!("2024-02-{day:02}T12:00:00Z")));
        let (twilio, base) = start(dates.map(|(sid, date)| recording(&sid, &date, Media::None))).await;
        let mut next = Some(url(
            &base,
            "Recordings.json?PageSize=7&DateCreated%3E=2024-02-05&DateCreated%3C=2024-02-25",
        ));
        let mut seen = Vec::new();
        while let Some(url) = next {
            let (status, page) = get_json(&url).await;
            assert_eq!(status, 200);
            seen.extend(sids(&page).into_iter().map(str::to_owned));
            twilio.add(recording(
                &format!("NEW{}", seen.len()),
                "2024-02-25T23:00:00Z",
                Media::None,
            ));
            next = page["next_page_uri"].as_str().map(|uri| format!("{base}{uri}"));
        }
        let expected: Vec<_> = (5..=25).rev().map(|day| format!("RE{day:02}")).collect();
        assert_eq!(seen, expected);

        let (_, second) = get_json(&url(&base, "Recordings.json?PageSize=2&Page=1&PageToken=PARE28")).await;
        assert_eq!(sids(&second), ["RE27", "RE26"]);
        let (_, first) = get_json(&format!("{base}{}", second["previous_page_uri"].as_str().unwrap())).await;
        assert_eq!(sids(&first), ["RE28"]);
        assert_eq!(first["previous_page_uri"], Value::Null);
    }

    #[tokio::test]
    async fn bad_list_parameters_are_refused() {
        let (_, base) = start([]).await;
        for (query, code) in [
            ("PageSize=0", 20001),
            ("PageSize=1001", 20001),
            ("Page=-1", 20001),
            ("DateCreated%3E=yesterday", 20001),
            ("PageToken=PARE404", 21481),
            ("PageToken=junk", 21481),
        ] {
            let (status, body) = get_json(&url(&base, &format!("Recordings.json?{query}"))).await;
            assert_eq!((status, &body["code"]), (400, &json!(code)), "{query}");
        }
        let (status, page) = get_json(&url(&base, "Recordings.json?PageSize=1000")).await;
        assert_eq!(
            (status, &page["next_page_uri"], &page["page_size"]),
            (200, &Value::Null, &json!(1000))
        );
    }

    #[tokio::test]
    async fn filters_select_by_day_call_and_deletion() {
        let known = crate::demo::twilio_recordings();
        let (count, call) = (known.len(), known[3].call_sid.clone());
        let (_, base) = start(known).await;
        let listed = async |query: &str| {
            get_json(&url(&base, &format!("Recordings.json?PageSize=1000&{query}")))
                .await
                .1
        };
        assert_eq!(sids(&listed("").await).len(), count);
        assert_eq!(sids(&listed("IncludeSoftDeleted=false").await).len(), count - 2);
        assert_eq!(sids(&listed(&format!("CallSid={call}")).await).len(), 1);
        assert_eq!(sids(&listed("DateCreated=2024-01-31").await).len(), 2);
        let january = listed("DateCreated%3E=2024-01-01&DateCreated%3C=2024-01-31T00:00:00Z").await;
        assert_eq!(sids(&january).len(), 9);
        assert!(sids(&january).contains(&"RE1234567890abcdef"));
    }

    #[tokio::test]
    async fn media_is_there_only_when_completed_and_kept_at_twilio() {
        let clip = || Media::mp3(CLIPS[4].mp3);
        let date = "2024-01-15T10:30:00Z";
        let external = Recording {
            external_media_url: Some("https://b.s3.amazonaws.com/x".into()),
            ..recording("REe", date, clip())
        };
        let gone = recording("REg", date, Media::Status(410));
        let unfinished =
            ["in-progress", "paused", "stopped", "processing", "absent", "deleted"].map(|status| Recording {
                status: status.into(),
                ..recording(&format!("RE-{status}"), date, clip())
            });
        let (twilio, base) = start([recording("REm", date, clip()), external, gone]).await;
        assert_eq!(get(&url(&base, "Recordings/REe.mp3")).await.status(), 404);
        assert_eq!(get(&url(&base, "Recordings/REg.mp3")).await.status(), 410);
        for recording in unfinished {
            let path = format!("Recordings/{}.mp3", recording.sid);
            twilio.add(recording);
            let (status, body) = get_json(&url(&base, &path)).await;
            assert_eq!((status, &body["code"]), (404, &json!(20404)));
        }
        let mp3 = get(&url(&base, "Recordings/REm.mp3")).await;
        assert_eq!(mp3.headers()["content-type"], "audio/mpeg");
        assert_eq!(mp3.bytes().await.unwrap(), CLIPS[4].mp3);
        for name in ["REm.wav", "REm"] {
            let wav = get(&url(&base, &format!("Recordings/{name}"))).await;
            assert_eq!(wav.headers()["content-type"], "audio/x-wav");
            let wav = wav.bytes().await.unwrap();
            let decoded = crate::whisper::audio::decode(std::io::Cursor::new(wav), |_, _, _| {}).unwrap();
            assert_eq!((decoded.format, decoded.rate, decoded.channels), ("wave", 8000, 1));
            assert!((decoded.seconds() - f64::from(CLIPS[4].mp3_seconds)).abs() < 0.5);
        }
    }

    #[tokio::test]
    async fn channels_can_be_chosen_where_there_are_two() {
        let date = "2024-01-15T10:30:00Z";
        let dual = CLIPS[2].dual_mp3.unwrap();
        let two = Media::Mp3 {
            mono: CLIPS[2].mp3.into(),
            dual: Some(dual.into()),
        };
        let (_, base) = start([
            recording("RE1", date, Media::mp3(CLIPS[0].mp3)),
            recording("RE2", date, two),
        ])
        .await;
        let media = async |path: &str| get(&url(&base, path)).await;
        assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=2").await.status(), 400);
        assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=3").await.status(), 400);
        assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=1").await.status(), 200);
        assert_eq!(media("Recordings/RE2.mp3").await.bytes().await.unwrap(), dual);
        assert_eq!(
            media("Recordings/RE2.mp3?RequestedChannels=2")
                .await
                .bytes()
                .await
                .unwrap(),
            dual
        );
        assert_eq!(
            media("Recordings/RE2.mp3?RequestedChannels=1")
                .await
                .bytes()
                .await
                .unwrap(),
            CLIPS[2].mp3
        );
    }

    #[tokio::test]
    async fn media_answers_head_and_ranges() {
        let (_, base) = start([recording("RE1", "2024-01-15T10:30:00Z", Media::mp3(CLIPS[0].mp3))]).await;
        let url = url(&base, "Recordings/RE1.mp3");
        let length = CLIPS[0].mp3.len();
        let head = client()
            .head(&url)
            .basic_auth(ACCOUNT, Some("token"))
            .send()
            .await
            .unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["content-length"]),
            (200, &length.to_string().parse().unwrap())
        );
        for (range, status, expected) in [
            ("bytes=0-99", 206, &CLIPS[0].mp3[..100]),
            ("bytes=100-", 206, &CLIPS[0].mp3[100..]),
            ("bytes=-10", 206, &CLIPS[0].mp3[length - 10..]),
            ("bytes=99999999-", 416, &[]),
        ] {
            let request = client()
                .get(&url)
                .basic_auth(ACCOUNT, Some("token"))
                .header("range", range);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{range}");
            assert!(response.headers().contains_key("content-range"));
            assert_eq!(response.bytes().await.unwrap(), expected, "{range}");
        }
    }

    #[tokio::test]
    async fn generated_media_is_valid_silence_of_the_size_asked_for() {
        let (_, base) = start([recording(
            "RE1",
            "2024-01-15T10:30:00Z",
            Media::Generated { bytes: 400_000 },
        )])
        .await;
        let mp3 = get(&url(&base, "Recordings/RE1.mp3")).await;
        assert_eq!(mp3.content_length(), Some(400_000));
        let mp3 = mp3.bytes().await.unwrap();
        let wav = get(&url(&base, "Recordings/RE1.wav")).await.bytes().await.unwrap();
        for (bytes, format, seconds) in [(mp3, "mp3", 100.0), (wav, "wave", 25.0)] {
            assert_eq!(bytes.len(), 400_000);
            let mut loudest = 0.0_f32;
            let sink = |_, _, samples: &[f32]| loudest = samples.iter().copied().fold(loudest, f32::max);
            let decoded = crate::whisper::audio::decode(std::io::Cursor::new(bytes), sink).unwrap();
            assert_eq!((decoded.format, loudest), (format, 0.0));
            assert!((decoded.seconds() - seconds).abs() < 0.2, "{}", decoded.seconds());
        }
        let part = client()
            .get(url(&base, "Recordings/RE1.mp3"))
            .basic_auth(ACCOUNT, Some("token"));
        let part = part.header("range", "bytes=288288-288290").send().await.unwrap();
        assert_eq!(&part.bytes().await.unwrap()[..], [0xff, 0xe3, 0x48]);
    }

    #[tokio::test]
    async fn tones_have_as_many_channels_as_scripts() {
        let date = "2024-01-15T10:30:00Z";
        let [one, other] = Script::dialogue(30.0, 8);
        let mono = Wav::new(8000, [one.clone()]);
        let dual = Wav::new(8000, [one, other]);
        let day = Wav::new(8000, [Script::new(86_400.0, [(86_000.0, "river")])]);
        let (_, base) = start([
            recording("RE1", date, Media::Tones(mono.clone())),
            recording("RE2", date, Media::Tones(dual.clone())),
            recording("RE3", date, Media::Tones(day.clone())),
        ])
        .await;
        let media = async |path: &str| get(&url(&base, path)).await;
        assert_eq!(media("Recordings/RE1.mp3?RequestedChannels=2").await.status(), 400);
        for (path, wav) in [
            ("RE1.mp3", &mono),
            ("RE1.wav?RequestedChannels=1", &mono),
            ("RE2.mp3", &dual),
            ("RE2.mp3?RequestedChannels=2", &dual),
            ("RE2?RequestedChannels=1", &dual.mixed()),
        ] {
            let answer = media(&format!("Recordings/{path}")).await;
            assert_eq!(answer.headers()["content-type"], "audio/x-wav", "{path}");
            assert_eq!(answer.content_length(), Some(wav.length()), "{path}");
            assert!(answer.bytes().await.unwrap() == wav.bytes(), "{path}");
        }
        let late = client()
            .get(url(&base, "Recordings/RE3.mp3"))
            .basic_auth(ACCOUNT, Some("token"));
        let late = late
            .header("range", "bytes=1376000000-1376003999")
            .send()
            .await
            .unwrap();
        assert_eq!(late.status(), 206);
        assert!(late.bytes().await.unwrap() == day.chunk(1_376_000_000)[..4000]);
    }

    #[tokio::test]
    async fn faults_strike_where_and_as_often_as_ordered() {
        let (twilio, base) = start([recording("RE1", "2024-01-15T10:30:00Z", Media::mp3(CLIPS[0].mp3))]).await;
        let (list, media) = (url(&base, "Recordings.json"), url(&base, "Recordings/RE1.mp3"));
        twilio.fault(
            "Recordings.json",
            Fault::Status {
                status: 429,
                retry_after: Some(2),
                body: None,
            },
            Some(1),
        );
        let limited = get(&list).await;
        assert_eq!(
            (limited.status().as_u16(), &limited.headers()["retry-after"]),
            (429, &"2".parse().unwrap())
        );
        assert_eq!(limited.json::<Value>().await.unwrap()["code"], 20429);
        assert_eq!(get(&list).await.status(), 200);

        twilio.fault(".mp3", Fault::Redirect("http://elsewhere.test/x".into()), Some(1));
        assert_eq!(get(&media).await.headers()["location"], "http://elsewhere.test/x");

        twilio.fault(".mp3", Fault::Truncate, Some(1));
        let mut cut = get(&media).await;
        assert_eq!(cut.content_length(), Some(CLIPS[0].mp3.len() as u64));
        let mut received = 0;
        let end = loop {
            match cut.chunk().await {
                Ok(Some(chunk)) => received += chunk.len(),
                end => break end,
            }
        };
        assert!(end.is_err());
        assert_eq!(received, CLIPS[0].mp3.len() / 2);

        twilio.fault(".mp3", Fault::NoContentLength, Some(1));
        let chunked = get(&media).await;
        assert_eq!(chunked.content_length(), None);
        assert_eq!(chunked.bytes().await.unwrap(), CLIPS[0].mp3);

        twilio.fault("RE1", Fault::Hang, Some(1));
        let before = twilio.requests().len();
        let request = client().get(&media).basic_auth(ACCOUNT, Some("token")).send();
        let hanging = tokio::spawn(request);
        twilio.wait_for_requests(before + 1).await;
        assert_eq!(get(&media).await.status(), 200);
        assert!(!hanging.is_finished());
        hanging.abort();
    }
}
