//! Injected faults, and the log of requests.

/// A request in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// The path, without the query string.
    pub path: String,
    /// The query string as it was sent; empty if there is none.
    pub query: String,
    /// Whether the request had the account's credentials.
    pub authorized: bool,
}

/// A fault to inject with [`Twilio::fault`](super::Twilio::fault).
#[derive(Clone, Debug)]
pub enum Fault {
    /// Return this response.
    Status {
        /// HTTP status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u64>,
        /// The body, sent as JSON; `None` sends Twilio's error for the status.
        body: Option<String>,
    },
    /// Never respond.
    Hang,
    /// Redirect with status 302 to this URL.
    Redirect(String),
    /// Send the right headers and half of the body, and then break the connection.
    Truncate,
    /// Send the right headers and half of the body, and then nothing.
    Stall,
    /// Send the right response without `Content-Length` (chunked).
    NoContentLength,
}
