//! Faults that a test injects.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::sentence::without_punctuation;

/// A fault to inject with [`Whisper::fault`](super::Whisper::fault). It happens after the request has been read, logged and transcribed.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer in place of the right one.
    Status {
        /// HTTP status.
        status: u16,
        /// Further headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The body, sent as JSON whatever it is.
        body: String,
    },
    /// Never answer.
    Hang,
    /// Wait for a permit before the intended response: `add_permits(1)` lets one request go on.
    Gate(Arc<Semaphore>),
    /// Break the connection in place of an answer.
    Cut,
    /// Only for this call, counted from 1 as [`Whisper::calls`] does.
    OnCall(usize, Box<Fault>),
    /// Only where this word is in the transcript, a word of [`tones`](crate::standins::tones) or of a clip.
    OnWord(String, Box<Fault>),
}

impl Fault {
    /// The fault that happens to this call; without a text, those that need none.
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
