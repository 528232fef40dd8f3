//! The keys of the secret.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    keys_secret::{Key, KeysSecret},
    presented::Presented,
};

/// The keys of the secret. An invalid entry is logged and skipped, so that a typo locks out one key and not all of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "KeysSecret")]
pub struct KeySet(Vec<Key>);

impl From<KeysSecret> for KeySet {
    fn from(secret: KeysSecret) -> Self {
        let mut keys = Vec::with_capacity(secret.keys.len());
        for (index, entry) in secret.keys.iter().enumerate() {
            match entry.parse() {
                Ok(key) => keys.push(key),
                Err(reason) => tracing::error!(index, %reason, "an entry of the API keys secret is ignored"),
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
            if presented.is_of(&key.sha256) && key.is_live(now) {
                found = Some(key);
            }
        }
        found.cloned()
    }
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
