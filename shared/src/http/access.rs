//! API keys and their scopes.
//!
//! The secret contains only hashes: `{"keys":[{"id":"ops","sha256":"<SHA-256 of the key in hex>","scopes":["*"],"expires_at":null}]}`.

use std::time::Duration;

use jiff::Timestamp;
use lambda_http::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{convert::SecretUse, error::ApiError, query::Query, request::ApiRequest};
use crate::{
    clients::{
        aws::Aws,
        secrets::{Secret, SecretError},
    },
    config::{ConfigError, Env},
};

/// The header with the API key.
const HEADER: &str = "x-api-key";
/// An unknown key causes the secret to be read again, because the key may be new, but not more often than this: requests with invalid keys must
/// not cause calls to Secrets Manager.
const UNKNOWN_KEY_REFRESH: Duration = Duration::from_secs(30);

/// The scopes that a key's `scopes` can list; `*` stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
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
    fn name(self) -> &'static str {
        match self {
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

    /// Checks that the request has a key with this scope. The log contains the key's id and never the key.
    pub async fn check(&self, request: &ApiRequest, scope: Scope) -> Result<(), ApiError> {
        let Self::Keys(secret) = self else { return Ok(()) };
        let presented = presented_key(request.headers(), &request.query).ok_or_else(unauthorized)?;
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let now = Timestamp::now();
        let mut key = secret.get().await.map_err(unavailable)?.find(&digest, now);
        if key.is_none() {
            key = secret
                .refresh(UNKNOWN_KEY_REFRESH)
                .await
                .map_err(unavailable)?
                .find(&digest, now);
        }
        let key = key.ok_or_else(unauthorized)?;
        if !key
            .scopes
            .iter()
            .any(|granted| granted == "*" || granted == scope.name())
        {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!("This API key lacks the scope {}.", scope.name()),
            ));
        }
        request.set_key_id(&key.id);
        Ok(())
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
    /// Finds the valid key with this hash. All keys are compared in constant time, even after a match, so that timing reveals nothing.
    fn find(&self, digest: &[u8; 32], now: Timestamp) -> Option<Key> {
        let mut found = None;
        for key in &self.0 {
            let is_valid = key.expires_at.is_none_or(|end| now < end);
            if bool::from(key.sha256.ct_eq(digest)) && is_valid {
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

    fn digest(key: &str) -> [u8; 32] {
        Sha256::digest(key).into()
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
