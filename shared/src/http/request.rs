//! An HTTP request: its path, query string, headers and body.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lambda_http::{
    Request, RequestExt,
    http::{HeaderMap, Method, StatusCode, header},
    request::RequestContext,
};
use serde::de::DeserializeOwned;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::Instrument;

use super::{error::ApiError, query::Query};
use crate::limits::{Allowance, Counted};

/// The maximum size of a request body in bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long a response waits for what the request does meanwhile.
const MEANWHILE: Duration = Duration::from_secs(1);

/// An HTTP request with a parsed query string.
pub struct ApiRequest {
    /// The parsed query string.
    pub query: Query,
    /// When the response must be ready: the invocation's deadline minus a margin.
    pub deadline: Instant,
    request: Request,
    noted: Arc<Noted>,
    is_session: AtomicBool,
    is_audited: AtomicBool,
}

/// What becomes known of a request while it is handled, for its log line and the headers of its response.
#[derive(Default)]
pub(super) struct Noted {
    key_id: OnceLock<String>,
    allowance: Mutex<Option<Allowance>>,
    paid: Counted,
    meanwhile: Mutex<Vec<JoinHandle<()>>>,
}

impl Noted {
    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.get().map(String::as_str)
    }

    /// What a limit says of the request: that of requests which cost money, if it counted for that, or else the last one that was checked.
    pub(super) fn allowance(&self) -> Option<Allowance> {
        let last = || *self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        self.paid.allowance().or_else(last)
    }

    pub(super) fn set_allowance(&self, allowance: Allowance) {
        *self.allowance.lock().unwrap_or_else(PoisonError::into_inner) = Some(allowance);
    }

    /// Waits for what was begun with [`ApiRequest::meanwhile`], because a function does not run between its requests.
    pub(super) async fn finish(&self) {
        let begun = std::mem::take(&mut *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner));
        for task in begun {
            // What takes longer, or fails, is of no importance to the response.
            let _ = timeout(MEANWHILE, task).await;
        }
    }
}

impl ApiRequest {
    pub(super) fn new(request: Request, query: Query, deadline: Instant, noted: Arc<Noted>) -> Self {
        Self {
            query,
            deadline,
            request,
            noted,
            is_session: AtomicBool::new(false),
            is_audited: AtomicBool::new(false),
        }
    }

    /// Stores the id of the request's API key for the log line.
    pub(super) fn set_key_id(&self, id: &str) {
        self.noted.key_id.get_or_init(|| id.to_owned());
    }

    /// Stores what a limit says of the request, for the headers of the response.
    pub(super) fn set_allowance(&self, allowance: Allowance) {
        self.noted.set_allowance(allowance);
    }

    /// What the request has counted for the limit of requests that cost money.
    pub(super) fn paid(&self) -> &Counted {
        &self.noted.paid
    }

    /// Does something while the request is handled that its response does not depend on.
    pub(super) fn meanwhile(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut begun = self.noted.meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push(tokio::spawn(work.in_current_span()));
    }

    /// The id of the request's API key, once it is checked.
    pub fn key_id(&self) -> Option<&str> {
        self.noted.key_id()
    }

    /// Notes that a session of the console stands for the key.
    pub(super) fn set_session(&self) {
        self.is_session.store(true, Ordering::Relaxed);
    }

    /// Whether a session of the console stands for the key.
    pub(super) fn is_session(&self) -> bool {
        self.is_session.load(Ordering::Relaxed)
    }

    /// Notes that the audit has the request.
    pub(super) fn set_audited(&self) {
        self.is_audited.store(true, Ordering::Relaxed);
    }

    /// Whether the audit has the request.
    pub(super) fn is_audited(&self) -> bool {
        self.is_audited.load(Ordering::Relaxed)
    }

    /// The request's id, which its response and its log line have.
    pub fn request_id(&self) -> String {
        request_id(&self.request)
    }

