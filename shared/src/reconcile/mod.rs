//! What the reconciler keeps in the calls table, for its writer and its readers.

mod checkpoint;
mod report;

pub use checkpoint::{Checkpoint, DayPage, Step};
pub use report::{Entries, Entry, Report};
