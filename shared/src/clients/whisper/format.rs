//! The response formats of the transcription API.

use super::error_body::Parameter;

/// How the transcript is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `verbose_json` with segments and words.
    Words,
    /// `verbose_json` as the server gives it without being asked for words.
    Segments,
    /// `json`: the text alone.
    Json,
    /// `text`: the text alone, as it is.
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

    /// The form fields that ask for the format.
    pub(super) fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // Times are always asked for where they can be had: later wishes for them must not cost a second transcription.
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

    /// The next best format after this one is refused. Formats only ever become plainer, so that learning ends.
    pub(super) fn next(self, refused: Parameter) -> Option<Self> {
        match (self, refused) {
            (Self::Words, Parameter::TimestampGranularities) => Some(Self::Segments),
            (Self::Words | Self::Segments | Self::Diarized, _) => Some(Self::Json),
            (Self::Json, _) => Some(Self::Text),
            (Self::Text, _) => None,
        }
    }
}
