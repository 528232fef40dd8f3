//! The result of reading a whole recording.

use crate::{Coverage, Peaks};

/// The properties of a recording that [`split`](crate::split) and [`analyze`](crate::analyze) determine.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Length of the recording, or of the part that was read if the receiver stopped early.
    pub seconds: f64,
    /// Total length of the audio in all parts.
    pub sent_seconds: f64,
    /// Number of channels in the file.
    pub channels: u8,
    /// Whether all channels contain the same signal. Computed only for [`Channels::Separate`](crate::Channels::Separate).
    pub identical_channels: bool,
    /// Total number of parts of all channels.
    pub parts: u32,
    /// The decoded and the expected length.
    pub coverage: Coverage,
    /// Number of packets that could not be decoded and were replaced by silence.
    pub corrupt_packets: u64,
    /// How often the sample rate, the channels or the track changed on the way. Other decoders may stop at the first change.
    pub format_changes: u32,
    /// The outline of the waveform.
    pub peaks: Peaks,
}
