//! The transcription endpoint of OpenAI and of servers compatible with it.
//!
//! Wire format: OpenAI's OpenAPI description, `POST /audio/transcriptions`. Answers are read leniently, since compatible servers
//! (Groq, vLLM, speaches, whisper.cpp, LocalAI) leave fields out or type them otherwise.

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
pub use client::{Audio, Whisper, WhisperOptions};
pub use error::WhisperError;
pub use speech::{DropReason, Dropped, Segment, Transcription, Word};
