//! The table of keys that people read.

use jiff::Timestamp;
use shared::http::access::Key;

/// When a key was last used.
#[derive(Clone, Copy)]
pub(super) enum LastUse {
    /// At this time, or never.
    Known(Option<Timestamp>),
    /// The audit could not be read.
    Unknown,
}

/// The keys as a table.
pub(super) fn of(keys: &[(Key, LastUse)], now: Timestamp) -> String {
    let time =
        |time: Option<Timestamp>, absent: &str| time.map_or_else(|| absent.to_owned(), |time| format!("{time:.0}"));
    let mut rows = vec![["ID", "FINGERPRINT", "CREATED", "EXPIRES", "LAST USED", "SCOPES"].map(str::to_owned)];
    rows.extend(keys.iter().map(|(key, last_use)| {
        let expires = time(key.expires_at, "never");
        [
            key.id.clone(),
            key.fingerprint(),
            time(key.created_at, "unknown"),
            match key.is_live(now) {
                true => expires,
                false => format!("expired {expires}"),
            },
            match last_use {
                LastUse::Known(used_at) => time(*used_at, "never"),
                LastUse::Unknown => "unknown".into(),
            },
            key.scopes.join(" "),
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
