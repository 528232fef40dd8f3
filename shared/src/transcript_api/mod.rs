//! The requests and responses of the transcript endpoints.

mod captions;
#[cfg(feature = "openapi")]
mod contract;
mod request;
mod response;
mod stored;

pub use request::{Estimate, RequestOutcome, Stored, Timestamps, TranscriptOptions, TranscriptRequest};
pub use response::{
    AcceptedBody, EstimateBody, RecordingLabel, ResponseOptions, TranscriptBody, TranscriptOrEstimate, post_reply,
};
pub use stored::{FailedBody, PendingBody, StoredTranscript, TranscriptQuery};
