//! An error code, its status and its meaning.

/// An error code of the API.
pub struct ErrorCode {
    /// The code.
    pub code: &'static str,
    /// The HTTP status of a response with this code.
    pub status: u16,
    /// The meaning as a sentence.
    pub meaning: &'static str,
    /// Whether the response has `retryable`: always, never, or (`None`) if a retry may succeed.
    pub retryable: Option<bool>,
}

pub(super) const fn error(status: u16, code: &'static str, meaning: &'static str) -> ErrorCode {
    ErrorCode {
        code,
        status,
        meaning,
        retryable: Some(false),
    }
}

pub(super) const fn transient(status: u16, code: &'static str, meaning: &'static str) -> ErrorCode {
    ErrorCode {
        retryable: Some(true),
        ..error(status, code, meaning)
    }
}

pub(super) const fn perhaps_transient(status: u16, code: &'static str, meaning: &'static str) -> ErrorCode {
    ErrorCode {
        retryable: None,
        ..error(status, code, meaning)
    }
}
