//! The types stored in the transcripts table, and their keys.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clients::{
    queue::RecordingId,
    whisper::{Dropped, Segment, WhisperOptions, Word},
};

/// The key of an item: the recording and the variant of the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptId(String);

impl TranscriptId {
    /// The key for a recording and a variant.
    pub fn new(recording: &RecordingId, variant: &Variant) -> Self {
        Self(match recording {
            RecordingId::Twilio(sid) => format!("twilio#{sid}#{}", variant.0),
            RecordingId::Egress(id) => format!("egress#{id}#{}", variant.0),
        })
    }

    /// The partition key.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id for a partition key.
    pub(super) fn from_key(key: String) -> Self {
        Self(key)
    }

    /// The key of an additional text item.
    pub(super) fn text_item(&self, version: i64, n: i64) -> String {
        format!("{}#text#{version}#{n}", self.0)
    }
}
/// A short name for the options of a transcript: `default` or 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant(String);

impl Variant {
    /// The variant of these options. Equal options have equal variants.
    pub fn of(options: &WhisperOptions) -> Self {
        if *options == WhisperOptions::default() {
            return Self("default".into());
        }
        let mut digest = Sha256::new();
        for value in [&options.language, &options.prompt, &options.model] {
            // Hashing the length keeps different options with the same concatenation distinct.
            digest.update(
                value
                    .as_ref()
                    .map_or(u64::MAX, |value| value.len() as u64)
                    .to_le_bytes(),
            );
            digest.update(value.as_deref().unwrap_or_default());
        }
        if options.mixed {
            digest.update("mixed");
        }
        Self(hex::encode(&digest.finalize()[..8]))
    }

    /// Parses a variant; `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits || text == "default").then(|| Self(text.to_owned()))
    }

    /// The variant as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A completed transcript with metadata of its recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// The text with its timestamps.
    pub speech: Speech,
    /// Language, as the API returned it.
    pub language: Option<String>,
    /// Length of the audio in seconds, as the API returned it.
    pub audio_seconds: Option<f64>,
    /// Billed seconds of audio.
    pub billed_seconds: u64,
    /// Price of the billed seconds in USD.
    pub cost_usd: f64,
    /// The number of segments that were dropped as hallucinations.
    pub dropped_segments: usize,
    /// The number of channels that were transcribed separately: 2, or 0 if speakers are not distinguished.
    pub speakers: u8,
    /// The model that was used.
    pub model: String,
    /// When the transcription was completed.
    pub completed_at: Timestamp,
    /// The recording's length in seconds according to Twilio.
    pub recording_duration: Option<u64>,
    /// When the recording was created.
    pub recording_created: Option<Timestamp>,
    /// Twilio's SID of the call.
    pub call_sid: Option<String>,
}

impl Transcript {
    /// Whether the transcript was completed at or after `since`. Times are compared in whole seconds, because `completed_at` is stored in
    /// seconds.
    pub fn is_completed_since(&self, since: Timestamp) -> bool {
        self.completed_at.as_second() >= since.as_second()
    }
}

/// The text of a transcript and its timestamps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Speech {
    /// The text; empty if there is no speech.
    pub text: String,
    /// Segments with timestamps; empty if the model returns none.
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// Words with timestamps; empty if the model returns none.
    #[serde(default)]
    pub words: Vec<Word>,
    /// What was left out because the model made it up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
}

/// The failure code of a recording whose worker was killed too often.
pub const GIVEN_UP: &str = "transcription_given_up";
/// The failure code of a lease that expired without a result.
pub const INTERRUPTED: &str = "transcription_interrupted";

/// Why a transcription failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable code for programs.
    pub code: String,
    /// The message for the caller: a sentence without its full stop.
    pub message: String,
    /// Whether a retry may help.
    pub retryable: bool,
    /// How long to wait before a retry, if known. It is not stored.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that a retry would not change.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after: None,
        }
    }

    /// A failure for which a retry may help.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            ..Self::permanent(code, message)
        }
    }
}

/// The state of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub enum TranscriptState {
    /// The transcript is completed.
    Completed(Box<Transcript>),
    /// An earlier transcript is stored, and the lease of an attempt to replace it has expired.
    Stale(Box<Transcript>),
    /// A worker holds the lease, at most until this time.
    InProgress {
        /// When the lease expires.
        until: Timestamp,
        /// The progress, once a part is transcribed.
        progress: Option<Progress>,
    },
    /// A job waits in the queue, possibly with some parts already transcribed.
    Queued(Option<Progress>),
    /// The last attempt failed, and no other attempt is in progress.
    Failed(Failure),
    /// The transcript was never requested.
    Absent,
}

/// The progress of transcribing a long recording.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// The number of transcribed parts.
    pub parts_done: u32,
    /// The number of all parts. While the recording is still being split, the number of parts so far.
    pub parts_total: u32,
    /// The length of the transcribed parts in seconds, over all channels.
    pub seconds_done: f64,
    /// The length of the recording in seconds, times its channels; `None` until it is known.
    pub seconds_total: Option<f64>,
}

/// A transcribed part of a long recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPart {
    /// Where the part begins in the recording, in seconds. A part with another start or end is a different part.
    pub start: f64,
    /// Where the part ends.
    pub end: f64,
    /// Billed seconds of audio.
    pub billed_seconds: u64,
    /// The text. Its timestamps are relative to the start of the recording.
    pub speech: Speech,
    /// Language, as the API returned it.
    pub language: Option<String>,
    /// The number of segments that were dropped as hallucinations.
    pub dropped_segments: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_options_have_different_variants() {
        let options = |language: Option<&str>, prompt: Option<&str>| WhisperOptions {
            language: language.map(str::to_owned),
            prompt: prompt.map(str::to_owned),
            ..WhisperOptions::default()
        };
        assert_eq!(Variant::of(&options(None, None)).as_str(), "default");
        let variants = [
            options(Some("en"), None),
            options(None, Some("en")),
            options(Some("e"), Some("n")),
            options(Some("de"), None),
            WhisperOptions {
                mixed: true,
                ..WhisperOptions::default()
            },
        ];
        let words: std::collections::HashSet<String> = variants.iter().map(|options| Variant::of(options).0).collect();
        assert_eq!(words.len(), variants.len());
        assert!(words.iter().all(|word| Variant::parse(word).is_some()));
        for junk in ["", "DEFAULT", "0123456789ABCDEF", "0123", "#########default"] {
            assert_eq!(Variant::parse(junk), None);
        }
    }
}
