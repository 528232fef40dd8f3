//! Where the reconciler goes on.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::report::Report;
use crate::calls::Cursor;

/// Where a run goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What comes next.
    pub step: Step,
    /// When this round began.
    pub began: Timestamp,
    /// From which day on the bucket's keys are read; `None`: all of them.
    pub objects_since: Option<Date>,
    /// From which day on Twilio's recordings are read; `None`: all of them.
    pub twilio_since: Option<Date>,
    /// Some objects could not be indexed: the next round reads them again.
    pub objects_failed: bool,
    /// The same for Twilio's recordings.
    pub twilio_failed: bool,
    /// The page of Twilio's list that failed, if it can be asked for again.
    pub twilio_page: Option<String>,
    /// What the round has counted so far.
    pub report: Report,
}

/// What a round does, in this order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    /// The bucket's keys after this one.
    Objects(Option<String>),
    /// A page of Twilio's list.
    Twilio(Option<String>),
    /// Rows that may lack their other half are paired anew.
    Repair(DayPage),
    /// Rows are compared with the bucket and counted.
    Count(DayPage),
    /// The round is finished.
    Done,
}

/// A page of the rows of a day: first those that can be played, then those that are `missing`. From the newest day to the oldest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DayPage {
    /// The UTC day.
    pub day: Date,
    /// Whether it is a page of the calls without a recording.
    pub missing: bool,
    /// Where the page before it ended.
    pub after: Option<Cursor>,
}

impl DayPage {
    /// The first page of a day.
    pub fn first(day: Date) -> Self {
        Self {
            day,
            missing: false,
            after: None,
        }
    }

    /// The page after this one, which ended at `next`; `None` after the last one of `oldest`.
    pub fn next(self, next: Option<Cursor>, oldest: Date) -> Option<Self> {
        match (next, self.missing) {
            (Some(after), _) => Some(Self {
                after: Some(after),
                ..self
            }),
            (None, false) => Some(Self {
                missing: true,
                after: None,
                ..self
            }),
            (None, true) => {
                let day = self.day.yesterday().ok()?;
                (day >= oldest).then(|| Self::first(day))
            }
        }
    }
}
