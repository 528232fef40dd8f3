//! OpenAI's errors.

use std::error::Error as _;

use axum::{
    body::Body,
    extract::multipart::MultipartError,
    http::{Response, StatusCode, header},
};
use http_body_util::LengthLimitError;
use serde_json::json;

/// The maximum size of a request body in bytes, including multipart framing (OpenAI's limit, 25 MiB).
pub const MAX_BODY_BYTES: u64 = 26_214_400;

/// An error in OpenAI's format.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) kind: &'static str,
    pub(super) param: Option<&'static str>,
    pub(super) code: Option<&'static str>,
}

impl Refusal {
    pub(super) fn bad_request(
        param: Option<&'static str>,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Refusal {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: "invalid_request_error",
            param,
            code,
        }
    }

    pub(super) fn too_large(bytes: u64) -> Self {
        let message = format!("Maximum content size limit ({MAX_BODY_BYTES}) exceeded ({bytes} bytes read)");
        Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            message,
            kind: "server_error",
            param: None,
            code: None,
        }
    }

    pub(super) fn undecodable() -> Self {
        Refusal::bad_request(
            Some("file"),
            Some("invalid_value"),
            "Audio file might be corrupted or unsupported",
        )
    }

    pub(super) fn response(&self) -> Response<Body> {
        let error = json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code });
        respond(self.status, "application/json", json!({ "error": error }).to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        let message = format!("The stand-in could not keep the upload in a temporary file: {error}");
        Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message,
            kind: "server_error",
            param: None,
            code: None,
        }
    }
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if inner.is::<LengthLimitError>() {
                return Refusal::too_large(MAX_BODY_BYTES + 1);
            }
            cause = inner.source();
        }
        Refusal::bad_request(
            None,
            None,
            format!("Could not parse multipart form: {}", error.body_text()),
        )
    }
}

pub(super) fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
