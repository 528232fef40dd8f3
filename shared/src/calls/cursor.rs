//! Pagination cursors. They are opaque to callers and valid for one filter and order only.

use serde::{Deserialize, Serialize};

use super::list_filter::{ListFilter, ListOrder};
use crate::cursor::{after_time, decode, encode};

/// The version of the format. A cursor of another version is rejected.
const VERSION: u8 = 1;

/// A position in a list: the start time and id of the row before the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub(super) String);

impl Cursor {
    /// Decodes the result of [`Cursor::encode`] for the same filter and order; `None` for any other text.
    pub fn decode(text: &str, filter: &ListFilter, order: ListOrder) -> Option<Self> {
        decode(&version(order), filter, text)
            .filter(|text| is_position(text))
            .map(Self)
    }

    /// The base64 text of version, order, a hash of the filter, and the position.
    pub fn encode(&self, filter: &ListFilter, order: ListOrder) -> String {
        encode(&version(order), filter, &self.0)
    }
}

fn version(order: ListOrder) -> [u8; 2] {
    let order = match order {
        ListOrder::Newest => b'd',
        ListOrder::Oldest => b'a',
    };
    [VERSION, order]
}

/// Whether the text has the form of a row's sort key.
fn is_position(text: &str) -> bool {
    after_time(text).is_some_and(|id| id.len() > 1 && id.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::time::to_millis;

    fn filters() -> impl Strategy<Value = ListFilter> {
        let text = || proptest::option::of("[a-z+0-9]{1,9}");
        let time = proptest::option::of((0_i64..4_000_000_000).prop_map(|unix| Timestamp::from_second(unix).unwrap()));
        (
            any::<bool>(),
            text(),
            text(),
            text(),
            text(),
            time.clone(),
            time,
            proptest::option::of(0_i64..9),
        )
            .prop_map(
                |(missing, status, outcome, phone, interaction_id, started_after, started_before, min_duration)| {
                    ListFilter {
                        missing,
                        status,
                        outcome,
                        phone,
                        interaction_id,
                        started_after,
                        started_before,
                        min_duration,
                        has_transcript: None,
                    }
                },
            )
    }

    fn position() -> impl Strategy<Value = String> {
        (0_i64..4_000_000_000_000, "[0-9A-Za-z#_/+-]{1,40}")
            .prop_map(|(millis, id)| format!("{}#{id}", to_millis(Timestamp::from_millisecond(millis).unwrap())))
    }

    proptest! {
        #[test]
        fn a_cursor_is_decoded_only_for_the_same_filter_and_order(
            position in position(), filter in filters(), other in filters(),
        ) {
            let cursor = Cursor(position);
            for (order, reverse) in [(ListOrder::Newest, ListOrder::Oldest), (ListOrder::Oldest, ListOrder::Newest)] {
                let text = cursor.encode(&filter, order);
                prop_assert_eq!(Cursor::decode(&text, &filter, order), Some(cursor.clone()));
                prop_assert_eq!(Cursor::decode(&text, &filter, reverse), None);
                if other != filter {
                    prop_assert_eq!(Cursor::decode(&text, &other, order), None);
                }
            }
        }

        #[test]
        fn a_cursor_has_one_encoding_and_other_text_is_rejected(
            position in position(), junk in ".*", at in 0_usize..200, bit in 0_u8..8,
        ) {
            let (filter, order) = (ListFilter::default(), ListOrder::Newest);
            prop_assert_eq!(Cursor::decode(&junk, &filter, order), None);
            let text = Cursor(position).encode(&filter, order);
            for other in [format!("{text}="), format!(" {text}"), format!("{text}A"), text[1..].to_owned()] {
                if let Some(decoded) = Cursor::decode(&other, &filter, order) {
                    prop_assert_eq!(decoded.encode(&filter, order), other);
                }
            }
            let mut altered = text.into_bytes();
            let at = at % altered.len();
            altered[at] ^= 1 << bit;
            // Altered text that still decodes is another position of the same list.
            if let Some(decoded) = String::from_utf8(altered.clone()).ok().and_then(|text| Cursor::decode(&text, &filter, order)) {
                prop_assert!(is_position(&decoded.0));
                prop_assert_eq!(decoded.encode(&filter, order).into_bytes(), altered);
            }
        }
    }

    #[test]
    fn a_cursor_of_another_version_is_rejected() {
        let (filter, order) = (ListFilter::default(), ListOrder::Newest);
        let cursor = Cursor("2025-08-08T11:44:39.000Z#dispatch_1_2".into());
        let mut bytes = URL_SAFE_NO_PAD.decode(cursor.encode(&filter, order)).unwrap();
        bytes[0] = VERSION + 1;
        assert_eq!(Cursor::decode(&URL_SAFE_NO_PAD.encode(bytes), &filter, order), None);
    }

    #[test]
    fn a_position_is_a_time_to_the_millisecond_and_an_id() {
        assert!(is_position("2025-08-08T11:44:39.000Z#object#a/b.mp4"));
        for text in [
            "",
            "2025-08-08T11:44:39.000Z",
            "2025-08-08T11:44:39.000Z#",
            "2025-08-08T11:44:39Z#dispatch",
            "2025-13-08T11:44:39.000Z#dispatch",
            "2025-08-08T11:44:39.000+#dispatch",
            "~",
        ] {
            assert!(!is_position(text), "{text}");
        }
    }
}
