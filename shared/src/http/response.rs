//! Runs a handler, converts its result to an HTTP response and writes the request's log line.

use std::{sync::Arc, time::Duration};

use lambda_http::{
    Body, Request, RequestExt, Response,
    http::{HeaderName, HeaderValue, Method, StatusCode},
    request::RequestContext,
};
use tokio::time::Instant;

use super::{
    error::{ApiError, ErrorFormat, ErrorLog},
    query::Query,
    reply::Reply,
    request::{ApiRequest, Noted, request_id},
};
use crate::{
    invocation::on_behalf_of,
    limits::Allowance,
    metrics::{self, Metric},
    panics::caught,
};

/// The maximum size of a response body in bytes. Lambda's limit of 6 MB applies to the JSON that contains the body with its quotes escaped.
const MAX_RESPONSE_BODY: usize = 5_000_000;
/// Time reserved before the invocation's deadline for sending the response.
const RESPONSE_MARGIN: Duration = Duration::from_millis(1500);
/// The time for a response if the invocation has no deadline, which happens only outside Lambda.
const DEFAULT_BUDGET: Duration = Duration::from_secs(26);

/// Responds to a request: parses it, calls `handler`, converts an error to `format`, and writes the log line. A panic of the handler is a 500 as
/// any other error.
pub fn respond<R: Into<Reply>, F: Future<Output = Result<R, ApiError>>>(
    format: ErrorFormat,
    request: Request,
    handler: impl FnOnce(ApiRequest) -> F,
) -> impl Future<Output = Response<Body>> {
    respond_with(Query::parse, format, request, handler)
}

/// The same for a sender whose query string this API does not define: a provider's signed webhook, or a link that people pass on. It may have
/// other parameters, repeated names, and bytes that are not UTF-8.
pub fn respond_leniently<R: Into<Reply>, F: Future<Output = Result<R, ApiError>>>(
    request: Request,
    handler: impl FnOnce(ApiRequest) -> F,
) -> impl Future<Output = Response<Body>> {
    respond_with(
        |query| Ok(Query::lenient(query)),
        ErrorFormat::Recordings,
        request,
        handler,
    )
}

/// The same for a page that people open, whose errors are pages as well. Mail programs and messengers add parameters to links, which are ignored.
pub fn respond_with_page<R: Into<Reply>, F: Future<Output = Result<R, ApiError>>>(
    request: Request,
    handler: impl FnOnce(ApiRequest) -> F,
) -> impl Future<Output = Response<Body>> {
    respond_with(|query| Ok(Query::lenient(query)), ErrorFormat::Page, request, handler)
}

fn respond_with<R: Into<Reply>, F: Future<Output = Result<R, ApiError>>>(
    parse: impl FnOnce(&str) -> Result<Query, ApiError>,
    format: ErrorFormat,
    request: Request,
    handler: impl FnOnce(ApiRequest) -> F,
) -> impl Future<Output = Response<Body>> {
    let log = RequestLog::new(&request);
    let (request_id, invocation_id) = (log.request_id.clone(), log.invocation_id.clone());
    let answer = answer(log, parse, format, request, handler);
    on_behalf_of(&request_id, invocation_id.as_deref(), answer)
}

