//! How much of what a recording should last was decoded.

/// A shortfall above this share is reported.
const TOLERANCE: f64 = 0.02;
/// A shorter shortfall, in seconds, is the encoder's delay and padding.
const SLACK: f64 = 0.15;

/// What was decoded beside what was promised. It tells nothing when the receiver of the parts stopped early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// Seconds of the recording that were decoded. Pauses that the container states count; silence in place of damage does not.
    pub decoded_seconds: f64,
    /// What the container or the size of the file promises, or the provider where it differs from them by more than a second; `None` when nobody
    /// promises anything.
    pub expected_seconds: Option<f64>,
}

impl Coverage {
    /// Whether at least 98 % of the expected time was decoded.
    pub fn is_complete(&self) -> bool {
        self.missing_seconds() <= SLACK.max(self.expected_seconds.unwrap_or(0.0) * TOLERANCE)
    }

    /// Seconds that were expected but not decoded.
    pub fn missing_seconds(&self) -> f64 {
        (self.expected_seconds.unwrap_or(0.0) - self.decoded_seconds).max(0.0)
    }
}
