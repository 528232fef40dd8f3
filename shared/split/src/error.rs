//! Why a file could not be split.

use std::io;

/// Why a file could not be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The file has no audio in it.
    #[error("The recording has no audio")]
    Empty,
    /// The file is of no known format, or broken beyond use.
    #[error("The recording is not audio that can be decoded: MP3, WAV, MP4 with AAC-LC, FLAC or Ogg Vorbis")]
    Unsupported,
    /// The file could not be read.
    #[error("The recording could not be read from disk: {0}")]
    Io(#[from] io::Error),
    /// A part could not be encoded, which no samples should bring about.
    #[error("A part of the recording could not be encoded as FLAC")]
    Encoding,
}
