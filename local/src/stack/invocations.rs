//! Lambda's `Invoke` for the functions for events, so that the reconciler can be run at any time:
//! `aws lambda invoke --endpoint-url http://localhost:4566 --function-name reconcile-recordings /dev/stdout`.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    body::{Bytes, to_bytes},
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};

use super::functions::Functions;

/// Lambda's limit for the event of a synchronous invocation, in bytes.
const MAX_EVENT: usize = 6 * 1024 * 1024;

/// The functions after they were started. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Invocations(Arc<OnceLock<Started>>);

struct Started {
    functions: Arc<Functions>,
    timeouts: HashMap<String, Duration>,
}

impl Invocations {
    /// Makes these functions available.
    pub(super) fn start(&self, functions: Arc<Functions>, timeouts: HashMap<String, Duration>) {
        // A stack starts its functions only once.
        let _ = self.0.set(Started { functions, timeouts });
    }

    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/2015-03-31/functions/{function}/invocations", post(invoke))
            .with_state(self.clone())
    }
}

async fn invoke(State(invocations): State<Invocations>, Path(function): Path<String>, request: Request) -> Response {
    let event = match to_bytes(request.into_body(), MAX_EVENT).await {
        Ok(body) => event(&body),
        Err(_) => {
            return error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestTooLargeException",
                "The event is too large.",
            );
        }
    };
    let Some(event) = event else {
        return error(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            "The event is not JSON.",
        );
    };
    let started = invocations.0.get();
    let Some((started, timeout)) = started.and_then(|started| Some((started, *started.timeouts.get(&function)?)))
    else {
        let message =
            format!("Function not found: {function}. Functions for events can be invoked while the API runs.");
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message);
    };
    let deadline = SystemTime::now() + timeout;
    let failed = |kind: &str, message: String| {
        let body = Json(json!({"errorType": kind, "errorMessage": message}));
        ([("x-amz-function-error", "Unhandled")], body).into_response()
    };
    match tokio::time::timeout(timeout, started.functions.deliver(&function, event, deadline)).await {
        Ok(Some(Ok(result))) => Json(result).into_response(),
        Ok(Some(Err(error))) => failed("Error", error.to_string()),
        Ok(None) => failed("Runtime.NotConfigured", format!("{function} is not configured to run")),
        Err(_) => failed(
            "Sandbox.Timedout",
            format!("the function timed out after {} s", timeout.as_secs()),
        ),
    }
}

/// The event in the body; an empty body is an empty event.
fn event(body: &Bytes) -> Option<Value> {
    match body.is_empty() {
        true => Some(json!({})),
        false => serde_json::from_slice(body).ok(),
    }
}

fn error(status: StatusCode, kind: &'static str, message: &str) -> Response {
    let body = Json(json!({"Type": "User", "Message": message}));
    (status, [("x-amzn-errortype", kind)], body).into_response()
}
