//! JSON responses, including Twilio's errors.

use axum::{
    body::Body,
    http::{Response, StatusCode, header},
};
use serde_json::{Value, json};

pub(super) fn json_text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json;charset=utf-8"),
    );
    response
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    json_text(status, body.to_string())
}

pub(super) fn error(status: StatusCode, code: u32, message: &str) -> Response<Body> {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    json_response(
        status,
        &json!({ "code": code, "message": message, "more_info": more_info, "status": status.as_u16() }),
    )
}

pub(super) fn not_found(path: &str) -> Response<Body> {
    error(
        StatusCode::NOT_FOUND,
        20404,
        &format!("The requested resource {path} was not found"),
    )
}

/// Twilio's error for a status.
pub(super) fn status_error(status: StatusCode, path: &str) -> Response<Body> {
    match status.as_u16() {
        401 => {
            let mut response = error(status, 20003, "Authenticate");
            let realm = header::HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            response
        }
        404 => not_found(path),
        429 => error(status, 20429, "Too Many Requests"),
        other => error(
            status,
            20000 + u32::from(other),
            status.canonical_reason().unwrap_or("Error"),
        ),
    }
}
