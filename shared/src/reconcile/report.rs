//! The report on completeness, which the reconciler writes and `GET /reports/completeness` answers with.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{
    days::{Entries, Tally},
    failures::Failure,
};
use crate::names::Ignored;

/// Files of a kind that are listed; all are counted.
const SAMPLES: usize = 20;
/// Failures that are listed; all are counted.
const FAILURES: usize = 100;
/// Problems that are listed.
const PROBLEMS: usize = 20;

/// What is missing, of the calls that began from one day to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// When the round was finished.
    pub generated_at: Option<Timestamp>,
    /// First day of the calls that are counted.
    pub from: Date,
    /// Last day of the calls that are counted.
    pub to: Date,
    /// Calls that can be played.
    pub playable: u64,
    /// Calls without a recording that began so recently that they may not be over.
    pub in_progress: u64,
    /// Other calls without a recording.
    pub calls_without_recording: Entries,
    /// Recordings of which nobody has reported a call.
    pub recordings_without_call: Entries,
    /// Objects of the bucket that were listed.
    pub objects: u64,
    /// Those that the index did not have as they are.
    pub objects_indexed: u64,
    /// Files below the prefix that are no recordings, as of the last walk over all keys.
    pub ignored: IgnoredFiles,
    /// Recordings of Twilio's that were listed.
    pub twilio_recordings: u64,
    /// Those that the index did not have as they are, or whose number it did not know.
    pub twilio_recordings_indexed: u64,
    /// Rows whose media was gone.
    pub rows_repaired: u64,
    /// What could be seen but not be indexed: the number of failures.
    pub not_indexed: u64,
    /// What failed by itself, and when it is tried again.
    pub failures: Vec<Failure>,
    /// Whether all old objects of the bucket have been compared with the index; absent without a bucket.
    pub bucket_complete: Option<bool>,
    /// Whether all old recordings of Twilio have been compared with the index; absent without a Twilio account.
    pub twilio_complete: Option<bool>,
    /// What could not be read in this round.
    pub problems: Vec<Problem>,
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A word for programs.
    pub code: String,
    /// The problem in a sentence.
    pub reason: String,
}

/// Files that are no recordings: their number, and some of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IgnoredFiles {
    /// How many there are.
    pub total: u64,
    /// Some of them.
    pub samples: Vec<IgnoredFile>,
}

/// A file that is no recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IgnoredFile {
    /// Its key.
    pub s3_key: String,
    /// Why, as a word for programs.
    pub code: String,
    /// Why.
    pub reason: String,
}

impl IgnoredFiles {
    /// Counts a file.
    pub fn add(&mut self, key: String, why: Ignored) {
        self.total += 1;
        if self.samples.len() < SAMPLES {
            self.samples.push(IgnoredFile {
                s3_key: key,
                code: why.code().to_owned(),
                reason: why.reason().to_owned(),
            });
        }
    }
}

impl Report {
    /// An empty report on these days.
    pub fn new(from: Date, to: Date) -> Self {
        Self {
            generated_at: None,
            from,
            to,
            playable: 0,
            in_progress: 0,
            calls_without_recording: Entries::default(),
            recordings_without_call: Entries::default(),
            objects: 0,
            objects_indexed: 0,
            ignored: IgnoredFiles::default(),
            twilio_recordings: 0,
            twilio_recordings_indexed: 0,
            rows_repaired: 0,
            not_indexed: 0,
            failures: Vec::new(),
            bucket_complete: None,
            twilio_complete: None,
            problems: Vec::new(),
        }
    }

    /// Adds what could not be read, once.
    pub fn problem(&mut self, code: &str, reason: String) {
        let problem = Problem {
            code: code.to_owned(),
            reason,
        };
        if self.problems.len() < PROBLEMS && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Fills in what the days and the list of failures say.
    pub fn complete(&mut self, all: Tally, failures: &[Failure]) {
        self.playable = all.playable;
        self.in_progress = all.in_progress;
        self.calls_without_recording = all.calls_without_recording;
        self.recordings_without_call = all.recordings_without_call;
        self.not_indexed = failures.len() as u64;
        self.failures = failures.iter().take(FAILURES).cloned().collect();
        self.generated_at = Some(Timestamp::now());
    }
}
