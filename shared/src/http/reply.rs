//! Successful responses.

use lambda_http::{
    Body, Response,
    http::{HeaderValue, StatusCode, header},
};
use serde::Serialize;

const JSON: &str = "application/json";

/// A successful response.
pub struct Reply {
    pub(super) status: StatusCode,
    content_type: &'static str,
    pub(super) body: String,
}

impl Reply {
    /// 200 with a body of this media type.
    pub fn text(content_type: &'static str, body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body,
        }
    }
}

/// A JSON response with this status.
impl<T: Serialize> From<(StatusCode, T)> for Reply {
    fn from((status, value): (StatusCode, T)) -> Self {
        match serde_json::to_string(&value) {
            Ok(body) => Self {
                status,
                content_type: JSON,
                body,
            },
            Err(error) => {
                tracing::error!(%error, "the response can't be serialized as JSON");
                let message = "Unexpected error occurred";
                let body = format!(r#"{{"error":"{message}","detail":"{message}","code":"internal_error"}}"#);
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    content_type: JSON,
                    body,
                }
            }
        }
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::new(Body::Text(reply.body));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        // Responses contain presigned URLs and transcripts of customers.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
