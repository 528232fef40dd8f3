//! The Twilio secret.

use serde::Deserialize;

use super::error::TwilioError;

/// The Twilio secret: `{"account_sid","auth_token"}`, optionally with `"api_key_sid","api_key_secret"`, which are then used for requests in
/// place of the token.
#[derive(Deserialize)]
pub(super) struct TwilioCredentials {
    pub(super) account_sid: String,
    auth_token: Option<String>,
    api_key_sid: Option<String>,
    api_key_secret: Option<String>,
}

impl TwilioCredentials {
    /// User name and password for HTTP basic authentication.
    pub(super) fn basic(&self) -> Option<(&str, &str)> {
        match (&self.api_key_sid, &self.api_key_secret) {
            (Some(sid), Some(secret)) if !sid.is_empty() => Some((sid, secret)),
            _ => Some((
                &self.account_sid,
                self.auth_token.as_deref().filter(|token| !token.is_empty())?,
            )),
        }
    }

    /// The token with which Twilio signs webhooks. Twilio does not sign with API keys.
    pub(super) fn webhook_token(&self) -> Result<String, TwilioError> {
        let token = self.auth_token.clone().filter(|token| !token.is_empty());
        token.ok_or(TwilioError::IncompleteSecret)
    }
}
