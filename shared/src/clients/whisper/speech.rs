//! What the API made of the audio: words and their times.

use serde::{Deserialize, Serialize};

/// What was heard.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcription {
    /// The words. Empty when nothing was said.
    pub text: String,
    /// The language as the server names it, for example `english`.
    pub language: Option<String>,
    /// Length of the audio in seconds, as the server measured it.
    pub duration: Option<f64>,
    /// Stretches of speech with their times; empty when the model gives none.
    pub segments: Vec<Segment>,
    /// Single words with their times; empty when the model gives none.
    pub words: Vec<Word>,
    /// What was left out because the model made it up.
    pub dropped: Vec<Dropped>,
}

/// A stretch of speech.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Beginning, in seconds of the recording.
    pub start: f64,
    /// End, in seconds of the recording.
    pub end: f64,
    /// What was said.
    pub text: String,
    /// Channel of the recording it was said on, from 0, where channels are transcribed on their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// Beginning, in seconds of the recording.
    pub start: f64,
    /// End, in seconds of the recording.
    pub end: f64,
    /// The word.
    pub word: String,
    /// As in [`Segment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
}

/// Text that was left out of the transcript, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Beginning, in seconds of the recording.
    pub start: f64,
    /// End, in seconds of the recording.
    pub end: f64,
    /// The text that the model returned.
    pub text: String,
    /// Why it was left out.
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
    /// The model says that nobody speaks there, and was unsure of the words.
    Silence,
    /// The same words over and over without a pause, of which the model was unsure.
    Repetition,
}
