//! The form of API keys.

use sha2::{Digest, Sha256};

/// By this prefix people and scanners of source code recognise a key.
const PREFIX: &str = "crk_";
/// Base62 digits of 128 bits.
const HALF: usize = 22;
/// Base62 digits of a CRC-32.
const CHECKSUM: usize = 6;
/// Length of a key that version 0.1 created: the prefix and 32 bytes as unpadded base64url, without a checksum.
const LENGTH_IN_0_1: usize = PREFIX.len() + 43;

/// A new API key: `crk_`, 256 random bits and the CRC-32 of what stands before it, both in base62 with leading zeros.
pub struct ApiKey(String);

impl ApiKey {
    /// A new key.
    ///
    /// # Errors
    /// If the operating system has no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = PREFIX.to_owned();
        for _ in 0..2 {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes)?;
            key.push_str(&digits(u128::from_le_bytes(bytes), HALF));
        }
        let checksum = checksum(&key);
        key.push_str(&checksum);
        Ok(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text has the prefix of our keys and is none, so that it needs no look-up. Other texts can be imported keys.
pub fn is_mistyped(key: &[u8]) -> bool {
    if !key.starts_with(PREFIX.as_bytes()) || key.len() == LENGTH_IN_0_1 {
        return false;
    }
    let parts = std::str::from_utf8(key)
        .ok()
        .filter(|key| key.len() == PREFIX.len() + 2 * HALF + CHECKSUM)
        .and_then(|key| key.split_at_checked(PREFIX.len() + 2 * HALF));
    parts.is_none_or(|(body, given)| checksum(body) != given)
}

/// The hash of a key in the format of the secret: 64 lower-case hex digits.
pub fn hash_key(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

fn checksum(body: &str) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, body.as_bytes());
    digits(crc.into(), CHECKSUM)
}

fn digits(number: u128, width: usize) -> String {
    format!("{:0>width$}", base62::encode(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_prefix_256_bits_and_a_checksum_that_every_changed_character_breaks() {
        let key = ApiKey::random().unwrap();
        let key = key.as_str();
        assert_eq!(key.len(), 54);
        assert!(key.starts_with("crk_") && key[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(key, ApiKey::random().unwrap().as_str());
        assert!(!is_mistyped(key.as_bytes()));
        for index in 4..key.len() {
            for digit in [b'0', b'z', b'A', b'-', 0xff] {
                let mut changed = key.as_bytes().to_vec();
                if changed[index] != digit {
                    changed[index] = digit;
                    assert!(is_mistyped(&changed), "{index} {digit}");
                }
            }
        }
        assert!(
            is_mistyped(b"crk_") && is_mistyped(&key.as_bytes()[..53]) && is_mistyped(format!("{key}0").as_bytes())
        );
    }

    #[test]
    fn keys_of_version_0_1_and_imported_ones_are_looked_up() {
        for key in [
            "your_api_key_here",
            "crk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "x",
            "CRK_1",
        ] {
            assert!(!is_mistyped(key.as_bytes()), "{key}");
        }
    }
}
