//! The caller's choices.

use std::time::Duration;

/// The longest part: even if it is noise, its FLAC file is smaller than the API's limit of 25 MB.
pub const LONGEST: Duration = Duration::from_secs(780);
/// The shortest value of [`Plan::longest`].
pub(super) const SHORTEST: Duration = Duration::from_secs(2);

/// How to split a file.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The longest audio of one part; clamped to between 2 s and [`LONGEST`].
    pub longest: Duration,
    /// How to treat several channels.
    pub channels: Channels,
}

/// How to treat several channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// All channels are mixed into one.
    Mixed,
    /// Each channel has its own parts. Channels that carry the same signal count as one.
    Separate,
}
