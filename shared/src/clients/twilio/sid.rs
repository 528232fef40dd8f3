//! Twilio's SIDs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An account SID: `AC` and 16 to 32 hexadecimal digits. Twilio's own SIDs have 32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSid(String);

/// A recording SID: `RE` and 16 to 32 hexadecimal digits. Twilio's own SIDs have 32.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RecordingSid(String);

impl TryFrom<String> for RecordingSid {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a recording SID is RE and 16 to 32 hexadecimal digits")
    }
}

impl AccountSid {
    /// Parses an account SID; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        is_sid("AC", text).then(|| Self(text.to_owned()))
    }

    /// The SID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RecordingSid {
    /// Parses a recording SID; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        is_sid("RE", text).then(|| Self(text.to_owned()))
    }

    /// The SID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RecordingSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the text is a call SID: `CA` and 16 to 32 hexadecimal digits.
pub fn is_call_sid(text: &str) -> bool {
    is_sid("CA", text)
}

/// Whether the text consists of this prefix and 16 to 32 hexadecimal digits.
pub(super) fn is_sid(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|digits| (16..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sids_have_their_prefix_and_16_to_32_hex_digits() {
        for good in ["RE1234567890abcdef", "RE0123456789abcdef0123456789ABCDEF"] {
            assert!(RecordingSid::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "RE",
            "RE123",
            "AC1234567890abcdef",
            "re1234567890abcdef",
            "RE1234567890abcdeg",
            "RE1234567890abcdef/",
            "RE0123456789abcdef0123456789abcdef0",
            " RE1234567890abcdef",
            "RE1234567890abcdéf",
        ] {
            assert!(RecordingSid::parse(bad).is_none(), "{bad:?}");
        }
    }
}
