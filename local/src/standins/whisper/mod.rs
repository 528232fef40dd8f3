//! A stand-in for OpenAI's transcription endpoint, `POST /v1/audio/transcriptions`. It checks what the real one checks and decodes the audio
//! for real, but recognizes only the language of [`tones`](super::tones) and the clips of the demo: silence is an empty text,
//! and anything else it refuses with a 400 whose code is `standin_unknown_audio`. Wire format and errors: OpenAI's.

mod error;
mod fault;
mod fingerprint;
mod form;
mod log;
mod options;
mod recognition;
mod response;
mod sentence;
mod server;
#[cfg(test)]
mod tests;
mod tone_recognizer;

pub use fault::Fault;
pub use form::MAX_BODY_BYTES;
pub use log::Logged;
pub use server::Whisper;
