//! The main loop of a Lambda function.

use std::convert::Infallible;

use lambda_http::{Adapter, Body, Error, Request, Response, request::LambdaRequest};
use lambda_runtime::{Context, LambdaEvent, service_fn, tower::ServiceExt};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::request::request_id;
use crate::{
    config::{ConfigError, Env},
    invocation::on_behalf_of,
    log::{self, json_error},
    metrics::{Metrics, counted},
    panics::caught,
};

/// Runs a function for HTTP requests: creates the state once and then calls `handle` for each request.
pub async fn serve<S: Sync + 'static, F: Future<Output = Response<Body>> + Send>(
    state: impl AsyncFnOnce(&Env) -> Result<S, ConfigError>,
    handle: impl Fn(&'static S, Request) -> F,
) -> Result<(), Error> {
    let Started {
        state,
        metrics,
        function,
    } = start(state).await?;
    let service = service_fn(move |request| {
        let id = request_id(&request);
        let answer = counted(metrics, function, &id, handle(state, request));
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
    let Started {
        state,
        metrics,
        function,
    } = start(state).await?;
    let service = service_fn(move |event: LambdaEvent<Value>| {
        let id = event.context.request_id.clone();
        // The runtime would log and return the parser's message, which quotes values.
        let payload = serde_json::from_value(event.payload).map_err(|error| json_error(&error));
        let done = payload.map(|payload| handle(state, payload, event.context));
        let done = async move {
            let done = match done {
                Ok(done) => match caught(done).await {
                    Ok(done) => done.map_err(|error| error.into().to_string()),
                    // The runtime would return the message of the panic.
                    Err(panicked) => Err(panicked.to_string()),
                },
                Err(error) => Err(error),
            };
            // The runtime logs an error outside of the request's span.
            done.inspect_err(|error| tracing::error!(error, "the event was not processed"))
        };
        let done = counted(metrics, function, &id, on_behalf_of(&id, None, done));
        async move { done.await.map_err(Error::from) }
    });
    lambda_runtime::run(service).await
}

/// What lives as long as the process.
struct Started<S: 'static> {
    state: &'static S,
    metrics: Option<&'static Metrics>,
    /// The function's name.
    function: &'static str,
}

/// Creates the state. Reads `METRICS_NAMESPACE`, and `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets.
async fn start<S: 'static>(state: impl AsyncFnOnce(&Env) -> Result<S, ConfigError>) -> Result<Started<S>, ConfigError> {
    log::start();
    let env = Env::process();
    let metrics = Metrics::on_stdout(env.optional("METRICS_NAMESPACE"));
    let metrics = metrics.map(|metrics| &*Box::leak(Box::new(metrics)));
    let function = env.optional("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default().to_owned();
    Ok(Started {
        state: Box::leak(Box::new(state(&env).await?)),
        metrics,
        function: function.leak(),
    })
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
