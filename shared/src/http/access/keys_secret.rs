//! The content of the secret with the API keys. Functions read it, and `cargo run -- keys` reads and changes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{api_key::hash_key, scope::Scope};

/// The secret as it is stored. Entries and fields that are not known here are kept when it is written again.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeysSecret {
    /// The entries.
    pub keys: Vec<StoredKey>,
    #[serde(flatten)]
    other_fields: Map<String, Value>,
}

/// An entry of the secret as it is stored; [`StoredKey::parse`] says whether functions accept it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredKey(Value);

/// A key of which only the hash is known.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name of the key. Two keys have the same one while the first is replaced by the second.
    pub id: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// What the key may do: names of scopes, or `*`.
    pub scopes: Vec<String>,
    /// When the key stops to be valid; never if absent.
    pub expires_at: Option<Timestamp>,
    /// When the key was created. It is absent in entries that were written by hand or by version 0.1.
    pub created_at: Option<Timestamp>,
}

/// Why functions ignore an entry. No variant contains any part of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// `id` is absent, or not a text.
    #[error("`id` is not a text")]
    Id,
    /// `sha256` is absent, or not a SHA-256 in hex.
    #[error("`sha256` is not a text of 64 hex digits")]
    Sha256,
    /// `scopes` is absent, or not a list of texts.
    #[error("`scopes` is not a list of texts")]
    Scopes,
    /// `expires_at` is something else than a time or `null`.
    #[error("`expires_at` is not a time such as 2027-01-01T00:00:00Z, or null")]
    ExpiresAt,
}

impl StoredKey {
    /// An entry for a key.
    pub fn new(
        id: &str,
        key: &str,
        scopes: &[String],
        expires_at: Option<Timestamp>,
        created_at: Option<Timestamp>,
    ) -> Self {
        let mut entry = json!({"id": id, "sha256": hash_key(key), "scopes": scopes, "expires_at": expires_at});
        if let Some(created_at) = created_at {
            entry["created_at"] = json!(created_at);
        }
        Self(entry)
    }

    /// The key, as functions read it.
    ///
    /// # Errors
    /// If functions ignore the entry.
    pub fn parse(&self) -> Result<Key, InvalidKey> {
        let field = |name| self.0.get(name).filter(|value| !value.is_null());
        let time = |value: &Value| value.as_str()?.parse().ok();
        let scopes = field("scopes").and_then(Value::as_array).ok_or(InvalidKey::Scopes)?;
        let scopes = scopes.iter().map(|scope| scope.as_str().map(str::to_owned));
        let sha256 = field("sha256").and_then(|text| hex::decode(text.as_str()?).ok()?.try_into().ok());
        Ok(Key {
            id: self.id().ok_or(InvalidKey::Id)?.to_owned(),
            sha256: sha256.ok_or(InvalidKey::Sha256)?,
            scopes: scopes.collect::<Option<_>>().ok_or(InvalidKey::Scopes)?,
            expires_at: match field("expires_at") {
                Some(value) => Some(time(value).ok_or(InvalidKey::ExpiresAt)?),
                None => None,
            },
            created_at: field("created_at").and_then(time),
        })
    }

    /// The id, which an entry that functions ignore can have, too.
    pub fn id(&self) -> Option<&str> {
        self.0.get("id")?.as_str()
    }

    /// Sets when the key stops to be valid.
    pub fn set_end(&mut self, end: Timestamp) {
        if let Some(fields) = self.0.as_object_mut() {
            fields.insert("expires_at".to_owned(), json!(end));
        }
    }
}

impl Key {
    /// The first 8 digits of the hash, by which people tell keys with the same id apart.
    pub fn fingerprint(&self) -> String {
        hex::encode(&self.sha256[..4])
    }

    /// Whether the key has not expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    pub(super) fn has(&self, scope: Scope) -> bool {
        self.scopes
            .iter()
            .any(|granted| granted == "*" || granted == scope.name())
    }
}
