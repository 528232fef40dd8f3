//! The requests and responses of the transcript endpoints.

mod captions;
#[cfg(feature = "openapi")]
mod contract;
mod request;
mod response;

pub use request::{Estimate, RequestOutcome, Stored, Timestamps, TranscriptOptions, TranscriptRequest};
pub use response::{
    AcceptedBody, EstimateBody, FailedBody, PendingBody, RecordingLabel, ResponseOptions, StoredTranscript,
    TranscriptBody, TranscriptOrEstimate, TranscriptQuery, post_reply,
};
