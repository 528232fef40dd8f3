//! Cross-origin requests, as an HTTP API with a `CorsConfiguration` answers them:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html>

use axum::{body::Body, response::Response};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};

use crate::template::CorsConfiguration;

/// The permissions of the template, and the origins to which a deployment gives them.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    pub(super) origins: Vec<String>,
    pub(super) configuration: CorsConfiguration,
}

impl Cors {
    /// The origin of a request, if it is allowed: as it is sent back.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.origins.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?;
        let is_allowed = self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text));
        is_allowed.then(|| origin.clone())
    }

    /// The gateway's own answer to a preflight request. Without origins, `OPTIONS` is a method without a route.
    pub(super) fn preflight(&self, parts: &Parts) -> Option<Response> {
        if self.origins.is_empty() || parts.method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Some(origin) = self.allowed(&parts.headers) {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_METHODS,
                &self.configuration.methods,
            );
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                &self.configuration.headers,
            );
            set(
                headers,
                header::ACCESS_CONTROL_MAX_AGE,
                &self.configuration.max_age.to_string(),
            );
        }
        Some(response)
    }

    /// Adds the headers to an answer. The gateway removes those of the function, if there is a configuration.
    pub(super) fn apply(&self, request: &HeaderMap, response: &mut Response) {
        if let Some(origin) = self.allowed(request) {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(
                headers,
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                &self.configuration.exposed,
            );
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
