//! Parses the query string of a request.

use axum::http::request::Parts;

pub(super) fn query(parts: &Parts) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
}
