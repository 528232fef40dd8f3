//! The keys of the secret.

use jiff::Timestamp;
use serde::Deserialize;

use super::{presented::Presented, scope::Scope};

/// The keys of the secret. An invalid entry is logged and skipped, so that a typo locks out one key and not all of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "RawKeySet")]
pub struct KeySet(Vec<Key>);

/// A key of which only the hash is known.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) sha256: [u8; 32],
    scopes: Vec<String>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Key {
    pub(super) fn has(&self, scope: Scope) -> bool {
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
    pub(super) fn find(&self, presented: &Presented, now: Timestamp) -> Option<Key> {
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

fn decode_sha256(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::http::access::api_key::hash_key;

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
