//! The requests and responses of the transcript endpoints.

mod captions;
#[cfg(feature = "openapi")]
mod contract;
mod options;
mod request;
mod response;
mod stored;

pub use options::{Timestamps, TranscriptOptions};
pub use request::{Estimate, RequestOutcome, Stored, TranscriptRequest};
pub use response::{
    AcceptedBody, EstimateBody, RecordingLabel, ResponseOptions, TranscriptBody, TranscriptOrEstimate, post_reply,
};
pub use stored::{FailedBody, PendingBody, StoredTranscript, TranscriptQuery};
