//! API keys and their scopes, the sessions of the console that stand for a key, and how many requests each may send.
//!
//! The secret contains only hashes: `{"keys":[{"id":"ops","sha256":"<SHA-256 of the key in hex>","scopes":["*"],"expires_at":null}]}`.

mod api_key;
mod key_set;
mod keys_secret;
mod last_used;
mod presented;
mod quotas;
mod scope;
mod session;

use std::time::Duration;

use jiff::Timestamp;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

pub use api_key::{ApiKey, hash_key, is_mistyped};
pub use key_set::KeySet;
pub use keys_secret::{InvalidKey, Key, KeysSecret, StoredKey};
pub use last_used::last_use;
pub use scope::Scope;

use self::{last_used::LastUsed, presented::Presented, quotas::Quotas, session::Session};
use super::{convert::SecretUse, error::ApiError, request::ApiRequest};
use crate::{
    audit::AuditLog,
    calls::Search,
    clients::{
        aws::Aws,
        secrets::{Secret, SecretError},
    },
    config::{ConfigError, Env},
    time::to_millis,
};

/// An unknown key causes the secret to be read again, because the key may be new, but not more often than this: requests with invalid keys must
/// not cause calls to Secrets Manager.
const UNKNOWN_KEY_REFRESH: Duration = Duration::from_secs(30);

/// The access rule of an endpoint, and the audit of what is done under it.
pub struct Access {
    keys: Secret<KeySet>,
    is_open: bool,
    quotas: Quotas,
    last_used: Option<LastUsed>,
    pub(super) audit: AuditLog,
}

impl Access {
    /// Requires a key from the secret named by `API_KEYS_SECRET`.
    pub fn required(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            keys: Secret::new(aws.secrets_manager(), env.required("API_KEYS_SECRET")?),
            is_open: false,
            quotas: Quotas::from_env(env)?,
            last_used: LastUsed::from_env(env, aws),
            audit: AuditLog::from_env(env, aws)?,
        })
    }

    /// The rule in `RECORDINGS_AUTH`: [`recordings_are_open`].
    pub fn for_recordings(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            is_open: recordings_are_open(env)?,
            ..Self::required(env, aws)?
        })
    }

    /// The audit, for the function that lists it.
    pub fn audit_log(&self) -> &AuditLog {
        &self.audit
    }

    /// Reads the keys before the first request.
    pub async fn preload(&self) {
        if !self.is_open {
            self.keys.preload().await;
        }
    }

    /// Checks that the request has a key with this scope, or the session of such a key, and that it is within its limits. The log contains the
    /// key's id and never the key.
    pub async fn check(&self, request: &ApiRequest, scope: Scope) -> Result<(), ApiError> {
        let now = Timestamp::now();
        let presented = Presented::of(request, now);
        let key = match &presented {
            Some(presented) => valid_key(&self.keys, presented, now).await,
            None => Ok(None),
        };
        self.count(request, &key)?;
        let key = match key {
            Ok(Some(key)) => key,
            Ok(None) | Err(_) if self.is_open => return Ok(()),
            Ok(None) => return Err(unauthorized()),
            Err(error) => return Err(error),
        };
        if !self.is_open && !key.has(scope) {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!("This API key lacks the scope {}.", scope.name()),
            ));
        }
        if matches!(presented, Some(Presented::Session(_))) {
            from_own_origin(request)?;
            request.set_session();
        }
        self.quotas.count_paid(request, &key.id, scope)?;
        self.store_use(request, &key, now);
        Ok(())
    }

    /// Where a recording that the index does not know may be searched for a request that was checked: guessing ids without a key costs no listing
    /// of the bucket, and with one it is limited.
    pub fn search<'a>(&'a self, request: &'a ApiRequest) -> Search<'a> {
        self.quotas.search(request)
    }

    /// Creates a session for the API key in the request's header; returns it with its cookie. A key in the URL is not accepted: a page of another
    /// site could send it with a form, and sign its visitor in with a key of its own.
    pub async fn sign_in(&self, request: &ApiRequest) -> Result<(SignedIn, HeaderValue), ApiError> {
        let now = Timestamp::now();
        let key = match Presented::in_header(request) {
            Some(presented) => valid_key(&self.keys, &presented, now).await,
            None => Ok(None),
        };
        self.count(request, &key)?;
        let key = key?.ok_or_else(unauthorized)?;
        let end = now + session::LIFETIME;
        let end = key.expires_at.map_or(end, |expires| expires.min(end));
        let cookie = session::cookie(&key.sha256, end, request.is_secure());
        let cookie = cookie.ok_or_else(|| ApiError::internal("internal_error", "Unexpected error occurred"))?;
        self.store_use(request, &key, now);
        Ok((SignedIn::of(key, end), cookie))
    }

    /// The request's session, if it has one that is valid.
    pub async fn session(&self, request: &ApiRequest) -> Result<Option<SignedIn>, ApiError> {
        let now = Timestamp::now();
        let (key, end) = match Session::presented(request.headers(), request.is_secure(), now) {
            Some(session) => {
                let end = session.end;
                (valid_key(&self.keys, &Presented::Session(session), now).await, end)
            }
            None => (Ok(None), now),
        };
        self.count(request, &key)?;
        Ok(key?.map(|key| SignedIn::of(key, end)))
    }

    /// Counts a request for the key that it was found to have, or else for its address.
    fn count(&self, request: &ApiRequest, key: &Result<Option<Key>, ApiError>) -> Result<(), ApiError> {
        match key {
            Ok(Some(key)) => {
                request.set_key_id(&key.id);
                self.quotas.count_key(request, &key.id)
            }
            Ok(None) | Err(_) => self.quotas.count_address(request),
        }
    }

    /// Stores that the key was used, while the request is handled.
    fn store_use(&self, request: &ApiRequest, key: &Key, now: Timestamp) {
        if let Some(store) = self.last_used.as_ref().and_then(|uses| uses.store(key, now)) {
            request.meanwhile(store);
        }
    }
}

/// Whether recordings can be listed and played without a key: `RECORDINGS_AUTH` is `required` (the default) or `open`.
pub fn recordings_are_open(env: &Env) -> Result<bool, ConfigError> {
    match env.optional("RECORDINGS_AUTH").unwrap_or("required") {
        "required" => Ok(false),
        "open" => Ok(true),
        _ => Err(ConfigError::Invalid {
            name: "RECORDINGS_AUTH",
            expected: "required or open",
        }),
    }
}

/// The cookie by which the request's browser forgets its session.
pub fn sign_out(request: &ApiRequest) -> Option<HeaderValue> {
    session::no_cookie(request.is_secure())
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
    let scheme = if request.is_secure() { "https" } else { "http" };
    let origin = header("origin").and_then(|origin| origin.split_once("://"));
    let is_own = match header("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => origin.is_some_and(|(by, host)| by == scheme && header("host") == Some(host)),
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
