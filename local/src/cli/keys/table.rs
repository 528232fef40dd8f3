//! The table of keys that people read.

use jiff::Timestamp;

use super::{entry::Entry, last_used::LastUsed};

/// The keys as a table. Without `uses` it is not known when they were last used.
pub(super) fn of(entries: &[Entry], uses: Option<&LastUsed>, now: Timestamp) -> String {
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
