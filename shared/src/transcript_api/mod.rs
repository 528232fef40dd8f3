//! The requests and responses of the transcript endpoints.

mod captions;
mod request;
mod response;

pub use request::{Estimate, RequestOutcome, Stored, Timestamps, TranscriptOptions, TranscriptRequest};
pub use response::{RecordingLabel, ResponseOptions, TranscriptQuery, post_reply};
