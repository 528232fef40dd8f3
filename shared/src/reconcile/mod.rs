//! The types of the reconciler's state in the calls table, shared by the reconciler and the functions that read its report.

mod checkpoint;
mod days;
mod failures;
mod report;

pub use checkpoint::{Checkpoint, DaySweep, ObjectSweep, Step, TwilioSweep};
pub use days::{Copies, Days, Entries, Entry, Tally};
pub use failures::{Failures, IndexFailure, Subject};
pub use report::{IgnoredFile, IgnoredFiles, Problem, Report, RetentionReport};
