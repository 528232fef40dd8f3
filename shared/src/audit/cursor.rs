//! Cursors of the list. They are opaque to callers and valid for one filter only.

use super::filter::AuditFilter;
use crate::cursor::{after_time, decode, encode};

/// The version of the format. A cursor of another version is rejected.
const VERSION: [u8; 1] = [1];

/// A position in the list: everything before it is on later pages. It is the sort key of an item, or a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCursor(pub(super) String);

impl AuditCursor {
    /// Decodes the result of [`AuditCursor::encode`] for the same filter; `None` for any other text.
    pub fn decode(text: &str, filter: &AuditFilter) -> Option<Self> {
        decode(&VERSION, filter, text)
            .filter(|text| is_position(text))
            .map(Self)
    }

    /// The base64 text of version, a hash of the filter, and the position.
    pub fn encode(&self, filter: &AuditFilter) -> String {
        encode(&VERSION, filter, &self.0)
    }
}

fn is_position(text: &str) -> bool {
    after_time(text).is_some_and(|id| id.is_empty() || id.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{audit::Action, time::to_millis};

    fn filters() -> impl Strategy<Value = AuditFilter> {
        let text = || proptest::option::of("[a-z0-9_]{1,9}");
        let time =
            || proptest::option::of((0_i64..4_000_000_000).prop_map(|unix| Timestamp::from_second(unix).unwrap()));
        let action = proptest::option::of((0..Action::ALL.len()).prop_map(|at| Action::ALL[at]));
        (time(), time(), text(), action, text(), text()).prop_map(
            |(from, to, key_id, action, recording, interaction_id)| AuditFilter {
                from,
                to,
                key_id,
                action,
                recording,
                interaction_id,
            },
        )
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
