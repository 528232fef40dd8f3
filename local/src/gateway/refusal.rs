//! Errors of the gateway itself.

use axum::{body::Body, response::Response};
use lambda_http::http::{HeaderValue, StatusCode, header};

/// An error that the gateway returns without invoking a function.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    BadRequest,
    NotFound,
    PayloadTooLarge,
    HeadersTooLarge,
    FunctionFailed,
    FunctionTimedOut,
}

impl Refusal {
    pub(super) fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "Bad Request"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not Found"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request Header Fields Too Large",
            ),
            Self::FunctionFailed => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            Self::FunctionTimedOut => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        };
        let mut response = Response::new(Body::from(serde_json::json!({ "message": message }).to_string()));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
