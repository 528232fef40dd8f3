//! Compares the decoded length of a recording with its expected length.

/// A greater fraction of missing audio is reported.
const TOLERANCE: f64 = 0.02;
/// Up to this many missing seconds can be the encoder's delay and padding.
const SLACK: f64 = 0.15;

/// The decoded and the expected length. The values are meaningless if the receiver of the parts stopped early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// Decoded seconds, including pauses in the container's timestamps and without silence that replaces damaged audio.
    pub decoded_seconds: f64,
    /// The length according to the container or the file's size, or according to the provider if that differs by more than a second; `None` if
    /// it is unknown.
    pub expected_seconds: Option<f64>,
}

impl Coverage {
    /// Whether at least 98 % of the expected time was decoded.
    pub fn is_complete(&self) -> bool {
        self.missing_seconds() <= SLACK.max(self.expected_seconds.unwrap_or(0.0) * TOLERANCE)
    }

    /// The seconds that were expected but not decoded.
    pub fn missing_seconds(&self) -> f64 {
        (self.expected_seconds.unwrap_or(0.0) - self.decoded_seconds).max(0.0)
    }
}
