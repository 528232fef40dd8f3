//! The account's state and the API.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::sync::watch;

use super::{
    error::{error, json_response, json_text, not_found, status_error},
    fault::{Fault, Logged},
    list::{self, query_pairs},
    media::{ChannelsUnavailable, Extension, Media},
    recording::Recording,
};

struct Inner {
    account_sid: String,
    /// Accepted user names and passwords.
    credentials: Mutex<Vec<(String, String)>>,
    /// The recordings, newest first.
    recordings: Mutex<Vec<Recording>>,
    log: watch::Sender<Vec<Logged>>,
    /// Part of a path, the fault, and how often it still occurs (`None`: always).
    faults: Mutex<Vec<(String, Fault, Option<usize>)>>,
    /// Each call's SID and called number.
    calls: Mutex<Vec<(String, String)>>,
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
        let (recordings, log, faults, calls) = Default::default();
        Twilio {
            inner: Arc::new(Inner {
                account_sid,
                credentials,
                recordings,
                log,
                faults,
                calls,
            }),
        }
    }

    /// Also accepts this API key (`SK...` and its secret).
    pub fn add_api_key(&self, sid: impl Into<String>, secret: impl Into<String>) {
        lock(&self.inner.credentials).push((sid.into(), secret.into()));
    }

    /// Adds a recording or replaces the one with the same SID.
    pub fn add(&self, recording: Recording) {
        let mut recordings = lock(&self.inner.recordings);
        recordings.retain(|known| known.sid != recording.sid);
        let at = recordings.partition_point(|known| known.date_created >= recording.date_created);
        recordings.insert(at, recording);
    }

    /// Adds an outbound call to this number.
    pub fn add_call(&self, call_sid: impl Into<String>, to: impl Into<String>) {
        lock(&self.inner.calls).push((call_sid.into(), to.into()));
    }

    /// Removes a recording.
    pub fn remove(&self, sid: &str) {
        lock(&self.inner.recordings).retain(|known| known.sid != sid);
    }

    /// All requests so far, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.inner.log.borrow().clone()
    }

    /// Waits until there have been `count` requests.
    pub async fn wait_for_requests(&self, count: usize) {
        // This fails only without a sender, which `self` owns.
        let _ = self.inner.log.subscribe().wait_for(|log| log.len() >= count).await;
    }

    /// Injects a fault into requests whose path contains `path_contains`, `times` times or (`None`) until [`Self::clear_faults`]. Of several
    /// matching faults the first injected one is used.
    pub fn fault(&self, path_contains: impl Into<String>, fault: Fault, times: Option<usize>) {
        lock(&self.inner.faults).push((path_contains.into(), fault, times));
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.inner.faults).clear();
    }

    /// The router of the API, to be served at the root of a host.
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
            Some(resource) if method == Method::DELETE => self.delete(resource, path),
            Some(_) if method != Method::GET && method != Method::HEAD => {
                error(StatusCode::METHOD_NOT_ALLOWED, 20004, "Method not allowed")
            }
            Some("Recordings.json") => {
                list::page(&self.inner.account_sid, &lock(&self.inner.recordings), request.uri())
            }
            Some(resource) if resource.starts_with("Calls/") => {
                let calls = lock(&self.inner.calls);
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

    /// Deletes a recording. Twilio keeps its metadata for a while.
    fn delete(&self, resource: &str, path: &str) -> Response<Body> {
        let sid = resource
            .strip_prefix("Recordings/")
            .and_then(|file| file.strip_suffix(".json"));
        let mut recordings = lock(&self.inner.recordings);
        let found = recordings
            .iter_mut()
            .find(|recording| Some(recording.sid.as_str()) == sid);
        match found.filter(|recording| recording.status != "deleted") {
            Some(recording) => {
                "deleted".clone_into(&mut recording.status);
                recording.media = Media::None;
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            None => not_found(path),
        }
    }

    /// Returns `RE....json`, or the media `RE....mp3`, `RE....wav` or `RE...`.
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
            "json" => return json_response(StatusCode::OK, &recording.row(&self.inner.account_sid)),
            "mp3" => Extension::Mp3,
            "wav" => Extension::Wav,
            _ => return not_found(path),
        };
        let channels = match query_pairs(request.uri())
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
            Err(ChannelsUnavailable) => error(
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
    let intended = || {
        if authorized {
            twilio.answer(&request)
        } else {
            status_error(StatusCode::UNAUTHORIZED, path)
        }
    };
    match twilio.take_fault(path) {
        None => intended(),
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
        Some(Fault::Truncate) => half(intended(), cut()),
        Some(Fault::Stall) => half(intended(), stream::pending()),
        Some(Fault::NoContentLength) => {
            let (mut head, body) = intended().into_parts();
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from_stream(body.into_data_stream()))
        }
    }
}

/// The end of a body whose connection breaks.
fn cut() -> impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static {
    stream::once(async {
        // Lets the server send the first half before it drops the connection.
        tokio::task::yield_now().await;
        Err(axum::Error::new(std::io::Error::other("cut by a fault")))
    })
}

/// The same response with the full length in its headers, half of the body, and `end` in place of the rest.
fn half(
    response: Response<Body>,
    end: impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static,
) -> Response<Body> {
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
    Response::from_parts(head, Body::from_stream(half.chain(end)))
}
