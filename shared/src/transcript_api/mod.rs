//! What a `POST` and a `GET` for a transcript say.

mod captions;
mod request;
mod response;

pub use request::{Estimate, RequestOutcome, Stored, Timestamps, TranscriptOptions, TranscriptRequest};
pub use response::{RecordingLabel, ResponseOptions, TranscriptQuery, post_reply};
