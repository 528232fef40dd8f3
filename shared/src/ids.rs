//! Dispatch ids, and the parsers they share with the names of recordings.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The id of a LiveKit agent dispatch: 1 to 128 letters, digits, `_` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DispatchId(String);

impl TryFrom<String> for DispatchId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a dispatch id is 1 to 128 letters, digits, underscores or hyphens")
    }
}

/// The time and the phone number in a dispatch id of the form `dispatch_{unix}_{phone}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchPattern {
    /// When the call was dispatched, in Unix seconds.
    pub unix: i64,
    /// The phone number called, digits only, no `+`.
    pub phone: String,
}

impl fmt::Display for DispatchPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dispatch_{}_{}", self.unix, self.phone)
    }
}

impl DispatchId {
    /// The format of a dispatch id, for error messages.
    pub const EXPECTED: &str = "1 to 128 letters, digits, underscores or hyphens, like dispatch_1754653479_15103455686";

    /// Parses a dispatch id; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        ((1..=128).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The dispatch time and phone number, if the id has the form `dispatch_{unix}_{phone}`.
    pub fn pattern(&self) -> Option<DispatchPattern> {
        let (unix, phone) = self.0.strip_prefix("dispatch_")?.split_once('_')?;
        let phone = is_phone(phone).then(|| phone.to_owned())?;
        Some(DispatchPattern {
            unix: parse_unix(unix)?,
            phone,
        })
    }
}

impl fmt::Display for DispatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The media type of a recording; that of any bytes where its name does not say it.
pub fn content_type(name: &str) -> &'static str {
    media_type(name).unwrap_or("application/octet-stream")
}

/// The media type of a recording, from the extension of its name; `None` if LiveKit egress writes no audio files with that extension.
pub fn media_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "mp4" | "m4a" => Some("audio/mp4"),
        "mp3" => Some("audio/mpeg"),
        "ogg" => Some("audio/ogg"),
        "webm" => Some("audio/webm"),
        "wav" => Some("audio/wav"),
        _ => None,
    }
}

/// The digits of a phone number, without `+`, spaces, punctuation and an extension. Of a SIP or `tel:` address, those of its user. Empty if there is
/// no number: digits within a name, such as `sip:agent-7@example.com`, are none.
pub fn digits(phone: &str) -> String {
    let lower = phone.trim().to_ascii_lowercase();
    let schemes = ["sips:", "sip:", "tel:"];
    let address = schemes.iter().find_map(|scheme| lower.strip_prefix(scheme));
    let user = address.unwrap_or(&lower).split(['@', ';']).next().unwrap_or_default();
    // "ext. 3", "x3", "#3", and a pause before digits that are dialed after the call is answered.
    let ends = user.find("ext").or_else(|| user.find(['x', '#', ',']));
    let number = &user[..ends.unwrap_or(user.len())];
    match number.contains(char::is_alphabetic) {
        true => String::new(),
        false => {
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            // "00" is how most of the world dials "+"; no country code begins with a zero. It is removed
            // as often as it is there, so that the digits of digits are the same.
            digits.trim_start_matches("00").to_owned()
        }
    }
}

fn is_phone(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses Unix seconds. The value plus seven days must still be a valid timestamp, so that search windows around it cannot overflow.
pub(crate) fn parse_unix(text: &str) -> Option<i64> {
    let digits = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let unix = digits.then(|| text.parse::<i64>().ok())??;
    Timestamp::from_second(unix.checked_add(7 * 86_400)?).ok().map(|_| unix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extensions_and_names_are_not_part_of_a_phone_number() {
        for (phone, expected) in [
            ("+1 (510) 345-5686", "15103455686"),
            ("15103455686", "15103455686"),
            ("+1 510.345.5686 ext. 3", "15103455686"),
            ("+1 510 345 5686 Extension 3", "15103455686"),
            ("+15103455686x3", "15103455686"),
            ("+15103455686 X 12", "15103455686"),
            ("+15103455686#12", "15103455686"),
            ("+15103455686,,12#", "15103455686"),
            ("+15103455686;ext=3", "15103455686"),
            ("tel:+1-510-345-5686;ext=3", "15103455686"),
            ("sip:+15103455686@trunk12.example.com:5060", "15103455686"),
            ("SIPS:15103455686@10.0.0.7", "15103455686"),
            // daddyz/phonelib 367 and 58, TrevorPilley/phone-number-parser 492, GlobalPhone 30, libphonenumber-for-php 67
            ("+16502530000 x136", "16502530000"),
            ("+19052223333;ext=555", "19052223333"),
            ("tel:+44-114-272-6444,1234", "441142726444"),
            ("tel:+44-114-272-6444;1234", "441142726444"),
            ("034116999#2405", "034116999"),
            ("+5493516315733 ext.", "5493516315733"),
            ("00003 33902167", "333902167"),
            ("000", "0"),
            ("sip:agent-7@example.com", ""),
            ("client:agent7", ""),
            ("anonymous", ""),
            ("1-800-FLOWERS", ""),
            ("", ""),
        ] {
            assert_eq!(digits(phone), expected, "{phone}");
            assert_eq!(digits(expected), expected, "{phone}");
        }
    }

    #[test]
    fn the_documented_dispatch_id_has_a_time_and_a_phone_number() {
        let id = DispatchId::parse("dispatch_1754653479_15103455686").unwrap();
        assert_eq!(
            id.pattern(),
            Some(DispatchPattern {
                unix: 1_754_653_479,
                phone: "15103455686".into()
            })
        );
    }

    #[test]
    fn an_id_in_another_form_is_valid_but_has_no_pattern() {
        for text in [
            "dispatch_1754653479",
            "AD_x7Fq",
            "dispatch_x_15103455686",
            "dispatch_1754653479_1510a",
            "dispatch_1754653479_1_2",
            "dispatch_-1_15103455686",
            "dispatch_999999999999_1",
        ] {
            assert_eq!(DispatchId::parse(text).unwrap().pattern(), None, "{text}");
        }
    }

    #[test]
    fn an_id_with_other_characters_or_a_wrong_length_is_rejected() {
        for text in [
            "",
            "a/b",
            "a\0b",
            "../x",
            "a b",
            "day#2025-08-08",
            "é",
            &"a".repeat(129),
        ] {
            assert_eq!(DispatchId::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_parsers_never_panic(text in prop_oneof![".*", "[0-9 +#x()a]{0,12}"]) {
            if let Some(id) = DispatchId::parse(&text) {
                id.pattern();
            }
            let plain = digits(&text);
            prop_assert_eq!(digits(&plain), plain);
        }
    }
}
