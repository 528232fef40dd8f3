//! Why Twilio did not give what was asked.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::{
    clients::secrets::SecretError,
    retry::{Classify, Retry, retry_after},
};

/// Why Twilio did not give what was asked. No variant holds a URL or a credential.
#[derive(Debug, thiserror::Error)]
pub enum TwilioError {
    /// The Twilio secret is missing or unusable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Twilio secret lacks a usable account SID or token.
    #[error("the Twilio secret needs account_sid and auth_token, or api_key_sid and api_key_secret")]
    IncompleteSecret,
    /// Twilio refused the credentials.
    #[error("Twilio refused the credentials (HTTP {0})")]
    Unauthorized(u16),
    /// There is no such resource.
    #[error("Twilio has no such resource")]
    NotFound,
    /// Too many requests at once for the account.
    #[error("Twilio answered 429, too many requests")]
    RateLimited(Option<Duration>),
    /// Twilio is unwell.
    #[error("Twilio answered HTTP {0}")]
    Server(u16, Option<Duration>),
    /// Twilio refused the request; its error code, if it sent one.
    #[error("Twilio answered HTTP {status} with code {code:?}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// Twilio's own error code, see twilio.com/docs/api/errors.
        code: Option<i64>,
    },
    /// No connection, or it broke.
    #[error("the connection to Twilio failed: {0}")]
    Connection(String),
    /// The customer's own storage did not give a recording that is kept there.
    #[error("external storage, asked without credentials as one asks Twilio: {0}")]
    ExternalStorage(Box<TwilioError>),
    /// No answer in time.
    #[error("Twilio did not answer in time")]
    Timeout,
    /// An answer that can't be read.
    #[error("Twilio's answer was not understood: {0}")]
    Unexpected(String),
}

impl Classify for TwilioError {
    fn retry(&self) -> Retry {
        match self {
            Self::RateLimited(after) | Self::Server(_, after) => Retry::After(*after),
            Self::Connection(_) => Retry::After(None),
            Self::ExternalStorage(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

impl TwilioError {
    /// Whether a later request may fare better.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Secret(SecretError::Unavailable(..)) | Self::Timeout) || self.retry() != Retry::Never
    }

    /// Whether other requests would fare the same: Twilio limits the rate, is unwell, is not reachable, or refuses the credentials.
    pub fn is_outage(&self) -> bool {
        !matches!(
            self,
            Self::NotFound | Self::Rejected { .. } | Self::ExternalStorage(_) | Self::Unexpected(_)
        )
    }

    /// When to try again, if Twilio said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry() {
            Retry::After(after) => after,
            Retry::Never => None,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "twilio_secret_unavailable",
            Self::Secret(_) | Self::IncompleteSecret => "twilio_not_configured",
            Self::Unauthorized(_) => "twilio_unauthorized",
            Self::NotFound => "recording_not_found",
            Self::RateLimited(_) => "twilio_rate_limited",
            Self::Server(..) | Self::Connection(_) => "twilio_unavailable",
            Self::Rejected { .. } | Self::Unexpected(_) => "twilio_error",
            Self::ExternalStorage(_) => "external_storage_refused",
            Self::Timeout => "twilio_timeout",
        }
    }

    /// What to tell a caller.
    pub fn user_message(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "The Twilio credentials can't be read right now",
            Self::Secret(_) | Self::IncompleteSecret => "No usable Twilio credentials are configured",
            Self::Unauthorized(_) => "Twilio refused the configured credentials",
            Self::NotFound => "Recording not found",
            Self::RateLimited(_) => "Twilio is limiting the rate of requests",
            Self::Server(..) | Self::Connection(_) => "Twilio is not reachable right now",
            Self::Rejected { .. } | Self::Unexpected(_) => "Twilio gave an unexpected answer",
            Self::ExternalStorage(_) => "The external storage that keeps the recording did not give it",
            Self::Timeout => "Twilio did not answer in time",
        }
    }
}

/// Turns an answer that is not a success into the error it means.
pub(super) async fn accepted(response: Response) -> Result<Response, TwilioError> {
    #[derive(Deserialize)]
    struct Problem {
        code: Option<i64>,
    }
    let status = response.status();
    let after = retry_after(response.headers());
    match status {
        _ if status.is_success() => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(TwilioError::Unauthorized(status.as_u16())),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(TwilioError::NotFound),
        StatusCode::TOO_MANY_REQUESTS => Err(TwilioError::RateLimited(after)),
        _ if status.is_server_error() => Err(TwilioError::Server(status.as_u16(), after)),
        _ => {
            let body = response.bytes().await.unwrap_or_default();
            let code = serde_json::from_slice::<Problem>(&body)
                .ok()
                .and_then(|problem| problem.code);
            Err(TwilioError::Rejected {
                status: status.as_u16(),
                code,
            })
        }
    }
}

pub(super) fn connection(error: reqwest::Error) -> TwilioError {
    if error.is_redirect() {
        return TwilioError::Unexpected("it redirects too often, or to where it must not".into());
    }
    let error = error.without_url();
    let cause = std::error::Error::source(&error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    TwilioError::Connection(format!("{error}{cause}"))
}
