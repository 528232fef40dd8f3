//! Faults that a test injects, and the log that it reads.

/// A request in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Without the query.
    pub path: String,
    /// As it was sent; empty when there is none.
    pub query: String,
    /// Whether it had the account's credentials.
    pub authorized: bool,
}

/// A fault to inject with [`Twilio::fault`](super::Twilio::fault).
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer in place of the right one.
    Status {
        /// HTTP status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u64>,
        /// Sent as JSON; `None` sends Twilio's own error for that status.
        body: Option<String>,
    },
    /// Never answer.
    Hang,
    /// 302 to this URL.
    Redirect(String),
    /// The right headers, half of the body, then the connection breaks.
    Truncate,
    /// The right answer without `Content-Length` (chunked).
    NoContentLength,
}
