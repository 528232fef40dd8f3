//! The lifecycle table: how far the copying of each Twilio recording is, and which of its next steps are due.
//!
//! | id | item |
//! | --- | --- |
//! | `recording#RE…` | the call of a Twilio recording, and the state of its copy |
//! | `transcripts#…` | the transcripts that were begun of a recording |
//! | `erased#…` | the tombstone of an erased item: a keyed hash of its id |
//! | `erasure#…` | a requested erasure, and its receipt when it is done |
//! | `retain#…` | a call that ends at a time of its own |
//!
//! Items with a next step have `due_list` and `due_at`, the keys of the index `by-due`.

mod copying;
mod error;
mod notes;
mod retained;
mod table;
mod tombstones;
mod transcribed;

pub use copying::{CopyState, DueCopy};
pub use error::LifecycleError;
pub use notes::Versioned;
pub use table::{DueList, Lifecycle, OVERDUE};
pub use tombstones::Tombstones;
pub use transcribed::{BegunTranscript, BegunTranscripts};
