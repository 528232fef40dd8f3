//! The main loop of a Lambda function.

use std::convert::Infallible;

use lambda_http::{Adapter, Body, Error, Request, Response, request::LambdaRequest};
use lambda_runtime::{Context, LambdaEvent, service_fn, tower::ServiceExt};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    config::{ConfigError, Env},
    invocation::on_behalf_of,
    log::{self, json_error},
    metrics::{Metrics, counted},
};

/// Runs a function for HTTP requests: creates the state once and then calls `handle` for each request.
pub async fn serve<S: Sync + 'static, F: Future<Output = Response<Body>> + Send>(
    state: impl AsyncFnOnce(&Env) -> Result<S, ConfigError>,
    handle: impl Fn(&'static S, Request) -> F,
) -> Result<(), Error> {
    let (state, metrics) = start(state).await?;
    let service = service_fn(move |request| {
        let answer = counted(metrics, handle(state, request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    lambda_runtime::run(Adapter::from(service).map_request(with_valid_uri)).await
}

/// Runs a function for other events: creates the state once and then calls `handle` for each event. The id of an invocation is that of the request
/// in the log, unless a message has one of its own.
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
    let (state, metrics) = start(state).await?;
    let service = service_fn(move |event: LambdaEvent<Value>| {
        let id = event.context.request_id.clone();
        // The runtime would log and return the parser's message, which quotes values.
        let payload = serde_json::from_value(event.payload).map_err(|error| json_error(&error));
        let done = payload.map(|payload| handle(state, payload, event.context));
        let done = async move {
            let done = match done {
                Ok(done) => done.await.map_err(|error| error.into().to_string()),
                Err(error) => Err(error),
            };
            // The runtime logs an error outside of the request's span.
            done.inspect_err(|error| tracing::error!(error, "the event was not processed"))
        };
        let done = counted(metrics, on_behalf_of(&id, None, done));
        async move { done.await.map_err(Error::from) }
    });
    lambda_runtime::run(service).await
}

/// Creates the state, which lives as long as the process. Reads `METRICS_NAMESPACE`.
async fn start<S: 'static>(
    state: impl AsyncFnOnce(&Env) -> Result<S, ConfigError>,
) -> Result<(&'static S, Option<&'static Metrics>), ConfigError> {
    log::start();
    let env = Env::process();
    let metrics = Metrics::on_stdout(env.optional("METRICS_NAMESPACE"));
    let metrics = metrics.map(|metrics| &*Box::leak(Box::new(metrics)));
    Ok((Box::leak(Box::new(state(&env).await?)), metrics))
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
