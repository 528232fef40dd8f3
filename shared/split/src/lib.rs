//! Splits a recording file into parts for a transcription API: decoded, at 16 kHz at most, without long silences, cut in pauses.
//!
//! Read are MP3; WAV and Sun audio with PCM, mu-law, A-law, IMA and MS ADPCM; MP4, Matroska and WebM with AAC-LC, Opus, MP3, FLAC, Vorbis and PCM; Ogg
//! with Opus, Vorbis and FLAC; FLAC; AAC in ADTS. The bytes are believed before the headers, and what is damaged or cut off is decoded as far as
//! it goes: [`Coverage`] says what is missing.
//!
//! No network and no clock. The functions block, so an async caller runs them in `spawn_blocking`. The file is read as a stream: whatever its
//! length, memory holds one part's samples per channel. The same file and plan give the same parts, byte for byte.

mod analysis;
mod coverage;
mod cut;
mod decode;
mod error;
mod flac;
mod identical;
mod part;
mod peaks;
mod pipeline;
mod plan;
mod recording;
mod resample;
#[cfg(test)]
mod tests;

pub use analysis::Analysis;
pub use coverage::Coverage;
pub use error::SplitError;
pub use part::{Part, Spans};
pub use peaks::Peaks;
pub use pipeline::{analyze, split};
pub use plan::{Channels, LONGEST, Plan};
pub use recording::Recording;

/// The most samples per second in a part. Speech recognition uses no more.
const MAX_RATE: u32 = 16_000;
