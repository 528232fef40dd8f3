//! Splits a recording file into parts for a transcription API: it is decoded, resampled to at most 16 kHz, freed of long silences, and cut at
//! pauses.
//!
//! Supported formats are MP3; WAV and Sun audio with PCM, mu-law, A-law, IMA and MS ADPCM; MP4, Matroska and WebM with AAC-LC, Opus, MP3, FLAC,
//! Vorbis and PCM; Ogg with Opus, Vorbis and FLAC; FLAC; AAC in ADTS. If headers and bytes are inconsistent, the bytes count. Damaged or
//! truncated files are decoded as far as possible; [`Coverage`] contains how much is missing.
//!
//! The crate uses neither network nor clock. The functions block, so async callers must use `spawn_blocking`. The file is read as a stream:
//! memory contains the samples of one part per channel, independent of the file's length. The same file and plan yield the same parts, byte for
//! byte.

mod analysis;
mod audio_file;
mod clip;
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
mod resample;
#[cfg(test)]
mod tests;

pub use analysis::Analysis;
pub use audio_file::AudioFile;
pub use clip::clip;
pub use coverage::Coverage;
pub use error::SplitError;
pub use part::{Part, Spans};
pub use peaks::Peaks;
pub use pipeline::{analyze, split};
pub use plan::{Channels, LONGEST, Plan};

/// The maximum sample rate of a part. Speech recognition uses no higher rate.
const MAX_RATE: u32 = 16_000;
