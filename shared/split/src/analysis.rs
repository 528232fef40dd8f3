//! The result of reading a whole recording.

use crate::{Coverage, Peaks};

/// What [`split`](crate::split) and [`analyze`](crate::analyze) find out about a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Length of the recording; up to where it was read when the receiver stopped early.
    pub seconds: f64,
    /// Length of the audio of all parts together.
    pub sent_seconds: f64,
    /// Number of channels in the file.
    pub channels: u8,
    /// Whether all channels carry the same signal. Computed for [`Channels::Separate`](crate::Channels::Separate) only.
    pub identical_channels: bool,
    /// Number of parts of all channels together.
    pub parts: u32,
    /// What was decoded beside what was promised.
    pub coverage: Coverage,
    /// Number of packets that could not be decoded; silence stands in their place.
    pub corrupt_packets: u64,
    /// How often the sample rate, the channels or the track changed on the way. Other decoders may stop at the first change.
    pub format_changes: u32,
    /// The outline of the waveform.
    pub peaks: Peaks,
}
