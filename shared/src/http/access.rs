//! API keys and their scopes, and the sessions of the console that stand for a key.
//!
//! The secret contains only hashes: `{"keys":[{"id":"ops","sha256":"<SHA-256 of the key in hex>","scopes":["*"],"expires_at":null}]}`.

use std::time::Duration;

use jiff::Timestamp;
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    convert::SecretUse,
    error::ApiError,
    query::Query,
    request::ApiRequest,
    session::{self, Session},
};
use crate::{
    clients::{
        aws::Aws,
        secrets::{Secret, SecretError},
    },
    config::{ConfigError, Env},
    time::to_millis,
};

/// The header with the API key.
const HEADER: &str = "x-api-key";
/// An unknown key causes the secret to be read again, because the key may be new, but not more often than this: requests with invalid keys must
/// not cause calls to Secrets Manager.
const UNKNOWN_KEY_REFRESH: Duration = Duration::from_secs(30);

/// The scopes that a key's `scopes` can list; `*` stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `recordings:archive`: copy Twilio recordings into the bucket.
    RecordingsArchive,
    /// `recordings:erase`: erase calls.
    RecordingsErase,
    /// `recordings:hold`: set how long calls are kept.
    RecordingsHold,
    /// `recordings:read`: list and play egress recordings.
    RecordingsRead,
    /// `recordings:share`: create, list and revoke links for people without a key.
    RecordingsShare,
    /// `recordings:transcribe`: transcribe egress recordings, which costs money.
    RecordingsTranscribe,
    /// `recordings:write`: report interactions.
    RecordingsWrite,
    /// `twilio:read`: list Twilio recordings.
    TwilioRead,
    /// `twilio:transcribe`: transcribe Twilio recordings, which costs money.
    TwilioTranscribe,
}

impl Scope {
    const ALL: [Self; 9] = [
        Self::RecordingsArchive,
        Self::RecordingsErase,
        Self::RecordingsHold,
        Self::RecordingsRead,
        Self::RecordingsShare,
        Self::RecordingsTranscribe,
        Self::RecordingsWrite,
        Self::TwilioRead,
        Self::TwilioTranscribe,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::RecordingsArchive => "recordings:archive",
            Self::RecordingsErase => "recordings:erase",
            Self::RecordingsHold => "recordings:hold",
            Self::RecordingsRead => "recordings:read",
            Self::RecordingsShare => "recordings:share",
            Self::RecordingsTranscribe => "recordings:transcribe",
            Self::RecordingsWrite => "recordings:write",
            Self::TwilioRead => "twilio:read",
            Self::TwilioTranscribe => "twilio:transcribe",
        }
    }
}

/// The access rule of an endpoint.
pub enum Access {
    /// No key is required: `RECORDINGS_AUTH=open`.
    Open,
    /// A key from the secret is required.
    Keys(Secret<KeySet>),
}

