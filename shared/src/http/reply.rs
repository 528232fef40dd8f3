//! Successful responses.

use lambda_http::{
    Body, Response,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, header::InvalidHeaderValue},
};
use serde::Serialize;

use crate::log::json_error;

const JSON: &str = "application/json";

/// A successful response.
pub struct Reply {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Body,
}

impl Reply {
    fn new(status: StatusCode, content_type: &'static str, body: Body) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        // Responses contain presigned URLs and transcripts of customers.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body }
    }

    /// 200 with a body of this media type.
    pub fn text(content_type: &'static str, body: String) -> Self {
        Self::new(StatusCode::OK, content_type, Body::Text(body))
    }

    /// 200 with these bytes.
    pub fn file(content_type: &'static str, bytes: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, content_type, Body::Binary(bytes))
    }

    /// A page with this status.
    pub(super) fn page(status: StatusCode, html: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", Body::Text(html))
    }

    /// 302 to this URL, which nothing may store.
    pub fn redirect(url: &str) -> Result<Self, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_str(url)?);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(Self {
            status: StatusCode::FOUND,
            headers,
            body: Body::Empty,
        })
    }

    /// Whether the headers lead to something.
    pub(super) fn has_location(&self) -> bool {
        self.headers.contains_key(header::LOCATION)
    }

    /// Sets a header, in place of one that there is.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// A JSON response with this status.
impl<T: Serialize> From<(StatusCode, T)> for Reply {
    fn from((status, value): (StatusCode, T)) -> Self {
        match serde_json::to_string(&value) {
            Ok(body) => Self::new(status, JSON, Body::Text(body)),
            Err(error) => {
                tracing::error!(error = json_error(&error), "the response can't be serialized as JSON");
                let message = "Unexpected error occurred";
                let body = format!(r#"{{"error":"{message}","detail":"{message}","code":"internal_error"}}"#);
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, JSON, Body::Text(body))
            }
        }
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::new(reply.body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }
}
