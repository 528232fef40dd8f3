//! What the API made of the audio: words and their times.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Segments left out because the model made them up.
    pub dropped_segments: usize,
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

/// A number, also one that the server wrote as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// Start and end in seconds. LocalAI gives whole nanoseconds.
pub(super) fn times(value: &Value) -> Option<(f64, f64)> {
    let nanoseconds = |value: &Value| value.is_u64() && value.as_f64().is_some_and(|number| number >= 1e6);
    let (start, end) = (value.get("start")?, value.get("end")?);
    let scale = if nanoseconds(start) || nanoseconds(end) {
        1e-9
    } else {
        1.0
    };
    let (start, end) = (number(start)? * scale, number(end)? * scale);
    (start.is_finite() && end.is_finite() && start >= 0.0 && end >= start).then_some((start, end))
}
