//! The transcripts table in DynamoDB: one item per recording and options, so that each is paid for once.
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
//! A lease has its own deadline (TTL deletion can lag by days) and a version that grows with every lease; every later write is conditional on
//! that version, so a worker that lost its lease can't overwrite.
//!
//! A long recording is transcribed in parts. Each is an item of its own as soon as it is there, `{id}#part#{run}#{channel}#{index}`, and the
//! next lease of the same run goes on with them; a run ends with its completion. A text too large for one item has its rest in items
//! `{id}#text#{version}#{n}`.

mod encoding;
mod error;
mod lease;
mod model;
mod table;
pub mod usage;

pub use error::TranscriptsError;
pub use lease::{ClaimPolicy, ClaimResult, LEASE_OVER, Lease};
pub use model::{
    AudioId, Failure, GIVEN_UP, INTERRUPTED, Progress, Speech, StoredPart, Transcript, TranscriptId, TranscriptState,
    Variant,
};
pub use table::Transcripts;
