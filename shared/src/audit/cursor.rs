//! Cursors of the list. They are opaque to callers and valid for one filter only.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::filter::AuditFilter;
use crate::time::to_millis;

/// The version of the format. A cursor of another version is rejected.
const VERSION: u8 = 1;
const FILTER_BYTES: usize = 8;
/// The length of a time such as `2025-08-08T11:44:39.000Z`.
const TIME_BYTES: usize = 24;
/// DynamoDB's limit for a sort key.
const MAX_POSITION_BYTES: usize = 1024;

/// A position in the list: everything before it is on later pages. It is the sort key of an item, or a time.
///
/// It is not signed: a caller who changes it only moves to another position in a list that the caller may read anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCursor(pub(super) String);

impl AuditCursor {
    /// Decodes the result of [`AuditCursor::encode`] for the same filter; `None` for any other text.
    pub fn decode(text: &str, filter: &AuditFilter) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let position = bytes.strip_prefix(&prefix(filter)[..])?;
        let position = std::str::from_utf8(position).ok()?;
        is_position(position).then(|| Self(position.to_owned()))
    }

    /// The base64 text of version, a hash of the filter, and the position.
    pub fn encode(&self, filter: &AuditFilter) -> String {
        URL_SAFE_NO_PAD.encode([&prefix(filter)[..], self.0.as_bytes()].concat())
    }
}

fn prefix(filter: &AuditFilter) -> [u8; 1 + FILTER_BYTES] {
    // The filter has only plain fields, whose serialization can't fail.
    let hash = Sha256::digest(serde_json::to_vec(filter).unwrap_or_default());
    let mut prefix = [VERSION; 1 + FILTER_BYTES];
    prefix[1..].copy_from_slice(&hash[..FILTER_BYTES]);
    prefix
}

fn is_position(text: &str) -> bool {
    let Some((time, id)) = text.split_at_checked(TIME_BYTES) else {
        return false;
    };
    let is_time = time.parse::<Timestamp>().is_ok_and(|parsed| to_millis(parsed) == time);
    is_time && (id.is_empty() || id.starts_with('#')) && text.len() <= MAX_POSITION_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::Action;

    fn filters() -> impl Strategy<Value = AuditFilter> {
        let text = || proptest::option::of("[a-z0-9_]{1,9}");
        let time =
            || proptest::option::of((0_i64..4_000_000_000).prop_map(|unix| Timestamp::from_second(unix).unwrap()));
        let action = proptest::option::of((0..Action::ALL.len()).prop_map(|at| Action::ALL[at]));
        (time(), time(), text(), action, text()).prop_map(|(from, to, key_id, action, recording)| AuditFilter {
            from,
            to,
            key_id,
            action,
            recording,
        })
    }

    fn positions() -> impl Strategy<Value = String> {
        (
            0_i64..4_000_000_000_000,
            proptest::option::of("[0-9A-Za-z#_/=+-]{0,40}"),
        )
            .prop_map(|(millis, id)| {
                let time = to_millis(Timestamp::from_millisecond(millis).unwrap());
                id.map_or(time.clone(), |id| format!("{time}#{id}"))
            })
    }

    proptest! {
        #[test]
        fn a_cursor_is_decoded_only_for_the_same_filter(position in positions(), filter in filters(), other in filters()) {
            let cursor = AuditCursor(position);
            let text = cursor.encode(&filter);
            prop_assert_eq!(AuditCursor::decode(&text, &filter), Some(cursor));
            if other != filter {
                prop_assert_eq!(AuditCursor::decode(&text, &other), None);
            }
        }

        #[test]
        fn other_text_is_rejected_and_altered_text_has_one_encoding(position in positions(), junk in ".*", at in 0_usize..200, bit in 0_u8..8) {
            let filter = AuditFilter::default();
            prop_assert_eq!(AuditCursor::decode(&junk, &filter), None);
            let mut altered = AuditCursor(position).encode(&filter).into_bytes();
            let at = at % altered.len();
            altered[at] ^= 1 << bit;
            if let Some(decoded) = String::from_utf8(altered.clone()).ok().and_then(|text| AuditCursor::decode(&text, &filter)) {
                prop_assert!(is_position(&decoded.0));
                prop_assert_eq!(decoded.encode(&filter).into_bytes(), altered);
            }
        }
    }
}
