//! What the Call Recordings functions have in common.
//!
//! One module per outside thing: each owns its wire format, its errors and its retry rule, and knows nothing of HTTP routes.
//! [`http`] is the one place where requests become values and errors become responses.

pub mod auth;
pub mod aws;
pub mod calls;
mod captions;
pub mod config;
pub mod dispatch;
mod dynamodb;
pub mod egress;
pub mod http;
pub mod livekit;
pub mod playback;
pub mod queue;
pub mod recordings;
pub mod retry;
pub mod secrets;
pub mod time;
pub mod transcription;
pub mod transcripts;
pub mod twilio;
pub mod twilio_signature;
pub mod usage;
pub mod whisper;

pub use split;
