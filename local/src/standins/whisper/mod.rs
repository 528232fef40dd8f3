//! A stand-in for OpenAI's transcription endpoint, `POST /v1/audio/transcriptions`, with OpenAI's wire format and errors. It makes the same
//! checks as OpenAI and decodes the audio, but recognizes only the synthetic speech of [`tones`](super::tones) and the clips of the demo.
//! Silence is an empty text; for any other audio it returns 400 with the code `standin_unknown_audio`.

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
