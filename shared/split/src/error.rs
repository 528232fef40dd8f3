//! Why a file could not be split.

use std::io;

/// Why a file could not be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The file has no audio in it.
    #[error("The recording has no audio")]
    Empty,
    /// The file is of no known format, or damaged so much that it cannot be decoded.
    #[error("The recording is not audio that can be decoded: MP3, WAV, AAC-LC, FLAC, Opus or Vorbis")]
    Unsupported,
    /// The file's codec is known by name, but there is no decoder for it. The transcription API may have one.
    #[error("The recording's codec cannot be decoded: {0}")]
    UnsupportedCodec(String),
    /// The file claims more audio than a file of its size can hold.
    #[error("The recording claims to be longer than a file of its size can be")]
    Implausible,
    /// The caller cancelled.
    #[error("Reading the recording was cancelled")]
    Cancelled,
    /// The file could not be read.
    #[error("The recording could not be read from disk: {0}")]
    Io(#[from] io::Error),
    /// A part could not be encoded, which no samples should bring about.
    #[error("A part of the recording could not be encoded as FLAC")]
    Encoding,
}
