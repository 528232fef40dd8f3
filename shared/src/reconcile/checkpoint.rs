//! Where the reconciler goes on.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{failures::Failures, report::Report};

/// Where a run goes on, and what outlasts a round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What comes next.
    pub step: Step,
    /// When this round began.
    pub began: Timestamp,
    /// When the last round began that read all recent keys of the bucket.
    pub objects_read: Option<Timestamp>,
    /// When the last round began that read all recent days of Twilio's list.
    pub twilio_read: Option<Timestamp>,
    /// Whether an earlier round was finished. In the first one nothing is transcribed by itself.
    pub has_finished: bool,
    /// The walk over all keys of the bucket.
    #[serde(default)]
    pub objects: ObjectSweep,
    /// The walk over all of Twilio's recordings.
    #[serde(default)]
    pub twilio: TwilioSweep,
    /// What failed by itself.
    #[serde(default)]
    pub failures: Failures,
    /// What the round has counted so far.
    pub report: Report,
}

/// What a round does, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// The bucket's keys of the last days, after this one.
    Objects(Option<String>),
    /// A page of Twilio's recordings of a day.
    Twilio(Date, Option<String>),
    /// The rows of the open days and of those that were changed, except these, which are done.
    Days(Vec<Date>),
    /// The rows of closed days that were never counted.
    Close,
    /// What failed before.
    Retry,
    /// So many pages of the walks over everything.
    Sweep(u32),
    /// The round is finished.
    Done,
}

/// A walk over all keys of the bucket. The first one compares all of them with the index, later ones those that were written since the walk before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectSweep {
    /// Whether the first walk is over.
    pub is_first_over: bool,
    /// When the walk began that is under way, or the last one.
    pub began: Option<Timestamp>,
    /// When the walk before it began.
    pub before: Option<Timestamp>,
    /// The key after which it goes on; `None` between two walks.
    pub after: Option<String>,
    /// Files that are no recordings.
    pub ignored: super::report::IgnoredFiles,
}

/// A walk over Twilio's recordings: the first one over all, from month to month backwards, then one each day for those that were deleted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TwilioSweep {
    /// Whether the first walk is over.
    pub is_first_over: bool,
    /// The last day of the month that is read next, in the first walk.
    pub until: Option<Date>,
    /// The page of it that comes next.
    pub page: Option<String>,
    /// The walk for deleted recordings.
    #[serde(default)]
    pub deleted: DaySweep,
}

/// A walk that is done once a day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DaySweep {
    /// When it began last.
    pub began: Option<Timestamp>,
    /// The page that comes next; `None` between two walks.
    pub page: Option<String>,
}
