//! The reconciler's checkpoint.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{
    failures::{Failures, Subject},
    report::Report,
};

/// Where the next run continues, and the state that is kept between rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The next step.
    pub step: Step,
    /// When this round began.
    pub began: Timestamp,
    /// When the last round that read all recent keys of the bucket began.
    pub objects_read: Option<Timestamp>,
    /// When the last round that read all recent days of Twilio's list began.
    pub twilio_read: Option<Timestamp>,
    /// Whether an earlier round has finished. The first round does not transcribe anything automatically.
    pub has_finished: bool,
    /// The walk over all keys of the bucket.
    #[serde(default)]
    pub objects: ObjectSweep,
    /// The walk over all of Twilio's recordings.
    #[serde(default)]
    pub twilio: TwilioSweep,
    /// The day on which what is past its time was last erased.
    #[serde(default)]
    pub retention_day: Option<Date>,
    /// Objects, recordings and lists that failed and are retried.
    #[serde(default)]
    pub failures: Failures,
    /// The report of the current round so far.
    pub report: Report,
}

impl Checkpoint {
    /// Adds something that failed to the list of failures. If the list is full, a later sweep finds it again.
    pub fn fail(&mut self, subject: Subject, code: &str, reason: &str, transcribe: bool, now: Timestamp) {
        let is_object = matches!(subject, Subject::S3Key(_));
        if self.failures.add(subject, code, reason, transcribe, now) {
            return;
        }
        match is_object {
            true => self.objects.has_missed = true,
            false => self.twilio.has_missed = true,
        }
        let reason = "More failed than the list of failures holds. The next sweep reads everything again.";
        self.report.problem("failures_not_listed", reason.to_owned());
    }
}

/// The steps of a round, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// List the bucket's keys of the last days, after this key.
    Objects(Option<String>),
    /// List Twilio's recordings of this day, from this page on.
    Twilio(Date, Option<String>),
    /// Count the open and the marked days, except these, which are done.
    Days(Vec<Date>),
    /// Count closed days that were never counted.
    Close,
    /// Retry failures that are due.
    Retry,
    /// Read this many more pages of the sweeps.
    Sweep(u32),
    /// The round is finished.
    Done,
}

/// A sweep over all keys of the bucket. The first sweep compares all keys with the index, later sweeps those that were written since the sweep
/// before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectSweep {
    /// Whether the first sweep has finished.
    pub is_first_over: bool,
    /// When the current or last sweep began.
    pub began: Option<Timestamp>,
    /// When the sweep before that began.
    pub before: Option<Timestamp>,
    /// The key after which the sweep continues; `None` between two sweeps.
    pub after: Option<String>,
    /// Whether objects failed that the list of failures had no room for. The next sweep compares all keys then.
    #[serde(default)]
    pub has_missed: bool,
    /// Whether a sweep over all keys has compared their storage classes, as version 0.2 does.
    #[serde(default)]
    pub knows_archived: bool,
    /// Files that are not recordings.
    pub ignored: super::report::IgnoredFiles,
}

/// Sweeps over Twilio's recordings: a first sweep over all of them, month by month backwards, and then a daily sweep for deleted recordings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TwilioSweep {
    /// Whether the first sweep has finished.
    pub is_first_over: bool,
    /// In the first sweep: the last day of the month that is read next.
    pub until: Option<Date>,
    /// In the first sweep: the next page of that month.
    pub page: Option<String>,
    /// Whether recordings failed that the list of failures had no room for. All months are read again then.
    #[serde(default)]
    pub has_missed: bool,
    /// When the months were last begun again. Recordings that are found completed are then transcribed as in the last days.
    #[serde(default)]
    pub repeated: Option<Timestamp>,
    /// The daily sweep for deleted recordings.
    #[serde(default)]
    pub deleted: DaySweep,
}

/// A sweep that runs once a day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DaySweep {
    /// When the sweep last began.
    pub began: Option<Timestamp>,
    /// The next page; `None` between two sweeps.
    pub page: Option<String>,
}
