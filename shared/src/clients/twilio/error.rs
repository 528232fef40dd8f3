//! Errors of Twilio's API.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::{
    clients::{
        body::{MAX_ERROR_BYTES, read_up_to},
        secrets::SecretError,
    },
    retry::{Classify, Retry, retry_after},
};

/// A request to Twilio failed. No variant contains a URL or a credential.
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
    /// The resource does not exist.
    #[error("Twilio has no such resource")]
    NotFound,
    /// The account sent too many requests.
    #[error("Twilio answered 429, too many requests")]
    RateLimited(Option<Duration>),
    /// Twilio responded with a server error.
    #[error("Twilio answered HTTP {0}")]
    Server(u16, Option<Duration>),
    /// Twilio rejected the request.
    #[error("Twilio answered HTTP {status} with code {code:?}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// Twilio's error code, if it sent one; see twilio.com/docs/api/errors.
        code: Option<i64>,
    },
    /// The connection failed or broke.
    #[error("the connection to Twilio failed: {0}")]
    Connection(String),
    /// A request for a recording in the customer's external storage failed.
    #[error("external storage, which is read without credentials, refused: {0}")]
    ExternalStorage(Box<TwilioError>),
    /// Twilio did not respond before the deadline.
    #[error("Twilio did not answer in time")]
    Timeout,
    /// The response could not be parsed.
    #[error("Twilio's response could not be parsed: {0}")]
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
    /// The error that a status means, whatever the body is.
    pub(super) fn of_status(status: StatusCode, after: Option<Duration>) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Self::Unauthorized(status.as_u16())),
            StatusCode::NOT_FOUND | StatusCode::GONE => Some(Self::NotFound),
            StatusCode::TOO_MANY_REQUESTS => Some(Self::RateLimited(after)),
            _ if status.is_server_error() => Some(Self::Server(status.as_u16(), after)),
            _ => None,
        }
    }

    /// Whether a later request may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Secret(SecretError::Unavailable(..)) | Self::Timeout) || self.retry() != Retry::Never
    }

    /// Whether other requests would probably fail, too: Twilio limits the rate, has server errors, is not reachable, or refuses the credentials.
    pub fn is_outage(&self) -> bool {
        !matches!(
            self,
            Self::NotFound | Self::Rejected { .. } | Self::ExternalStorage(_) | Self::Unexpected(_)
        )
    }

    /// When to retry, if Twilio said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry() {
            Retry::After(after) => after,
            Retry::Never => None,
        }
    }

    /// A stable code for programs.
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

    /// The message for the caller.
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

/// Converts a response that is not a success to an error. The caller sets the deadline, within which the error's body is read, too.
pub(super) async fn accepted(response: Response) -> Result<Response, TwilioError> {
    #[derive(Deserialize)]
    struct Problem {
        code: Option<i64>,
    }
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if let Some(error) = TwilioError::of_status(status, retry_after(response.headers())) {
        return Err(error);
    }
    let (body, _) = read_up_to(response, MAX_ERROR_BYTES).await.unwrap_or_default();
    let code = serde_json::from_slice::<Problem>(&body)
        .ok()
        .and_then(|problem| problem.code);
    Err(TwilioError::Rejected {
        status: status.as_u16(),
        code,
    })
}

pub(super) fn connection(error: reqwest::Error) -> TwilioError {
    if error.is_redirect() {
        return TwilioError::Unexpected("too many redirects, or a redirect to a URL that is not allowed".into());
    }
    let error = error.without_url();
    let cause = std::error::Error::source(&error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    TwilioError::Connection(format!("{error}{cause}"))
}
