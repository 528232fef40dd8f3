//! An entry of the secret with the API keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::http::access::hash_key;

/// An entry of the secret, which functions read as `shared::http::access::KeySet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    sha256: String,
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) expires_at: Option<Timestamp>,
    /// Absent in entries that were written by hand or by version 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<Timestamp>,
}

impl Entry {
    pub(super) fn new(
        id: String,
        key: &str,
        scopes: Vec<String>,
        expires_at: Option<Timestamp>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            sha256: hash_key(key),
            scopes,
            expires_at,
            created_at: Some(created_at),
        }
    }

    /// The first digits of the hash, by which keys with one id are told apart.
    pub(super) fn fingerprint(&self) -> String {
        self.sha256.chars().take(8).collect()
    }

    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        self.sha256.eq_ignore_ascii_case(&other.sha256)
    }
}