async fn answer<R: Into<Reply>, F: Future<Output = Result<R, ApiError>>>(
    log: RequestLog,
    parse: impl FnOnce(&str) -> Result<Query, ApiError>,
    format: ErrorFormat,
    request: Request,
    handler: impl FnOnce(ApiRequest) -> F,
) -> Response<Body> {
    let deadline = deadline(&request);
    let is_head = request.method() == Method::HEAD;
    let noted = log.noted.clone();
    let result = async {
        let query = parse(request.uri().query().unwrap_or_default())?;
        let reply = handler(ApiRequest::new(request, query, deadline, noted)).await?;
        within_limit(reply.into())
    };
    let result = match tokio::time::timeout_at(deadline + RESPONSE_MARGIN / 2, caught(result)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => Err(ApiError::internal("internal_error", "Unexpected error occurred").caused_by(panicked)),
        Err(_) => Err(ApiError::unavailable(
            "timeout",
            "The request took too long. Try again, or request less at once.",
        )),
    };
    metrics::count(Metric::Requests);
    let mut response = match result {
        Ok(reply) => {
            log.log_success(reply.status);
            reply.into()
        }
        Err(error) => {
            if let Some(allowance) = error.allowance() {
                log.noted.set_allowance(allowance);
            }
            let (response, error) = error.into_response(format, &log.request_id);
            log.log_error(&error);
            response
        }
    };
    if let Some(allowance) = log.noted.allowance() {
        set_limit_headers(&mut response, allowance);
    }
    log.noted.finish().await;
    if is_head {
        *response.body_mut() = Body::Empty;
    }
    response
}

/// Says in headers which limit the request counts for and what remains of it (draft-ietf-httpapi-ratelimit-headers).
fn set_limit_headers(response: &mut Response<Body>, allowance: Allowance) {
    let Allowance {
        policy,
        per_minute,
        remaining,
        reset,
    } = allowance;
    let seconds = reset.as_secs_f64().ceil();
    for (name, value) in [
        (
            HeaderName::from_static("ratelimit-policy"),
            format!("\"{policy}\";q={per_minute};w=60"),
        ),
        (
            HeaderName::from_static("ratelimit"),
            format!("\"{policy}\";r={remaining};t={seconds}"),
        ),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}

fn size(body: &Body) -> usize {
    body.as_ref().len()
}

/// The response, unless it is too large to be sent.
pub(super) fn within_limit(reply: Reply) -> Result<Reply, ApiError> {
    match size(&reply.body) <= MAX_RESPONSE_BODY {
        true => Ok(reply),
        false => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "answer_too_large",
            format!(
                "The response would have {} bytes; at most {MAX_RESPONSE_BODY} can be sent. Request less: without words or segments, or with format=text, srt or vtt.",
                size(&reply.body)
            ),
        )),
    }
}

/// The log line of a request. It contains the route and not the path, because a path can contain a customer's number.
struct RequestLog {
    request_id: String,
    invocation_id: Option<String>,
    method: Method,
    route: String,
    noted: Arc<Noted>,
    began: Instant,
}

impl RequestLog {
    fn new(request: &Request) -> Self {
        let context = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => Some(context),
            _ => None,
        };
        let route_key = context
            .and_then(|context| context.route_key.as_deref())
            .unwrap_or_default();
        let invocation_id = request.lambda_context_ref().map(|context| context.request_id.clone());
        Self {
            request_id: request_id(request),
            invocation_id,
            method: request.method().clone(),
            route: route_key.rsplit(' ').next().unwrap_or_default().to_owned(),
            noted: Arc::default(),
            began: Instant::now(),
        }
    }

    fn log_success(&self, status: StatusCode) {
        tracing::info!(
            method = %self.method,
            route = self.route,
            key_id = self.noted.key_id(),
            status = status.as_u16(),
            ms = Instant::now().duration_since(self.began).as_millis() as u64,
            "request answered"
        );
    }

    fn log_error(&self, error: &ErrorLog) {
        let (status, ms) = (
            error.status.as_u16(),
            Instant::now().duration_since(self.began).as_millis() as u64,
        );
        let (route, key_id) = (&self.route, self.noted.key_id());
        let (method, code, cause) = (&self.method, &error.code, &error.cause);
        match error.is_fault {
            true => tracing::error!(%method, route, key_id, status, ms, %code, cause, "request failed"),
            // The alarm in template.yaml subtracts responses with `expected` from the number of 5xx responses.
            false => {
                let expected = error.status.is_server_error();
                tracing::info!(%method, route, key_id, status, ms, %code, cause, expected, "request refused");
            }
        }
    }
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
                .saturating_sub(RESPONSE_MARGIN)
        });
    Instant::now() + budget
}
