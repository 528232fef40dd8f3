//! Refusals, in the form of each upstream.

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use serde_json::json;

use super::upstream::Upstream;

const JSON: &str = "application/json";

fn response(status: u16, content_type: &str, body: String) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

fn aws(status: u16, namespace: &str, code: &str, message: &str) -> Response<Body> {
    let body = json!({"__type": format!("{namespace}#{code}"), "message": message}).to_string();
    let mut response = response(status, "application/x-amz-json-1.0", body);
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    if let Ok(value) = format!("{code};{fault}").parse() {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

fn s3(status: u16, code: &str, message: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>0A49CE4060975EAC</RequestId><HostId>host</HostId></Error>"
    );
    response(status, "application/xml", body)
}

fn twilio(status: u16, code: u32, message: &str) -> Response<Body> {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    let body = json!({"code": code, "message": message, "more_info": more, "status": status});
    response(status, JSON, body.to_string())
}

fn whisper(status: u16, kind: &str, code: Option<&str>, message: &str) -> Response<Body> {
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    response(status, JSON, body.to_string())
}

/// Too many requests.
pub(super) fn throttled(upstream: Upstream, retry_after: Option<u64>) -> Response<Body> {
    let mut refused = match upstream {
        Upstream::DynamoDb => aws(
            400,
            "com.amazonaws.dynamodb.v20120810",
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded.",
        ),
        Upstream::S3 => s3(503, "SlowDown", "Please reduce your request rate."),
        Upstream::Sqs => aws(
            400,
            "com.amazonaws.sqs",
            "RequestThrottled",
            "The request was denied due to request throttling.",
        ),
        Upstream::SecretsManager => aws(
            400,
            "com.amazonaws.secretsmanager",
            "ThrottlingException",
            "Rate exceeded",
        ),
        Upstream::Twilio => twilio(429, 20_429, "Too Many Requests"),
        Upstream::Whisper => whisper(
            429,
            "requests",
            Some("rate_limit_exceeded"),
            "Rate limit reached for whisper-1 on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
        ),
    };
    let has_header = matches!(upstream, Upstream::Twilio | Upstream::Whisper);
    if let Some(seconds) = retry_after.filter(|_| has_header) {
        refused.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    refused
}

/// An internal error.
pub(super) fn server_error(upstream: Upstream) -> Response<Body> {
    match upstream {
        Upstream::DynamoDb => aws(
            500,
            "com.amazonaws.dynamodb.v20120810",
            "InternalServerError",
            "Internal server error",
        ),
        Upstream::S3 => s3(
            500,
            "InternalError",
            "We encountered an internal error. Please try again.",
        ),
        Upstream::Sqs => aws(
            500,
            "com.amazonaws.sqs",
            "InternalFailure",
            "The request processing has failed.",
        ),
        Upstream::SecretsManager => aws(
            500,
            "com.amazonaws.secretsmanager",
            "InternalServiceError",
            "An error occurred on the server side.",
        ),
        Upstream::Twilio => twilio(500, 20_500, "An internal server error has occurred"),
        Upstream::Whisper => whisper(
            500,
            "server_error",
            None,
            "The server had an error while processing your request. Sorry about that!",
        ),
    }
}

/// The credentials may not do this.
pub(super) fn denied(upstream: Upstream) -> Response<Body> {
    let message = "User is not authorized to perform this action.";
    match upstream {
        Upstream::DynamoDb => aws(
            400,
            "com.amazonaws.dynamodb.v20120810",
            "AccessDeniedException",
            message,
        ),
        Upstream::S3 => s3(403, "AccessDenied", "Access Denied"),
        Upstream::Sqs => aws(403, "com.amazonaws.sqs", "AccessDenied", message),
        Upstream::SecretsManager => aws(400, "com.amazonaws.secretsmanager", "AccessDeniedException", message),
        Upstream::Twilio => twilio(401, 20_003, "Authenticate"),
        Upstream::Whisper => whisper(
            401,
            "invalid_request_error",
            Some("invalid_api_key"),
            "Incorrect API key provided.",
        ),
    }
}
