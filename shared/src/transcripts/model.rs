//! The types stored in the transcripts table, and their keys.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    clients::{
        bucket::RecordingRef,
        twilio::RecordingSid,
        whisper::{Dropped, Segment, WhisperOptions, Word},
    },
    ids::DispatchId,
};

/// The audio that a transcript is of. Never a call: the recording of a call may turn out to be that of another, and an object may be overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioId {
    /// A Twilio recording, whose media never changes.
    Twilio(RecordingSid),
    /// An object of the bucket with its ETag. The copy of a Twilio recording is the same audio as that.
    Object(RecordingRef),
}

impl AudioId {
    /// The beginning of the keys of all items about this audio. Key and ETag of an object are hashed, since a key may have 1024 bytes.
    pub(super) fn as_key(&self) -> String {
        match self {
            Self::Twilio(sid)
            | Self::Object(RecordingRef {
                recording_sid: Some(sid),
                ..
            }) => format!("twilio#{sid}"),
            Self::Object(RecordingRef { key, etag, .. }) => {
                let mut digest = Sha256::new();
                // Without the length, different keys and ETags could have the same concatenation.
                digest.update((key.len() as u64).to_le_bytes());
                digest.update(key);
                digest.update(etag.as_deref().unwrap_or_default());
                format!("object#{}", hex::encode(&digest.finalize()[..16]))
            }
        }
    }

    /// Whether it is a Twilio recording or the copy of one.
    pub fn is_of_twilio(&self) -> bool {
        match self {
            Self::Twilio(_) => true,
            Self::Object(recording) => recording.recording_sid.is_some(),
        }
    }

    /// The key of the item with the waveform of a recording without a transcript. No variant has this name.
    pub(super) fn waveform_item(&self) -> String {
        format!("{}#waveform", self.as_key())
    }
}

/// Key of one item: the audio and the options it was transcribed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptId(String);

impl TranscriptId {
    /// The audio with these options.
    pub fn new(audio: &AudioId, variant: &Variant) -> Self {
        Self(format!("{}#{}", audio.as_key(), variant.0))
    }

    /// Where version 0.1 stored the transcript of the recording that a dispatch had at that time.
    pub fn of_dispatch(id: &DispatchId, variant: &Variant) -> Self {
        Self(format!("egress#{id}#{}", variant.0))
    }

    /// The partition key.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the ids of all transcripts of this audio begin with.
    pub(super) fn audio(&self) -> &str {
        self.0.rsplit_once('#').map_or(self.as_str(), |(audio, _)| audio)
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
    /// How much of the recording was decoded; `None` if it is unknown.
    pub coverage: Option<Coverage>,
    /// The outline of the recording's waveform, if it was decoded.
    pub peaks: Option<Peaks>,
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

/// How much of a recording was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Coverage {
    /// Seconds that were decoded.
    pub decoded_seconds: f64,
    /// Seconds that the container, the file's size or Twilio promise.
    pub expected_seconds: Option<f64>,
}

impl Coverage {
    /// Whether more than 2 % of the expected seconds are missing.
    pub fn is_incomplete(&self) -> bool {
        let Self {
            decoded_seconds,
            expected_seconds,
        } = *self;
        let coverage = crate::split::Coverage {
            decoded_seconds,
            expected_seconds,
        };
        !coverage.is_complete()
    }

    /// The coverage when somebody else decoded this many seconds of the same file.
    pub fn with(self, decoded_seconds: Option<f64>) -> Self {
        let most = self.expected_seconds.unwrap_or(f64::INFINITY);
        let by_other = decoded_seconds.map_or(0.0, |seconds| seconds.min(most));
        Self {
            decoded_seconds: self.decoded_seconds.max(by_other),
            ..self
        }
    }
}

/// The outline of a recording's waveform, for players that draw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Waveform))]
pub struct Peaks {
    /// Seconds that one point stands for.
    pub seconds_per_point: f64,
    /// For each channel at most 1024 points, from 0 for silence to 255 for full scale.
    pub channels: Vec<Vec<u8>>,
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

/// After this time without a sign of its message, a queued job may be lost: it is longer than the maximum delay of SQS (15 minutes) and a margin for
/// the worker to start. A second message costs nothing, because only one worker gets the lease and the other finds the completed transcript.
const OVERDUE: Duration = Duration::from_secs(20 * 60);

/// Queued jobs that were noted before this time, in milliseconds since 1970, are overdue.
pub(super) fn overdue_before(now: Timestamp) -> i64 {
    (now - OVERDUE).as_millisecond()
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
        /// The transcript that is to be replaced.
        earlier: Option<Box<Transcript>>,
    },
    /// It waits in the queue, perhaps for the rest of its parts.
    Queued {
        /// How far it is, once a part is done.
        progress: Option<Progress>,
        /// The transcript that is to be replaced.
        earlier: Option<Box<Transcript>>,
        /// The dispatch whose job is in the queue.
        dispatch: Option<String>,
        /// Whether its message is overdue, so that it may be lost and the job is to be sent again.
        is_overdue: bool,
    },
    /// The last try failed, and nobody is trying.
    Failed(Failure),
    /// The transcript was never requested.
    Absent,
}

impl TranscriptState {
    /// The transcript that is stored, perhaps about to be replaced.
    pub fn stored(&self) -> Option<&Transcript> {
        match self {
            Self::Completed(transcript) | Self::Stale(transcript) => Some(transcript),
            Self::InProgress { earlier, .. } | Self::Queued { earlier, .. } => earlier.as_deref(),
            Self::Failed(_) | Self::Absent => None,
        }
    }
}

/// How far the transcription of a long recording is.
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
    fn an_overwritten_object_and_another_key_have_ids_of_their_own_of_bounded_length() {
        let id = |key: &str, etag: Option<&str>| {
            let object = RecordingRef {
                key: key.into(),
                etag: etag.map(str::to_owned),
                size: None,
                recording_sid: None,
            };
            TranscriptId::new(&AudioId::Object(object), &Variant("default".into())).0
        };
        let ids = [
            id("a", Some("b")),
            id("a", Some("c")),
            id("ab", None),
            id("", Some("ab")),
            id(&"k".repeat(1024), Some("b")),
        ];
        let distinct: std::collections::HashSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == "object##default".len() + 32));
    }

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
