//! The HTTP API of `template.yaml` on this machine.
//!
//! Routes, functions and timeouts are read from the template. A request is converted to an API Gateway HTTP API event (payload format 2.0) and
//! passed to the function through `lambda_http`'s parser. Errors are those of API Gateway: 404 without a route, 413 over the payload limit, 500
//! if the function crashes, 503 if it exceeds its timeout.

mod cors;
mod event;
mod refusal;
mod route;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lambda_http::{
    Context, RequestExt,
    http::{HeaderName, HeaderValue, header, request::Parts},
};

use cors::Cors;
use refusal::Refusal;
use route::Target;

use crate::template::{self, Route, TemplateError};

/// API Gateway's limit for a request's payload, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// Lambda's limit for the event of a synchronous invocation, in bytes.
const MAX_EVENT: usize = 6 * 1024 * 1024;
/// API Gateway's limit for the request line and the headers together, in bytes.
const MAX_HEAD: usize = 10_240;
/// API Gateway's timeout for an integration.
const MAX_DURATION: Duration = Duration::from_secs(30);

/// An HTTP API with its routes and functions.
#[derive(Clone, Debug)]
pub struct Gateway {
    routes: Vec<Route>,
    cors: Cors,
    /// The time until the deadline of each invocation in place of the function's timeout.
    time: Option<Duration>,
}

impl Gateway {
    /// Reads the `HttpApi` events of every function of a SAM template.
    ///
    /// # Errors
    /// Those of [`template::routes`].
    pub fn from_template(yaml: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            routes: template::routes(yaml)?,
            time: None,
            cors: Cors {
                origins: Vec::new(),
                configuration: template::cors(yaml)?,
            },
        })
    }

    /// Lets pages of these origins call the API, as the parameter `CorsAllowedOrigins` does.
    #[must_use]
    pub fn with_cors_origins(mut self, origins: Vec<String>) -> Self {
        self.cors.origins = origins;
        self
    }

    /// Gives each invocation a deadline after this time. A function that misses it is still waited for, until its own timeout.
    #[must_use]
    pub fn with_deadline(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// The router of the API.
    ///
    /// `invoke` is called with the function's name (the last folder of its `CodeUri`) and the request as `lambda_http` passes it to a handler,
    /// including the Lambda context with the deadline. It runs in a separate task: a panic counts as a crashed function, and a client that
    /// disconnects does not stop it.
    pub fn router<F, Fut>(self, invoke: F) -> axum::Router
    where
        F: Fn(String, lambda_http::Request) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = lambda_http::Response<lambda_http::Body>> + Send,
    {
        let gateway = Arc::new(self);
        axum::Router::new().fallback(move |request: Request| {
            let (gateway, invoke) = (Arc::clone(&gateway), invoke.clone());
            async move { gateway.answer(request, invoke).await }
        })
    }

    async fn answer<F, Fut>(&self, request: Request, invoke: F) -> Response
    where
        F: Fn(String, lambda_http::Request) -> Fut + Send + 'static,
        Fut: Future<Output = lambda_http::Response<lambda_http::Body>> + Send,
    {
        let started = Instant::now();
        let request_id = request_id();
        let (parts, body) = request.into_parts();
        if let Some(preflight) = self.cors.preflight(&parts) {
            return preflight;
        }
        let target = route::find(&self.routes, parts.method.as_str(), parts.uri.path());
        let route_key = target
            .as_ref()
            .map_or_else(|| "-".to_owned(), |target| target.route.key());

        let result = match target {
            Some(target) => forward(&parts, body, &target, &request_id, self.time, invoke).await,
            None => Err(Refusal::NotFound),
        };
        let mut response = result.unwrap_or_else(Refusal::into_response);
        self.cors.apply(&parts.headers, &mut response);

        tracing::info!(
            request_id,
            route_key,
            status = response.status().as_u16(),
            latency_ms = Instant::now().duration_since(started).as_millis(),
            "request"
        );
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response
                .headers_mut()
                .insert(HeaderName::from_static("apigw-requestid"), value);
        }
        response
    }
}

async fn forward<F, Fut>(
    parts: &Parts,
    body: Body,
    target: &Target<'_>,
    request_id: &str,
    time: Option<Duration>,
    invoke: F,
) -> Result<Response, Refusal>
where
    F: Fn(String, lambda_http::Request) -> Fut + Send + 'static,
    Fut: Future<Output = lambda_http::Response<lambda_http::Body>> + Send,
{
    if head_size(parts) > MAX_HEAD {
        return Err(Refusal::HeadersTooLarge);
    }
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Refusal::PayloadTooLarge),
        Err(_) => return Err(Refusal::BadRequest),
    };
    let source = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip());
    let event = event::build(parts, &body, target, request_id, source)
        .ok_or(Refusal::BadRequest)?
        .to_string();
    if event.len() > MAX_EVENT {
        return Err(Refusal::PayloadTooLarge);
    }

    let timeout = target.route.timeout.min(MAX_DURATION);
    let context = context(request_id, time.unwrap_or(timeout));
    let function = target.route.function.clone();
    let invocation = tokio::spawn(tokio::time::timeout(timeout, async move {
        match lambda_http::request::from_str(&event) {
            Ok(request) => Ok(invoke(function, request.with_lambda_context(context)).await),
            Err(error) => Err(error),
        }
    }));
    match invocation.await {
        Ok(Ok(Ok(response))) => Ok(to_client(response)),
        Ok(Ok(Err(error))) => {
            tracing::error!(request_id, %error, "lambda_http can't parse the event");
            Err(Refusal::FunctionFailed)
        }
        Ok(Err(_)) => Err(Refusal::FunctionTimedOut),
        Err(_panicked) => Err(Refusal::FunctionFailed),
    }
}

fn head_size(parts: &Parts) -> usize {
    let request_line = parts.method.as_str().len() + parts.uri.to_string().len() + " HTTP/1.1 ".len();
    request_line
        + parts
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum::<usize>()
}

fn context(request_id: &str, timeout: Duration) -> Context {
    let deadline = (SystemTime::now() + timeout)
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut context = Context::default();
    context.request_id = request_id.to_owned();
    context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    context
}

/// A random id in the format of a UUID, like Lambda's request ids.
fn request_id() -> String {
    let id = format!("{:032x}", fastrand::u128(..));
    format!(
        "{}-{}-4{}-8{}-{}",
        &id[..8],
        &id[8..12],
        &id[13..16],
        &id[17..20],
        &id[20..]
    )
}

fn to_client(response: lambda_http::Response<lambda_http::Body>) -> Response {
    let mut response = response.map(|body| Body::from(body.to_vec()));
    for hop in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        response.headers_mut().remove(hop);
    }
    response
}

#[cfg(test)]
mod tests;
