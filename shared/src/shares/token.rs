//! The tokens and ids of shares.

use std::fmt;

use sha2::{Digest, Sha256};

use super::error::SharesError;

/// The secret in a share's URL: 128 random bits as 32 hexadecimal digits. It is shown once; only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct ShareToken(String);

/// The id of a share: the first half of its token's SHA-256 as 32 hexadecimal digits. The token can't be derived from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareId(String);

impl ShareToken {
    /// A new token.
    pub fn random() -> Result<Self, SharesError> {
        Ok(Self(random()?))
    }

    /// Parses a token; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text).then(|| Self(text.to_owned()))
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the share that has this token.
    pub fn id(&self) -> ShareId {
        ShareId(hash(&self.0))
    }
}

impl ShareId {
    /// Parses an id; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 128 random bits as 32 hexadecimal digits.
pub(super) fn random() -> Result<String, SharesError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| SharesError(error.to_string()))?;
    Ok(hex::encode(bytes))
}

/// The first half of a SHA-256 as 32 hexadecimal digits.
pub(super) fn hash(secret: &str) -> String {
    hex::encode(&Sha256::digest(secret)[..16])
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_parsed_back_and_is_not_its_id() {
        let token = ShareToken::random().unwrap();
        assert!(ShareToken::parse(token.as_str()) == Some(token.clone()));
        assert_ne!(token.id().as_str(), token.as_str());
        assert_ne!(token.as_str(), ShareToken::random().unwrap().as_str());
        for junk in [
            "",
            "x",
            &token.as_str()[1..],
            &token.as_str().to_uppercase(),
            &format!("{}0", token.as_str()),
        ] {
            assert!(junk == token.as_str() || ShareToken::parse(junk).is_none(), "{junk}");
        }
    }
}
