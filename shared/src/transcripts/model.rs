//! What is stored of a recording's transcription, and under which key.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clients::{
    queue::RecordingId,
    whisper::{Segment, WhisperOptions, Word},
};

/// Key of one item: the recording and the options it was transcribed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptId(String);

impl TranscriptId {
    /// A recording with these options.
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

    /// The id of the item with this key.
    pub(super) fn from_key(key: String) -> Self {
        Self(key)
    }

    /// Key of a further item of the text.
    pub(super) fn text_item(&self, version: i64, n: i64) -> String {
        format!("{}#text#{version}#{n}", self.0)
    }
}
/// The options of a transcript, as one short word: `default`, or 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant(String);

impl Variant {
    /// The word for these options. Equal options give equal words.
    pub fn of(options: &WhisperOptions) -> Self {
        if *options == WhisperOptions::default() {
            return Self("default".into());
        }
        let mut digest = Sha256::new();
        for value in [&options.language, &options.prompt, &options.model] {
            // The length tells apart what would read the same when joined.
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

    /// Reads the word; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits || text == "default").then(|| Self(text.to_owned()))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A finished transcript and what was known of its recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// What was said.
    pub speech: Speech,
    /// Language as the API named it.
    pub language: Option<String>,
    /// Length of the audio in seconds, as the API measured it.
    pub audio_seconds: Option<f64>,
    /// Seconds of audio that were paid for.
    pub billed_seconds: u64,
    /// Price of those, in USD.
    pub cost_usd: f64,
    /// Segments left out because the model made them up.
    pub dropped_segments: usize,
    /// Channels that were transcribed on their own: 2, or 0 when the speakers are not told apart.
    pub speakers: u8,
    /// Model that transcribed.
    pub model: String,
    /// When the transcription was completed.
    pub completed_at: Timestamp,
    /// The recording's length in seconds by Twilio.
    pub recording_duration: Option<u64>,
    /// When the recording was created.
    pub recording_created: Option<Timestamp>,
    /// The recording's call.
    pub call_sid: Option<String>,
}

impl Transcript {
    /// Whether it was completed since then, as exactly as its time is stored: to the second.
    pub fn is_of(&self, since: Timestamp) -> bool {
        self.completed_at.as_second() >= since.as_second()
    }
}

/// The words of a transcript and their times.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Speech {
    /// The words. Empty when nothing was said.
    pub text: String,
    /// Stretches of speech with their times; empty when the model gives none.
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// Single words with their times; empty when the model gives none.
    #[serde(default)]
    pub words: Vec<Word>,
}

/// Code of the failure of a recording whose workers died too often.
pub const GIVEN_UP: &str = "transcription_given_up";
/// Code of the failure of a lease that ended without a word.
pub const INTERRUPTED: &str = "transcription_interrupted";

/// Why a recording has no transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable word for programs.
    pub code: String,
    /// What to tell a caller: a sentence without its full stop.
    pub message: String,
    /// Whether trying again may help.
    pub retryable: bool,
    /// How long to wait before that, if it is known. Not stored.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that another try would not change.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after: None,
        }
    }

    /// A failure that may pass.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            ..Self::permanent(code, message)
        }
    }
}

/// What the table knows of one id.
#[derive(Debug, Clone, PartialEq)]
pub enum TranscriptState {
    /// Finished.
    Completed(Box<Transcript>),
    /// Finished earlier; a try to replace it ended without a word.
    Stale(Box<Transcript>),
    /// Someone is at work, until then at the latest.
    InProgress {
        /// End of the lease.
        until: Timestamp,
        /// How far it is, once a part is done.
        progress: Option<Progress>,
    },
    /// It waits in the queue, perhaps for the rest of its parts.
    Queued(Option<Progress>),
    /// The last try failed, and nobody is trying.
    Failed(Failure),
    /// Nobody asked for it.
    Absent,
}

/// How far the transcription of a long recording is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Parts that are transcribed.
    pub parts_done: u32,
    /// All parts; while the recording is still being split, those there are so far.
    pub parts_total: u32,
    /// Seconds of the recording that those parts span, over all channels.
    pub seconds_done: f64,
    /// Length of the recording in seconds, times its channels; `None` until it is known.
    pub seconds_total: Option<f64>,
}

/// A transcribed part of a long recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPart {
    /// Where the part begins in the recording, in seconds. A part cut elsewhere is another part.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// Seconds that were paid for.
    pub billed_seconds: u64,
    /// What was said, in the recording's time.
    pub speech: Speech,
    /// Language as the API named it.
    pub language: Option<String>,
    /// Segments left out because the model made them up.
    pub dropped_segments: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_stands_for_its_options_alone() {
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
