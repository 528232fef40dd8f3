//! The transcription endpoint of OpenAI and of servers compatible with it.
//!
//! The wire format is OpenAI's OpenAPI description of `POST /audio/transcriptions`. Responses are parsed leniently, because compatible servers
//! (Groq, vLLM, speaches, whisper.cpp, LocalAI) omit fields or use other types.

mod alignment;
mod capabilities;
mod client;
mod endpoint;
mod error;
mod error_body;
mod format;
mod hallucination;
mod model;
mod number;
mod response;
mod settings;
mod speech;
mod times;

pub use capabilities::{Limits, MAX_AUDIO_BYTES};
pub use client::{Audio, KnownSpeaker, MAX_KNOWN_SPEAKERS, Whisper, WhisperOptions};
pub use error::WhisperError;
pub use speech::{DropReason, Dropped, Segment, Transcription, Word};
