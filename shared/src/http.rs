//! Where requests become values and errors become responses.

use std::{borrow::Cow, convert::Infallible, fmt, ops::RangeInclusive, time::Duration};

use lambda_http::{
    Adapter, Body, Error, Request, RequestExt, Response,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    request::{LambdaRequest, RequestContext},
};
use lambda_runtime::{LambdaEvent, Service, service_fn, tower::ServiceExt};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    calls::CallsError, dispatch::DispatchId, egress::EgressError, playback::PlaybackError, recordings::RecordingsError,
    secrets::SecretError, transcription::EnqueueError, transcripts::TranscriptsError, twilio::TwilioError,
};

const JSON: &str = "application/json";
/// The largest body that is accepted.
const MAX_BODY: usize = 64 * 1024;
/// The largest answer: Lambda's limit of 6 MB is on the JSON that the answer is wrapped in, with its quotes escaped.
const MAX_ANSWER: usize = 5_000_000;
/// Kept back from the invocation's deadline, for the answer to get out.
const ANSWER_MARGIN: Duration = Duration::from_millis(1500);
/// Assumed when the invocation has no deadline, which only happens outside Lambda.
const DEFAULT_BUDGET: Duration = Duration::from_secs(26);

/// The two API documents, which differ in the shape of their errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `/api/twilio/*`: `{"error", "details"?}`.
    Twilio,
    /// `/recordings*`: `{"detail"}`.
    Recordings,
}

/// An answer that is not a success. `message` and `details` are for the caller, the cause is for the log only.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    details: Option<String>,
    retry: Option<Option<Duration>>,
    cause: Option<String>,
}

