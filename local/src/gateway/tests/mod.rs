mod requests;
mod responses;
mod routes;

use std::sync::{Arc, Mutex};

use lambda_http::{
    Body as LambdaBody, Request as LambdaRequest, RequestExt, Response as LambdaResponse, http::Request as HttpRequest,
    request::RequestContext, tower::ServiceExt,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::template::TEMPLATE;

fn gateway() -> Gateway {
    Gateway::from_template(TEMPLATE).unwrap()
}

fn chosen<'a>(gateway: &'a Gateway, method: &str, path: &'a str) -> Option<(&'a str, String)> {
    route::find(&gateway.routes, method, path).map(|target| (target.route.function.as_str(), target.route.key()))
}

/// Sends a request to an API whose functions only record their calls.
async fn call(request: HttpRequest<Body>) -> (Response, Option<(String, LambdaRequest)>) {
    let seen = Arc::new(Mutex::new(None));
    let router = {
        let seen = Arc::clone(&seen);
        gateway().router(move |function, request| {
            *seen.lock().unwrap() = Some((function, request));
            async { LambdaResponse::new(LambdaBody::Empty) }
        })
    };
    let response = router.oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap().take();
    (response, seen)
}

/// The request that the function receives.
async fn received(request: HttpRequest<Body>) -> LambdaRequest {
    let (response, seen) = call(request).await;
    assert_eq!(response.status(), 200);
    seen.expect("the function was called").1
}

fn get(target: &str) -> HttpRequest<Body> {
    HttpRequest::get(target)
        .header("host", "localhost:8000")
        .body(Body::empty())
        .unwrap()
}

fn post(body: impl Into<Body>) -> HttpRequest<Body> {
    HttpRequest::post("/api/twilio/transcript/")
        .header("host", "localhost:8000")
        .body(body.into())
        .unwrap()
}

async fn json_body(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn assert_refused(response: Response, status: u16, message: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(json_body(response).await, json!({ "message": message }));
}
