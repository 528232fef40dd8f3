//! Injected faults.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::sentence::without_punctuation;

/// A fault to inject with [`Whisper::fault`](super::Whisper::fault). It occurs after the request has been read, logged and transcribed.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Return this response.
    Status {
        /// HTTP status.
        status: u16,
        /// Additional headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The body, sent with the content type of JSON.
        body: String,
    },
    /// Never respond.
    Hang,
    /// Wait for a permit before the response: `add_permits(1)` lets one request continue.
    Gate(Arc<Semaphore>),
    /// Break the connection without a response.
    Cut,
    /// Only for this call, counted from 1 like [`Whisper::calls`](super::Whisper::calls).
    OnCall(usize, Box<Fault>),
    /// Only if the transcript contains this word, which is a word of [`tones`](crate::standins::tones) or of a clip.
    OnWord(String, Box<Fault>),
}

impl Fault {
    /// The fault for this call. Without a text, only faults that do not depend on it apply.
    pub(super) fn applicable(&self, call: usize, text: Option<&str>) -> Option<&Fault> {
        match self {
            Fault::OnCall(only, fault) => fault.applicable(call, text).filter(|_| *only == call),
            Fault::OnWord(only, fault) => {
                text?.split(' ').find(|word| without_punctuation(word) == only)?;
                fault.applicable(call, text)
            }
            fault => Some(fault),
        }
    }
}
