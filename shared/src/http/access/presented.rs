//! What a request presents: an API key, or the session of one.

use jiff::Timestamp;
use lambda_http::http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{api_key::is_mistyped, session::Session};
use crate::http::{query::Query, request::ApiRequest};

/// The header with the API key.
const HEADER: &str = "x-api-key";

/// What a request presents: the hash of an API key, or a session.
pub(super) enum Presented {
    Key([u8; 32]),
    Session(Session),
}

impl Presented {
    /// The key in the request's header or else in its query, or else the session in its cookie. A text that can't be a key counts as none.
    pub(super) fn of(request: &ApiRequest, now: Timestamp) -> Option<Self> {
        match presented_key(request.headers(), &request.query) {
            Some(key) => Self::key(key),
            None => Session::presented(request.headers(), request.is_secure(), now).map(Self::Session),
        }
    }

    /// The key in the request's header.
    pub(super) fn in_header(request: &ApiRequest) -> Option<Self> {
        let key = request.headers().get(HEADER).map(HeaderValue::as_bytes);
        Self::key(key.filter(|key| !key.is_empty())?)
    }

    fn key(key: &[u8]) -> Option<Self> {
        (!is_mistyped(key)).then(|| Self::Key(Sha256::digest(key).into()))
    }

    /// Whether this is the key with this hash, or a session of it. The comparison takes constant time.
    pub(super) fn is_of(&self, key_hash: &[u8; 32]) -> bool {
        match self {
            Self::Key(hash) => hash.ct_eq(key_hash).into(),
            Self::Session(session) => session.is_of(key_hash),
        }
    }
}

/// The key from the header or else from the query parameter.
fn presented_key<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a [u8]> {
    match headers.get(HEADER) {
        Some(value) => Some(value.as_bytes()),
        None => query.get("api_key").map(str::as_bytes),
    }
    .filter(|key| !key.is_empty())
}
