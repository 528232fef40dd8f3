//! The caller's choices.

use std::time::Duration;

/// The maximum length of a part. Even for noise, its FLAC file is smaller than the API's limit of 25 MB.
pub const LONGEST: Duration = Duration::from_secs(780);
/// The minimum value of [`Plan::longest`].
pub(super) const SHORTEST: Duration = Duration::from_secs(2);

/// How to split a file.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The maximum length of a part's audio; clamped to between 2 s and [`LONGEST`].
    pub longest: Duration,
    /// How to treat several channels.
    pub channels: Channels,
}

/// How to treat several channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// All channels are mixed to one.
    Mixed,
    /// Each channel has separate parts. Channels with the same signal count as one.
    Separate,
}