impl Access {
    /// Requires a key from the secret named by `API_KEYS_SECRET`.
    pub fn required(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self::Keys(Secret::new(
            aws.secrets_manager(),
            env.required("API_KEYS_SECRET")?,
        )))
    }

    /// The rule in `RECORDINGS_AUTH`: `required` (the default) or `open`.
    pub fn for_recordings(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        match env.optional("RECORDINGS_AUTH").unwrap_or("required") {
            "required" => Self::required(env, aws),
            "open" => Ok(Self::Open),
            _ => Err(ConfigError::Invalid {
                name: "RECORDINGS_AUTH",
                expected: "required or open",
            }),
        }
    }

    /// Reads the keys before the first request.
    pub async fn preload(&self) {
        if let Self::Keys(secret) = self {
            secret.preload().await;
        }
    }

    /// Checks that the request has a key with this scope, or the session of such a key. The log contains the key's id and never the key.
    pub async fn check(&self, request: &ApiRequest, scope: Scope) -> Result<(), ApiError> {
        let Self::Keys(secret) = self else { return Ok(()) };
        let now = Timestamp::now();
        let presented = Presented::of(request, now).ok_or_else(unauthorized)?;
        let key = valid_key(secret, &presented, now).await?.ok_or_else(unauthorized)?;
        if !key.has(scope) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!("This API key lacks the scope {}.", scope.name()),
            ));
        }
        if matches!(presented, Presented::Session(_)) {
            from_own_origin(request)?;
        }
        request.set_key_id(&key.id);
        Ok(())
    }

    /// Creates a session for the API key in the request's header; returns it with its cookie. A key in the URL is not accepted: a page of another
    /// site could send it with a form, and sign its visitor in with a key of its own.
    pub async fn sign_in(&self, request: &ApiRequest) -> Result<(SignedIn, HeaderValue), ApiError> {
        let Self::Keys(secret) = self else {
            return Err(unauthorized());
        };
        let now = Timestamp::now();
        let presented = request.headers().get(HEADER).map(HeaderValue::as_bytes);
        let presented = presented.filter(|key| !key.is_empty()).ok_or_else(unauthorized)?;
        let key = valid_key(secret, &Presented::Key(Sha256::digest(presented).into()), now).await?;
        let key = key.ok_or_else(unauthorized)?;
        let end = now + session::LIFETIME;
        let end = key.expires_at.map_or(end, |expires| expires.min(end));
        let cookie = session::cookie(&key.sha256, end, is_secure(request));
        let cookie = cookie.ok_or_else(|| ApiError::internal("internal_error", "Unexpected error occurred"))?;
        request.set_key_id(&key.id);
        Ok((SignedIn::of(key, end), cookie))
    }

    /// The request's session, if it has one that is valid.
    pub async fn session(&self, request: &ApiRequest) -> Result<Option<SignedIn>, ApiError> {
        let Self::Keys(secret) = self else { return Ok(None) };
        let now = Timestamp::now();
        let Some(session) = Session::presented(request.headers(), now) else {
            return Ok(None);
        };
        let end = session.end;
        let key = valid_key(secret, &Presented::Session(session), now).await?;
        Ok(key.map(|key| SignedIn::of(key, end)))
    }
}

/// The cookie by which the request's browser forgets its session.
pub fn sign_out(request: &ApiRequest) -> Option<HeaderValue> {
    session::no_cookie(is_secure(request))
}

/// Who is signed in to the console.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedIn {
    /// The id of the API key.
    key_id: String,
    /// What the key may do; `*` is written out.
    scopes: Vec<&'static str>,
    /// When the session ends.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    expires_at: String,
}

impl SignedIn {
    fn of(key: Key, end: Timestamp) -> Self {
        let scopes = Scope::ALL.into_iter().filter(|scope| key.has(*scope));
        Self {
            scopes: scopes.map(Scope::name).collect(),
            key_id: key.id,
            expires_at: to_millis(end),
        }
    }
}

/// What a request presents: the hash of an API key, or a session.
enum Presented {
    Key([u8; 32]),
    Session(Session),
}

impl Presented {
    fn of(request: &ApiRequest, now: Timestamp) -> Option<Self> {
        match presented_key(request.headers(), &request.query) {
            Some(key) => Some(Self::Key(Sha256::digest(key).into())),
            None => Session::presented(request.headers(), now).map(Self::Session),
        }
    }

    /// Whether this is the key with this hash, or a session of it. The comparison takes constant time.
    fn is_of(&self, key_hash: &[u8; 32]) -> bool {
        match self {
            Self::Key(hash) => hash.ct_eq(key_hash).into(),
            Self::Session(session) => session.is_of(key_hash),
        }
    }
}

/// The key that the request presents, if the secret contains it. The secret is read again for an unknown one.
async fn valid_key(secret: &Secret<KeySet>, presented: &Presented, now: Timestamp) -> Result<Option<Key>, ApiError> {
    let known = secret.get().await.map_err(unavailable)?.find(presented, now);
    if known.is_some() {
        return Ok(known);
    }
    let keys = secret.refresh(UNKNOWN_KEY_REFRESH).await.map_err(unavailable)?;
    Ok(keys.find(presented, now))
}

/// A browser attaches the cookie of a session by itself, so a request that changes something must come from a page of this deployment. Browsers
/// say where a request comes from in headers that pages can't set.
fn from_own_origin(request: &ApiRequest) -> Result<(), ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let origin = header("origin").and_then(|origin| origin.split_once("://"));
    let is_own = match header("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => origin.is_some_and(|(_, host)| header("host") == Some(host)),
    };
    match is_own {
        true => Ok(()),
        false => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "other_origin",
            "A session can change something only from the console itself. Send an API key in the X-API-Key header instead.",
        )),
    }
}

/// API Gateway always uses TLS; only the local gateway says otherwise.
fn is_secure(request: &ApiRequest) -> bool {
    request
        .headers()
        .get("x-forwarded-proto")
        .is_none_or(|scheme| scheme != "http")
}