impl ApiError {
    /// An error with this status, stable code and sentence for the caller.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            details: None,
            retry: None,
            cause: None,
        }
    }

    /// 400: the caller can mend the request; the sentence says how.
    pub fn bad_request(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404.
    pub fn not_found(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 404 for a path inside a greedy route that leads nowhere.
    pub fn no_such_path() -> Self {
        Self::not_found("path_not_found", "There is no such path in this API.")
    }

    /// 500: the deployment or something it depends on is at fault, and trying again will not help by itself.
    pub fn internal(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message)
    }

    /// 503: something this depends on does not answer right now.
    pub fn unavailable(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retryable(None)
    }

    /// What Twilio's error is for a caller: 404 for what is not there, else 500, to be tried again where that may help.
    pub fn from_twilio(error: TwilioError, message: impl Into<String>) -> Self {
        let answer = match error {
            TwilioError::NotFound => Self::not_found(error.code(), message),
            _ => Self::internal(error.code(), message),
        };
        answer
            .transient(error.is_transient(), error.retry_after())
            .caused_by(error)
    }

    /// Adds the second sentence that the Twilio document calls `details`.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Says that trying again may help, and when if that is known.
    pub fn retryable(mut self, after: Option<Duration>) -> Self {
        self.retry = Some(after);
        self
    }

    /// [`ApiError::retryable`], if the cause is transient.
    pub fn transient(self, transient: bool, after: Option<Duration>) -> Self {
        match transient {
            true => self.retryable(after),
            false => self,
        }
    }

    /// What happened, for the log. Must hold no secret, URL or customer data.
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    fn into_response(self, family: Family, request_id: &str) -> Response<Body> {
        let status = self.status.as_u16();
        match &self.cause {
            _ if self.status.is_server_error() => {
                tracing::error!(
                    request_id,
                    status,
                    code = %self.code,
                    cause = self.cause,
                    "request failed"
                );
            }
            _ => tracing::info!(
                request_id,
                status,
                code = %self.code,
                cause = self.cause,
                "request refused"
            ),
        }
        let (error, detail) = match family {
            Family::Twilio => (Some(self.message), None),
            Family::Recordings => (None, Some(self.message)),
        };
        let body = ErrorBody {
            error,
            detail,
            details: self.details,
            code: &self.code,
            request_id,
            retryable: self.retry.is_some().then_some(true),
        };
        let mut response = Response::from(Reply::from((self.status, body)));
        if let Some(after) = self.retry.flatten() {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// An error as both documents print it, each with a field of its own, and with what every error carries besides.
#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
}

/// One request, its query string parsed.
pub struct Call {
    /// The query string.
    pub query: Query,
    /// When the answer has to be under way: the invocation's deadline less a margin.
    pub deadline: Instant,
    request: Request,
}

impl Call {
    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Whether the `Prefer` header asks for this (RFC 7240).
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

    /// A variable of the route's path, as it stands there.
    fn path_parameter(&self, name: &str) -> Option<&str> {
        self.request.path_parameters_ref()?.first(name)
    }

    /// Refuses every tail of a greedy route (`{proxy+}`) but `expected`, with any number of slashes around it.
    /// On a route of its own a function has no tail, and this does nothing.
    pub fn expect_tail(&self, expected: &str) -> Result<(), ApiError> {
        match self.path_parameter("proxy") {
            Some(tail) if decoded(tail.trim_matches('/'))? != expected => Err(ApiError::no_such_path()),
            _ => Ok(()),
        }
    }

    /// The first part of a path `{name}/{last}`, percent-decoded: the route's variable `name`. On the route above it, the tail of a greedy
    /// route has both parts, with any number of slashes after them. Any other path leads nowhere.
    pub fn segment_before(&self, name: &str, last: &str) -> Result<String, ApiError> {
        let tail = self.path_parameter("proxy").map(|tail| tail.trim_end_matches('/'));
        let from_tail = || tail?.strip_suffix(last)?.strip_suffix('/');
        let segment = self.path_parameter(name).or_else(from_tail);
        match segment.filter(|segment| !segment.is_empty() && !segment.contains('/')) {
            Some(segment) => decoded(segment),
            None => Err(ApiError::no_such_path()),
        }
    }

    /// The last part of the path, percent-decoded: the route's variable `name`, or the tail of a greedy route without its trailing slashes.
    /// A tail of several parts leads nowhere.
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

    /// The JSON object in the body, or an empty one for an empty body.
    pub fn json_if_any<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        match self.body()?.is_empty() {
            true => Ok(T::default()),
            false => self.json(),
        }
    }

    /// The body's bytes, as they were sent.
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

    /// The query string, as it was sent.
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
        // A JSON array would otherwise be read as the fields in order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(not_an_object());
        }
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                // It may quote a field's name, which can be as long as the body.
                let error = error.to_string();
                let short: String = error.chars().take(200).collect();
                let more = if short.len() < error.len() { "…" } else { "" };
                ApiError::bad_request("invalid_body", format!("The body can't be used: {short}{more}."))
            }
            _ => ApiError::bad_request("invalid_json", format!("The body is not valid JSON: {error}.")),
        })
    }
}

/// The tail of the greedy route that the request came by, without the slashes around it.
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

/// The parameters of a query string, each at most once.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    fn parse(raw: &str) -> Result<Self, ApiError> {
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| {
                    ApiError::bad_request(
                        "invalid_query",
                        "The query string must be UTF-8; this one has bytes that are not.",
                    )
                })
        };
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(ApiError::bad_request(
                    "repeated_parameter",
                    format!("{} may be given only once.", shown(&name)),
                ));
            }
            parameters.push((name, decode(value)?));
        }
        Ok(Self(parameters))
    }

    /// The parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Refuses every parameter that is not in `accepted`; `api_key` always is.
    pub fn only(&self, accepted: &[&str]) -> Result<(), ApiError> {
        match self
            .0
            .iter()
            .find(|(name, _)| name != "api_key" && !accepted.contains(&name.as_str()))
        {
            None => Ok(()),
            Some((name, _)) => {
                let known = if accepted.is_empty() {
                    "none besides api_key".to_owned()
                } else {
                    accepted.join(", ")
                };
                Err(ApiError::bad_request(
                    "unknown_parameter",
                    format!(
                        "{} is not a parameter of this endpoint; accepted: {known}.",
                        shown(name)
                    ),
                ))
            }
        }
    }

    /// A whole number within `range`, or `default` when the parameter is absent.
    pub fn integer(&self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> Result<u64, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten();
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            invalid_parameter(name, text, &format!("a whole number from {least} to {most}"))
        })
    }
}

