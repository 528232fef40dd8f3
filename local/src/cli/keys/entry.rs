//! An entry of the secret with the API keys, and the table that people read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::http::access::hash_key;

use super::last_used::LastUsed;

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
    created_at: Option<Timestamp>,
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

/// The keys as a table. Without `uses` it is not known when they were last used.
pub(super) fn table(entries: &[Entry], uses: Option<&LastUsed>, now: Timestamp) -> String {
    let time =
        |time: Option<Timestamp>, absent: &str| time.map_or_else(|| absent.to_owned(), |time| format!("{time:.0}"));
    let mut rows = vec![["ID", "FINGERPRINT", "CREATED", "EXPIRES", "LAST USED", "SCOPES"].map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| {
        let expires = time(entry.expires_at, "never");
        [
            entry.id.clone(),
            entry.fingerprint(),
            time(entry.created_at, "unknown"),
            match entry.is_live(now) {
                true => expires,
                false => format!("expired {expires}"),
            },
            uses.map_or_else(|| "unknown".into(), |uses| time(uses.of(entry), "never")),
            entry.scopes.join(" "),
        ]
    }));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
