//! What the reconciler keeps in the calls table, for its writer and its readers.

mod checkpoint;
mod days;
mod failures;
mod report;

pub use checkpoint::{Checkpoint, DaySweep, ObjectSweep, Step, TwilioSweep};
pub use days::{Days, Entries, Entry, Tally};
pub use failures::{Failure, Failures, Subject};
pub use report::{IgnoredFile, IgnoredFiles, Problem, Report};
