//! Attempts to get an answer of Twilio or of the transcription API: what the metrics count of them, and the log line of one that failed.

use std::fmt::Display;

use crate::metrics::{self, Metric};

/// A service whose requests are counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Upstream {
    Twilio,
    Whisper,
}

impl Upstream {
    fn name(self) -> &'static str {
        match self {
            Self::Twilio => "Twilio",
            Self::Whisper => "Whisper",
        }
    }

    fn calls(self) -> Metric {
        match self {
            Self::Twilio => Metric::TwilioCalls,
            Self::Whisper => Metric::WhisperCalls,
        }
    }

    fn failures(self) -> Metric {
        match self {
            Self::Twilio => Metric::TwilioFailures,
            Self::Whisper => Metric::WhisperFailures,
        }
    }
}

/// A request, until the body of its response is read. It counts as failed if it is dropped before [`Attempt::succeed`] or [`Attempt::answered`],
/// because then it was given up.
#[derive(Debug)]
pub(super) struct Attempt {
    upstream: Upstream,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    Answered,
    Ended,
}

impl Attempt {
    /// Counts a request.
    pub(super) fn begin(upstream: Upstream) -> Self {
        metrics::count(upstream.calls());
        Self {
            upstream,
            state: State::Open,
        }
    }

    /// The response has begun, and its reader may have reasons of its own to stop. From here on only [`Attempt::fail`] counts.
    pub(super) fn answered(&mut self) {
        if self.state == State::Open {
            self.state = State::Answered;
        }
    }

    /// Ends the request, unless it has failed before.
    pub(super) fn succeed(mut self) {
        self.state = State::Ended;
    }

    /// Ends the request with a failure, counts it, and writes its line: the status of the response, if the status is the failure, a stable code,
    /// and the cause, which must not contain secrets, URLs or customer data.
    pub(super) fn fail(&mut self, status: Option<u16>, code: &str, cause: &dyn Display) {
        if self.state != State::Ended {
            self.state = State::Ended;
            metrics::count(self.upstream.failures());
            tracing::warn!(service = self.upstream.name(), status, code, %cause, "an attempt failed");
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.fail(None, "given_up", &"there was no whole answer in time");
        }
    }
}
