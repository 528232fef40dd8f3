//! The main loop of a Lambda function.

use std::convert::Infallible;

use lambda_http::{Adapter, Body, Error, Request, Response, request::LambdaRequest};
use lambda_runtime::{Context, LambdaEvent, service_fn, tower::ServiceExt};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

use crate::config::{ConfigError, Env};

/// Runs a function for HTTP requests: creates the state once and then calls `handle` for each request.
pub async fn serve<S: Sync + 'static, F: Future<Output = Response<Body>> + Send>(
    state: impl AsyncFnOnce(&Env) -> Result<S, ConfigError>,
    handle: impl Fn(&'static S, Request) -> F,
) -> Result<(), Error> {
    let state = start(state).await?;
    let service = service_fn(move |request| {
        let answer = handle(state, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    lambda_runtime::run(Adapter::from(service).map_request(with_valid_uri)).await
}

/// Runs a function for other events: creates the state once and then calls `handle` for each event.
pub async fn serve_events<
    S: 'static,
    T: DeserializeOwned,
    R: Serialize,
    E: Into<Error>,
    F: Future<Output = Result<R, E>>,
>(
    state: impl AsyncFnOnce(&Env) -> Result<S, ConfigError>,
    handle: impl Fn(&'static S, T, Context) -> F,
) -> Result<(), Error> {
    let state = start(state).await?;
    let service = service_fn(move |event: LambdaEvent<T>| {
        let done = handle(state, event.payload, event.context);
        async move { done.await.map_err(Into::into) }
    });
    lambda_runtime::run(service).await
}

/// Creates the state, which lives as long as the process.
async fn start<S: 'static>(state: impl AsyncFnOnce(&Env) -> Result<S, ConfigError>) -> Result<&'static S, ConfigError> {
    lambda_http::tracing::init_default_subscriber();
    let state = state(&Env::process()).await?;
    Ok(Box::leak(Box::new(state)))
}

/// Percent-encodes the characters that API Gateway passes on in `rawPath` and `rawQueryString` and that `http::Uri` rejects. `lambda_http` would
/// panic on them, and invalid input must not cause a 500.
fn with_valid_uri(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    const INVALID_IN_URI: &AsciiSet = &CONTROLS
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
            *text = utf8_percent_encode(text, INVALID_IN_URI).to_string();
        }
    }
    event
}