    /// The client's IP address, as the gateway saw it.
    pub fn client_address(&self) -> Option<&str> {
        match self.request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
            _ => None,
        }
    }

    /// Whether the client uses TLS. API Gateway always does; only the local gateway says otherwise.
    pub(super) fn is_secure(&self) -> bool {
        let scheme = self.headers().get("x-forwarded-proto");
        scheme.is_none_or(|scheme| scheme != "http")
    }

    /// The method. A `HEAD` is answered like a `GET`, without the body.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// The path, as the client sent it.
    pub fn path(&self) -> &str {
        self.request.raw_http_path()
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Whether the `Prefer` header contains this preference (RFC 7240).
    pub fn prefers(&self, preference: &str) -> bool {
        let given = self
            .headers()
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok());
        given
            .flat_map(|value| value.split(','))
            .any(|given| given.trim().eq_ignore_ascii_case(preference))
    }

    /// Whether the response may be compressed with gzip.
    pub fn accepts_gzip(&self) -> bool {
        let given = self.headers().get_all(header::ACCEPT_ENCODING).iter();
        let given = given.filter_map(|value| value.to_str().ok());
        given.flat_map(|value| value.split(',')).any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            is_gzip && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    }

    /// A path parameter of the route, not decoded.
    fn path_parameter(&self, name: &str) -> Option<&str> {
        self.request.path_parameters_ref()?.first(name)
    }

    /// Rejects every path of a greedy route (`{proxy+}`) except `expected`, which may have slashes around it. On a route without `{proxy+}` this
    /// does nothing.
    pub fn expect_tail(&self, expected: &str) -> Result<(), ApiError> {
        match self.path_parameter("proxy") {
            Some(tail) if decoded(tail.trim_matches('/'))? != expected => Err(ApiError::no_such_path()),
            _ => Ok(()),
        }
    }

    /// The first segment of the path `{name}/{last}`, percent-decoded. It comes from the path parameter `name` or, on a greedy route, from
    /// `{proxy+}`, which contains both segments and possibly trailing slashes. Other paths are a 404.
    pub fn segment_before(&self, name: &str, last: &str) -> Result<String, ApiError> {
        let tail = self.path_parameter("proxy").map(|tail| tail.trim_end_matches('/'));
        let from_tail = || tail?.strip_suffix(last)?.strip_suffix('/');
        let segment = self.path_parameter(name).or_else(from_tail);
        match segment.filter(|segment| !segment.is_empty() && !segment.contains('/')) {
            Some(segment) => decoded(segment),
            None => Err(ApiError::no_such_path()),
        }
    }

    /// The last segment of the path, percent-decoded. It comes from the path parameter `name` or, on a greedy route, from `{proxy+}` without
    /// trailing slashes. A path of several segments is a 404.
    pub fn last_segment(&self, name: &str) -> Result<String, ApiError> {
        let segment = match (self.path_parameter(name), self.path_parameter("proxy")) {
            (Some(segment), _) => segment,
            (None, tail) => tail.unwrap_or_default().trim_end_matches('/'),
        };
        match segment.is_empty() || segment.contains('/') {
            true => Err(ApiError::no_such_path()),
            false => decoded(segment),
        }
    }

    /// The JSON object in the body; an empty body counts as an empty object.
    pub fn json_if_any<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        match self.body()?.is_empty() {
            true => Ok(T::default()),
            false => self.json(),
        }
    }

    /// The unchanged bytes of the body.
    pub fn body(&self) -> Result<&[u8], ApiError> {
        let bytes: &[u8] = self.request.body().as_ref();
        match bytes.len() > MAX_BODY {
            true => Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("The body has {} bytes; at most {MAX_BODY} are accepted.", bytes.len()),
            )),
            false => Ok(bytes),
        }
    }

    /// The unparsed query string.
    pub fn raw_query(&self) -> &str {
        self.request.uri().query().unwrap_or_default()
    }

    /// The JSON object in the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if let Some(content_type) = self.headers().get(header::CONTENT_TYPE) {
            let essence = content_type
                .to_str()
                .unwrap_or_default()
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
                return Err(ApiError::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_media_type",
                    "The body must be JSON, sent with the header Content-Type: application/json.",
                ));
            }
        }
        let bytes = self.body()?;
        let not_an_object = || ApiError::bad_request("invalid_json", "The body must be a JSON object.");
        // serde would otherwise accept a JSON array and read its elements as the fields in order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(not_an_object());
        }
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                // The message may quote a field's name, which can be as long as the body.
                let error = error.to_string();
                let short: String = error.chars().take(200).collect();
                let more = if short.len() < error.len() { "…" } else { "" };
                ApiError::bad_request("invalid_body", format!("The body can't be used: {short}{more}."))
            }
            _ => ApiError::bad_request("invalid_json", format!("The body is not valid JSON: {error}.")),
        })
    }
}

/// Whether the route that the gateway chose ends with this, as `GET /recordings/{dispatch_id}/audio` with `/audio`.
pub fn route_ends_with(request: &Request, end: &str) -> bool {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            context.route_key.as_deref().is_some_and(|key| key.ends_with(end))
        }
        _ => false,
    }
}

/// The id of a request: the gateway's, or that of the invocation.
pub fn request_id(request: &Request) -> String {
    let of_gateway = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    let of_lambda = || request.lambda_context_ref().map(|context| context.request_id.clone());
    of_gateway.or_else(of_lambda).unwrap_or_default()
}

/// The path below a greedy route, without slashes around it; `None` on other routes.
pub fn tail(request: &Request) -> Option<&str> {
    let tail = request.path_parameters_ref()?.first("proxy")?;
    Some(tail.trim_matches('/'))
}

fn decoded(path: &str) -> Result<String, ApiError> {
    let text = percent_encoding::percent_decode_str(path).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| {
        ApiError::bad_request(
            "invalid_path",
            "The path must be UTF-8; this one has percent-encoded bytes that are not.",
        )
    })
}
