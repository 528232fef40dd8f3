//! The transcription endpoint of OpenAI and of servers compatible with it.
//!
//! Wire format: OpenAI's OpenAPI description, `POST /audio/transcriptions`. Answers are read leniently, since compatible servers
//! (Groq, vLLM, speaches, whisper.cpp, LocalAI) leave fields out or type them otherwise.

mod client;
mod error;
mod hallucination;
mod model;
mod response;
mod speech;

pub use client::{Audio, MAX_AUDIO_BYTES, Whisper, WhisperOptions};
pub use error::WhisperError;
pub use model::{gives_times, longest_audio, price_per_minute};
pub use speech::{Segment, Transcription, Word};
