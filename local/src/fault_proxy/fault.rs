//! The faults.

use std::time::Duration;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It comes after this time.
    Latency(Duration),
    /// The connection is reset, before the upstream has the request or in the middle of its answer.
    Reset,
    /// The body ends before its length, and the connection is closed.
    Truncated,
    /// The upstream refuses because of too many requests, in its own form.
    Throttled {
        /// `Retry-After` in seconds, of upstreams that send it.
        retry_after: Option<u64>,
    },
    /// The upstream's own form of an internal error, status 500.
    ServerError,
    /// A byte every now and then.
    SlowDrip,
    /// A body that never ends.
    Endless,
    /// The upstream refuses the credentials, in its own form.
    Denied,
}

/// When the fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the upstream has the request.
    Before,
    /// After the upstream has done its work: the answer is lost.
    After,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: Kind,
    /// When it hits. Truncated, slow and endless answers are always those to work that was done.
    pub moment: Moment,
}
