//! The types of a transcription: text, segments and words.

use serde::{Deserialize, Serialize};

/// The result of a transcription.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcription {
    /// The text; empty if there is no speech.
    pub text: String,
    /// The language as the server returned it, for example `english`.
    pub language: Option<String>,
    /// Length of the audio in seconds, as the server returned it.
    pub duration: Option<f64>,
    /// Segments with timestamps; empty if the model returns none.
    pub segments: Vec<Segment>,
    /// Words with timestamps; empty if the model returns none.
    pub words: Vec<Word>,
    /// Text that was dropped as hallucinations.
    pub dropped: Vec<Dropped>,
}

impl Transcription {
    /// Whether there is text whose position within the audio is unknown.
    pub fn is_without_times(&self) -> bool {
        !self.text.is_empty() && self.segments.is_empty() && self.words.is_empty()
    }
}

/// A segment of speech.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Start in seconds, relative to the start of the recording.
    pub start: f64,
    /// End in seconds, relative to the start of the recording.
    pub end: f64,
    /// The text.
    pub text: String,
    /// The channel, from 0, if channels are transcribed separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
    /// The speaker, if the model tells the voices on one channel apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// Whether the model was unsure of the text (`avg_logprob` below -1), but nothing else speaks against it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsure: bool,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// Start in seconds, relative to the start of the recording.
    pub start: f64,
    /// End in seconds, relative to the start of the recording.
    pub end: f64,
    /// The word.
    pub word: String,
    /// As in [`Segment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
}

/// Text that was dropped from the transcript, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Start in seconds, relative to the start of the recording.
    pub start: f64,
    /// End in seconds, relative to the start of the recording.
    pub end: f64,
    /// The text that the model returned.
    pub text: String,
    /// Why it was dropped.
    pub reason: DropReason,
    /// As in [`Segment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
}

/// Why text was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The model detected no speech, and its confidence in the words was low.
    Silence,
    /// Repetitions without a pause in which the model's confidence was low.
    Repetition,
}
