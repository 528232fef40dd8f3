//! What the commands change in the secret with the API keys.

use std::error::Error;

use jiff::Timestamp;
use shared::http::access::{Key, KeysSecret, StoredKey};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A new key of an existing id.
pub(super) struct Successor<'a> {
    /// The key.
    pub(super) key: &'a str,
    /// When it is created.
    pub(super) now: Timestamp,
    /// When the old key ends at the latest.
    pub(super) old_end: Timestamp,
    /// When the new key expires.
    pub(super) expires_at: Option<Timestamp>,
}

/// Adds a key. An id has two live keys only while it is rotated.
pub(super) fn add(secret: &mut KeysSecret, new: &StoredKey, now: Timestamp) -> Result<()> {
    let key = new.parse()?;
    if keys(secret).any(|(_, known)| known.sha256 == key.sha256) {
        return Err("this key is in the secret already".into());
    }
    if live(secret, &key.id, now).next().is_some() {
        return Err(format!("there is a key {0} already; `keys rotate {0}` replaces it", key.id).into());
    }
    secret.keys.push(new.clone());
    Ok(())
}

/// Adds a key with the id and scopes of the live one, which then ends. Returns the old one as it is stored now.
pub(super) fn rotate(secret: &mut KeysSecret, id: &str, new: &Successor<'_>) -> Result<Key> {
    let mut found: Vec<(usize, Key)> = live(secret, id, new.now).collect();
    let (index, old) = match (found.pop(), found.len()) {
        (Some(old), 0) => old,
        (None, _) => return Err(format!("there is no live key {id}; `keys create {id}` creates one").into()),
        (Some(_), others) => {
            let sentence = format!(
                "the key {id} is being rotated: it has {} live keys; `keys revoke {id} --fingerprint ...` ends one",
                others + 1
            );
            return Err(sentence.into());
        }
    };
    if let (Some(until), None) = (old.expires_at, new.expires_at) {
        let sentence = format!("the key {id} expires at {until:.0}; say with --expires-at when the new one does");
        return Err(sentence.into());
    }
    let end = old.expires_at.map_or(new.old_end, |earlier| earlier.min(new.old_end));
    secret.keys[index].set_end(end);
    let successor = StoredKey::new(id, new.key, &old.scopes, new.expires_at, Some(new.now));
    secret.keys.push(successor);
    Ok(Key {
        expires_at: Some(end),
        ..old
    })
}

/// Removes the entries with this id, or the one of them with this fingerprint. Returns how many there were.
pub(super) fn revoke(secret: &mut KeysSecret, id: &str, fingerprint: Option<&str>) -> Result<usize> {
    let before = secret.keys.len();
    let is_meant = |entry: &StoredKey| {
        let has_fingerprint = |wanted: &str| {
            let key = entry.parse();
            key.is_ok_and(|key| key.fingerprint().eq_ignore_ascii_case(wanted))
        };
        entry.id() == Some(id) && fingerprint.is_none_or(has_fingerprint)
    };
    secret.keys.retain(|entry| !is_meant(entry));
    match before - secret.keys.len() {
        0 => Err(match fingerprint {
            Some(fingerprint) => format!("there is no key {id} with the fingerprint {fingerprint}"),
            None => format!("there is no key {id}"),
        }
        .into()),
        removed => Ok(removed),
    }
}

/// The keys that functions accept, with the indexes of their entries.
pub(super) fn keys(secret: &KeysSecret) -> impl Iterator<Item = (usize, Key)> {
    let entries = secret.keys.iter().enumerate();
    entries.filter_map(|(index, entry)| Some((index, entry.parse().ok()?)))
}

/// A sentence for each entry that functions ignore.
pub(super) fn ignored(secret: &KeysSecret) -> impl Iterator<Item = String> {
    let entries = secret.keys.iter().enumerate();
    entries.filter_map(|(index, entry)| {
        let reason = entry.parse().err()?;
        Some(match entry.id() {
            Some(id) => format!("Functions ignore the entry {index}, {id}: {reason}. `keys revoke {id}` removes it."),
            None => format!("Functions ignore the entry {index}: {reason}."),
        })
    })
}

fn live(secret: &KeysSecret, id: &str, now: Timestamp) -> impl Iterator<Item = (usize, Key)> {
    keys(secret).filter(move |(_, key)| key.id == id && key.is_live(now))
}