/// 400 for what is not a recording SID.
pub fn invalid_recording_sid() -> ApiError {
    ApiError::bad_request(
        "invalid_recording_sid",
        "recording_sid must be RE and 16 to 32 hexadecimal digits, like RE1234567890abcdef.",
    )
}

/// 400 for what is not a dispatch id.
pub fn invalid_dispatch_id() -> ApiError {
    let sentence = format!("dispatch_id must be {}.", DispatchId::EXPECTED);
    ApiError::bad_request("invalid_dispatch_id", sentence)
}

/// 400 for a parameter whose value can't be used.
pub fn invalid_parameter(name: &str, value: &str, accepted: &str) -> ApiError {
    ApiError::bad_request(
        "invalid_parameter",
        format!("{name} must be {accepted}; it was {}.", shown(value)),
    )
}

/// A caller's text, quoted, escaped and short enough to be shown back.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The documented error of a deployment that names no recordings bucket.
pub fn s3_missing() -> ApiError {
    ApiError::internal(
        "s3_not_configured",
        "S3 configuration missing. Recording URLs not available.",
    )
}

impl From<CallsError> for ApiError {
    fn from(error: CallsError) -> Self {
        Self::unavailable(
            "database_unavailable",
            "The index of calls does not answer right now. Try again shortly.",
        )
        .caused_by(error)
    }
}

impl From<EnqueueError> for ApiError {
    fn from(error: EnqueueError) -> Self {
        let message = "The transcription can't be queued right now. Try again shortly.";
        Self::unavailable("queue_unavailable", message).caused_by(error)
    }
}

impl From<TranscriptsError> for ApiError {
    fn from(error: TranscriptsError) -> Self {
        Self::unavailable(
            "database_unavailable",
            "Stored transcripts can't be reached right now. Try again shortly.",
        )
        .caused_by(error)
    }
}

impl From<RecordingsError> for ApiError {
    fn from(error: RecordingsError) -> Self {
        match error {
            RecordingsError::Calls(error) => error.into(),
            RecordingsError::Egress(error) => error.into(),
        }
    }
}

impl From<EgressError> for ApiError {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::NotFound => Self::not_found("recording_not_found", "The recording is no longer in the bucket."),
            EgressError::NoSuchBucket => s3_missing(),
            EgressError::AccessDenied => Self::internal(
                "storage_access_denied",
                "This deployment may not list its recordings bucket. Its role needs s3:ListBucket on the recordings prefix.",
            ),
            EgressError::Unavailable(_) => {
                Self::unavailable("storage_unavailable", "Recordings can't be looked up right now. Try again shortly.")
            }
        }
        .caused_by(error)
    }
}

impl From<PlaybackError> for ApiError {
    fn from(error: PlaybackError) -> Self {
        match error {
            PlaybackError::Secret(SecretError::Unavailable(..)) => Self::unavailable(
                "signer_unavailable",
                "Recording URLs can't be signed right now. Try again shortly.",
            ),
            PlaybackError::Secret(_) | PlaybackError::Address(_) | PlaybackError::Signing(_) => Self::internal(
                "signer_not_configured",
                "Recording URLs can't be signed: this deployment's signing keys are not usable.",
            ),
        }
        .caused_by(error)
    }
}

/// A success, ready to be sent.
pub struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Reply {
    /// 200 with a text of this media type.
    pub fn text(content_type: &'static str, body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body,
        }
    }
}

