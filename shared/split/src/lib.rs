//! Splits a recording file into parts for a transcription API: decoded, at 16 kHz, without long silences, cut in pauses.
//!
//! No network and no clock. The functions block, so an async caller runs them in `spawn_blocking`. The file is read as a stream: whatever its
//! length, memory holds one part's samples per channel. The same file and plan give the same parts, byte for byte.

mod analysis;
mod cut;
mod decode;
mod error;
mod flac;
mod identical;
mod mp4;
mod part;
mod pipeline;
mod plan;
mod resample;
#[cfg(test)]
mod tests;

pub use analysis::Analysis;
pub use error::SplitError;
pub use part::{Part, Spans};
pub use pipeline::{analyze, split};
pub use plan::{Channels, LONGEST, Plan};

/// Samples per second of the parts' audio.
const RATE: u32 = 16_000;
