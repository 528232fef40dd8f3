//! Passcodes, which are stored as Argon2id hashes.

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{Error, SaltString},
};

use super::error::SharesError;

/// The hash of a passcode with its salt and parameters, in PHC format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasscodeHash(pub(super) String);

impl PasscodeHash {
    /// Hashes a passcode with a new salt. It takes some tens of milliseconds of a processor, on purpose.
    pub fn new(passcode: &str) -> Result<Self, SharesError> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| SharesError(error.to_string()))?;
        let failed = |error: Error| SharesError(format!("the passcode can't be hashed: {error}"));
        let salt = SaltString::encode_b64(&salt).map_err(failed)?;
        let hash = Argon2::default()
            .hash_password(passcode.as_bytes(), &salt)
            .map_err(failed)?;
        Ok(Self(hash.to_string()))
    }

    /// Whether this is the passcode.
    pub(super) fn matches(&self, passcode: &str) -> bool {
        let parsed = PasswordHash::new(&self.0);
        parsed.is_ok_and(|hash| Argon2::default().verify_password(passcode.as_bytes(), &hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_passcode_matches() {
        let hash = PasscodeHash::new("4711 ä").unwrap();
        assert!(hash.matches("4711 ä"));
        for other in ["", "4711", "4711 Ä", "4711 ä "] {
            assert!(!hash.matches(other), "{other}");
        }
        assert!(!hash.0.contains("4711"));
        assert!(!PasscodeHash("junk".into()).matches("junk"));
    }
}