/// JSON with this status.
impl<T: Serialize> From<(StatusCode, T)> for Reply {
    fn from((status, value): (StatusCode, T)) -> Self {
        match serde_json::to_string(&value) {
            Ok(body) => Self {
                status,
                content_type: JSON,
                body,
            },
            Err(error) => {
                tracing::error!(%error, "answer can't be written as JSON");
                let message = "Unexpected error occurred";
                let body = format!(r#"{{"error":"{message}","detail":"{message}","code":"internal_error"}}"#);
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    content_type: JSON,
                    body,
                }
            }
        }
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::new(Body::Text(reply.body));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        // Answers hold presigned URLs and customers' words.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Answers one request: parses it, calls `handler`, and turns an error into the family's error shape.
pub async fn respond<R: Into<Reply>, F: Future<Output = Result<R, ApiError>>>(
    family: Family,
    request: Request,
    handler: impl FnOnce(Call) -> F,
) -> Response<Body> {
    let request_id = request_id(&request);
    let deadline = deadline(&request);
    let result = async {
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        handler(Call {
            query,
            deadline,
            request,
        })
        .await
    };
    let result = tokio::time::timeout_at(deadline + ANSWER_MARGIN / 2, result)
        .await
        .unwrap_or_else(|_| {
            Err(ApiError::unavailable(
                "timeout",
                "The answer took too long. Try again, or ask for less at once.",
            ))
        });
    let result = result.map(R::into).and_then(|reply: Reply| match reply.body.len() <= MAX_ANSWER {
        true => Ok(reply),
        false => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "answer_too_large",
            format!(
                "The answer has {} bytes; at most {MAX_ANSWER} can be sent. Ask for less: without words or segments, or with format=text, srt or vtt.",
                reply.body.len()
            ),
        )),
    });
    match result {
        Ok(reply) => {
            tracing::info!(request_id, status = reply.status.as_u16(), "request answered");
            reply.into()
        }
        Err(error) => error.into_response(family, &request_id),
    }
}

fn request_id(request: &Request) -> String {
    let from_gateway = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    from_gateway
        .or_else(|| request.lambda_context_ref().map(|context| context.request_id.clone()))
        .unwrap_or_default()
}

fn deadline(request: &Request) -> Instant {
    let budget = request
        .lambda_context_ref()
        .filter(|context| context.deadline > 0)
        .map_or(DEFAULT_BUDGET, |context| {
            context
                .deadline()
                .duration_since(std::time::SystemTime::now())
                .unwrap_or_default()
                .saturating_sub(ANSWER_MARGIN)
        });
    Instant::now() + budget
}

/// Runs a function: answers the events of its Lambda environment with `handler` until the environment ends.
pub async fn run<F>(mut handler: impl FnMut(Request) -> F) -> Result<(), Error>
where
    F: Future<Output = Response<Body>> + Send,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    lambda_runtime::run(Adapter::from(service).map_request(with_valid_uri)).await
}

/// Runs a function that answers requests with `handler` and takes other events with `other`, until its environment ends.
pub async fn run_with_events<T, F, G, E>(handler: impl Fn(Request) -> F, other: impl Fn(T) -> G) -> Result<(), Error>
where
    T: DeserializeOwned,
    F: Future<Output = Response<Body>> + Send,
    G: Future<Output = Result<(), E>>,
    E: Into<Error>,
{
    let (handler, other) = (&handler, &other);
    let service = service_fn(move |event: LambdaEvent<serde_json::Value>| async move {
        if event.payload.get("requestContext").is_none() {
            other(serde_json::from_value(event.payload)?)
                .await
                .map_err(Into::into)?;
            return Ok::<_, Error>(serde_json::Value::Null);
        }
        let request: LambdaRequest = serde_json::from_str(&event.payload.to_string())?;
        let answer = service_fn(|request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let mut adapter = Adapter::from(answer);
        let answered = adapter
            .call(with_valid_uri(LambdaEvent::new(request, event.context)))
            .await;
        let answered = answered.unwrap_or_else(|impossible| match impossible {});
        Ok(serde_json::to_value(answered)?)
    });
    lambda_runtime::run(service).await
}

/// Percent-encodes what the gateway passes on in `rawPath` and `rawQueryString` but `http::Uri` refuses:
/// `lambda_http` panics on it, and bad input must not become a 500.
fn with_valid_uri(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    const REFUSED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'<')
        .add(b'>')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload {
        for text in [&mut request.raw_path, &mut request.raw_query_string]
            .into_iter()
            .flatten()
        {
            *text = utf8_percent_encode(text, REFUSED).to_string();
        }
    }
    event
}
