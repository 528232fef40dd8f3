//! The transcripts table in DynamoDB. It has one item for each recording and set of options, so that no transcription is paid for twice.
//!
//! An id names the audio, never a call: `object#{hash of key and ETag}#{variant}` or `twilio#{recording SID}#{variant}`. Items of version 0.1 have
//! ids `egress#{dispatch id}#{variant}`.
//!
//! | state | meaning |
//! | --- | --- |
//! | `queued` | waits in the queue, at most until `lease_until` |
//! | `in_progress` | someone is at work, at most until `lease_until` |
//! | `completed` | the text is here |
//! | `unqueued` | nobody asks for it any more: the job's call has another recording |
//! | `failed` | `code`, `message` and `retryable` say why; the next request tries again |
//!
//! A long recording is transcribed in parts. Each transcribed part is stored in a separate item, `{id}#part#{run}#{channel}#{index}`, and the
//! next lease of the same run continues with the stored parts. A run ends when the transcript is completed. A text that is too large for one
//! item is stored in the items `{id}#text#{version}#{n}`. `lease.rs` describes leases.

mod encoding;
mod erase;
mod error;
mod lease;
mod model;
mod table;
pub mod usage;

pub use erase::ErasedTranscripts;
pub use error::TranscriptsError;
pub use lease::{ClaimPolicy, ClaimResult, LEASE_OVER, Lease, QuietJob};
pub use model::{
    AudioId, Coverage, Failure, GIVEN_UP, INTERRUPTED, Peaks, Progress, Speech, StoredPart, Transcript, TranscriptId,
    TranscriptState, Variant,
};
pub use table::Transcripts;