/// The key from the header or else from the query parameter.
fn presented_key<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a [u8]> {
    match headers.get(HEADER) {
        Some(value) => Some(value.as_bytes()),
        None => query.get("api_key").map(str::as_bytes),
    }
    .filter(|key| !key.is_empty())
}

fn unauthorized() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "A valid API key is required, in the X-API-Key header or the api_key query parameter.",
    )
}

fn unavailable(error: SecretError) -> ApiError {
    ApiError::from_secret(error, SecretUse::ApiKeys)
}

/// The keys of the secret. An invalid entry is logged and skipped, so that a typo locks out one key and not all of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "RawKeySet")]
pub struct KeySet(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: String,
    sha256: [u8; 32],
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
}

impl Key {
    fn has(&self, scope: Scope) -> bool {
        self.scopes
            .iter()
            .any(|granted| granted == "*" || granted == scope.name())
    }
}

#[derive(Deserialize)]
struct RawKeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawKey {
    id: String,
    sha256: String,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
}

impl From<RawKeySet> for KeySet {
    fn from(raw: RawKeySet) -> Self {
        let mut keys = Vec::with_capacity(raw.keys.len());
        for (index, entry) in raw.keys.into_iter().enumerate() {
            let key = serde_json::from_value::<RawKey>(entry).ok().and_then(|raw| {
                Some(Key {
                    sha256: decode_sha256(&raw.sha256)?,
                    id: raw.id,
                    scopes: raw.scopes,
                    expires_at: raw.expires_at,
                })
            });
            match key {
                Some(key) => keys.push(key),
                None => tracing::error!(
                    index,
                    "an entry of the API keys secret does not have the documented form and is ignored"
                ),
            }
        }
        Self(keys)
    }
}

impl KeySet {
    /// Finds the valid key that is presented. All keys are compared, even after a match, so that timing reveals nothing.
    fn find(&self, presented: &Presented, now: Timestamp) -> Option<Key> {
        let mut found = None;
        for key in &self.0 {
            let is_valid = key.expires_at.is_none_or(|end| now < end);
            if presented.is_of(&key.sha256) && is_valid {
                found = Some(key);
            }
        }
        found.cloned()
    }
}

/// The hash of a key in the format of the secret: 64 lower-case hex digits.
pub fn hash_key(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

fn decode_sha256(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(key: &str) -> Presented {
        Presented::Key(Sha256::digest(key).into())
    }

    fn keys(value: serde_json::Value) -> KeySet {
        serde_json::from_value(json!({ "keys": value })).unwrap()
    }

    #[test]
    fn a_key_is_found_by_its_hash_until_it_expires() {
        let set = keys(
            json!([{"id": "ops", "sha256": hash_key("secret"), "scopes": ["*"], "expires_at": "2025-01-01T00:00:00Z"}]),
        );
        let (before, after) = (
            "2024-12-31T23:59:59Z".parse().unwrap(),
            "2025-01-01T00:00:00Z".parse().unwrap(),
        );
        assert_eq!(set.find(&digest("secret"), before).unwrap().id, "ops");
        assert!(set.find(&digest("secret"), after).is_none());
        assert!(set.find(&digest("Secret"), before).is_none());
    }

    #[test]
    fn one_broken_entry_does_not_lock_out_the_others() {
        let set = keys(json!([
            {"id": "no-hash", "scopes": ["*"]},
            {"id": "short", "sha256": "abcd", "scopes": ["*"]},
            {"id": "bad-date", "sha256": hash_key("a"), "scopes": ["*"], "expires_at": "soon"},
            {"id": "good", "sha256": hash_key("b"), "scopes": ["*"]},
        ]));
        assert!(set.find(&digest("a"), Timestamp::now()).is_none());
        assert_eq!(set.find(&digest("b"), Timestamp::now()).unwrap().id, "good");
    }

    #[test]
    fn two_keys_with_the_same_id_are_both_valid_so_that_rotation_has_no_gap() {
        let set = keys(json!([
            {"id": "ops", "sha256": hash_key("old"), "scopes": ["*"]},
            {"id": "ops", "sha256": hash_key("new"), "scopes": ["*"]},
        ]));
        for key in ["old", "new"] {
            assert!(set.find(&digest(key), Timestamp::now()).is_some());
        }
    }
}
