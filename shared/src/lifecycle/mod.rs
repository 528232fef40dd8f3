//! The lifecycle table: how far the copying of each Twilio recording is, and which of its next steps are due.
//!
//! | id | item |
//! | --- | --- |
//! | `recording#RE…` | the call of a Twilio recording, and the state of its copy |
//!
//! Items with a next step have `due_list` and `due_at`, the keys of the index `by-due`.

mod copying;
mod error;
mod table;

pub use copying::{CopyState, DueCopy};
pub use error::LifecycleError;
pub use table::{DueList, Lifecycle};
