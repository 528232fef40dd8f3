//! The transcripts table in DynamoDB. It has one item for each recording and set of options, so that no transcription is paid for twice.
//!
//! | state | meaning |
//! | --- | --- |
//! | `queued` | a job waits in the queue, at most until `lease_until` |
//! | `in_progress` | a process holds the lease, at most until `lease_until` |
//! | `completed` | the item contains the transcript |
//! | `failed` | `code`, `message` and `retryable` describe the failure; the next request retries |
//!
//! A long recording is transcribed in parts. Each transcribed part is stored in a separate item, `{id}#part#{run}#{channel}#{index}`, and the
//! next lease of the same run continues with the stored parts. A run ends when the transcript is completed. A text that is too large for one
//! item is stored in the items `{id}#text#{version}#{n}`. `lease.rs` describes leases.

mod encoding;
mod error;
mod lease;
mod model;
mod table;
pub mod usage;

pub use error::TranscriptsError;
pub use lease::{ClaimPolicy, ClaimResult, LEASE_OVER, Lease};
pub use model::{
    Coverage, Failure, GIVEN_UP, INTERRUPTED, Peaks, Progress, Speech, StoredPart, Transcript, TranscriptId,
    TranscriptState, Variant,
};
pub use table::Transcripts;
