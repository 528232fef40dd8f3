//! Errors of splitting.

use std::io;

/// A file could not be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The file contains no audio.
    #[error("The recording has no audio")]
    Empty,
    /// The file has an unknown format or is too damaged to be decoded.
    #[error("The recording is not audio that can be decoded: MP3, WAV, AAC-LC, FLAC, Opus or Vorbis")]
    Unsupported,
    /// There is no decoder for the file's codec. The transcription API may have one.
    #[error("The recording's codec cannot be decoded: {0}")]
    UnsupportedCodec(String),
    /// The length in the file's headers is not plausible for its size.
    #[error("The recording claims to be longer than a file of its size can be")]
    Implausible,
    /// The caller cancelled.
    #[error("Reading the recording was cancelled")]
    Cancelled,
    /// The file could not be read.
    #[error("The recording could not be read from disk: {0}")]
    Io(#[from] io::Error),
    /// A part could not be encoded, which should never happen.
    #[error("A part of the recording could not be encoded as FLAC")]
    Encoding,
}
