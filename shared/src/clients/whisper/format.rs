//! The response formats of the transcription API.

use super::error_body::Parameter;

/// The requested response format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `verbose_json` with segments and words.
    Words,
    /// `verbose_json` without requesting word timestamps.
    Segments,
    /// `json`: only the text.
    Json,
    /// `text`: only the text, without JSON.
    Text,
    /// `diarized_json`: segments with speakers.
    Diarized,
}

impl Format {
    /// The format for a value of `WHISPER_RESPONSE_FORMAT`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "verbose_json" => Self::Words,
            "json" => Self::Json,
            "text" => Self::Text,
            "diarized_json" => Self::Diarized,
            _ => return None,
        })
    }

    /// The form fields for the format.
    pub(super) fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // Timestamps are always requested if the model supports them, so that a later request for them needs no second transcription.
            Self::Words => &[
                ("response_format", "verbose_json"),
                ("timestamp_granularities[]", "segment"),
                ("timestamp_granularities[]", "word"),
            ],
            Self::Segments => &[("response_format", "verbose_json")],
            Self::Json => &[("response_format", "json")],
            Self::Text => &[("response_format", "text")],
            Self::Diarized => &[("response_format", "diarized_json")],
        }
    }

    /// The next format to try after this one was rejected. Formats only become simpler, so that learning terminates.
    pub(super) fn next(self, refused: Parameter) -> Option<Self> {
        match (self, refused) {
            (Self::Words, Parameter::TimestampGranularities) => Some(Self::Segments),
            (Self::Words | Self::Segments | Self::Diarized, _) => Some(Self::Json),
            (Self::Json, _) => Some(Self::Text),
            (Self::Text, _) => None,
        }
    }
}
