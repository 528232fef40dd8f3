//! The completeness report, which the reconciler writes and `GET /reports/completeness` returns.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{
    days::{Copies, Entries, Tally, forget},
    failures::{IndexFailure, Subject},
};
use crate::names::Ignored;

/// The maximum number of listed files. All files are counted.
const MAX_SAMPLES: usize = 20;
/// The maximum number of listed failures. All failures are counted.
const MAX_FAILURES: usize = 100;
/// The maximum number of listed problems.
const MAX_PROBLEMS: usize = 20;

/// The completeness report for the calls that began in a range of days.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CompletenessReport))]
pub struct Report {
    /// When the round finished.
    #[serde(with = "crate::time::millis::option", default)]
    pub generated_at: Option<Timestamp>,
    /// First day of the calls that are counted.
    pub from: Date,
    /// Last day of the calls that are counted.
    pub to: Date,
    /// Calls that can be played.
    pub playable: u64,
    /// Calls without a recording that began recently and may still be in progress.
    pub in_progress: u64,
    /// Other calls without a recording.
    pub calls_without_recording: Entries,
    /// Recordings without a reported call.
    pub recordings_without_call: Entries,
    /// Twilio recordings and their copies in the bucket.
    #[serde(default)]
    pub archive: Copies,
    /// What was erased because its time has passed; absent if nothing was past its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub retention: Option<RetentionReport>,
    /// Objects of the bucket that were listed.
    pub objects: u64,
    /// Listed objects that were missing or out of date in the index.
    pub objects_indexed: u64,
    /// Files below the prefix that are not recordings, from the last sweep over all keys.
    pub ignored: IgnoredFiles,
    /// Twilio recordings that were listed.
    pub twilio_recordings: u64,
    /// Listed Twilio recordings that were missing or out of date in the index, or whose number was unknown.
    pub twilio_recordings_indexed: u64,
    /// Rows that were corrected, because their media no longer exists.
    pub rows_repaired: u64,
    /// Transcription jobs whose messages were lost, and that were sent again.
    #[serde(default)]
    pub jobs_sent_again: u64,
    /// The number of failures: listed things that could not be indexed.
    pub not_indexed: u64,
    /// The failures, with the times of their retries.
    pub failures: Vec<IndexFailure>,
    /// Whether all old objects of the bucket have been compared with the index; absent if no bucket is configured.
    pub bucket_complete: Option<bool>,
    /// Whether all old Twilio recordings have been compared with the index; absent if no Twilio account is configured.
    pub twilio_complete: Option<bool>,
    /// Lists that could not be read in this round.
    pub problems: Vec<Problem>,
}

/// A problem that affects a whole list or service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A stable code for programs.
    pub code: String,
    /// The problem, as a sentence.
    pub reason: String,
}

/// The last erasure of what is past its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionReport {
    /// The erasure, for `GET /erasures/{erasure_id}`.
    pub erasure_id: String,
    /// Calls that were erased.
    pub erased: u64,
    /// Calls that are held.
    pub held: u64,
    /// Calls of which something could not be erased yet.
    pub not_erased: u64,
    /// Why, as sentences.
    pub reasons: Vec<String>,
}

/// Files that are not recordings: their number and some examples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IgnoredFiles {
    /// The number of files.
    pub total: u64,
    /// Some of the files.
    pub samples: Vec<IgnoredFile>,
}

/// A file that is not a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IgnoredFile {
    /// The file's key.
    pub s3_key: String,
    /// The reason, as a stable code for programs.
    pub code: String,
    /// The reason, as a sentence.
    pub reason: String,
}

impl IgnoredFiles {
    /// Counts a file.
    pub fn add(&mut self, key: String, why: Ignored) {
        self.total += 1;
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(IgnoredFile {
                s3_key: key,
                code: why.code().to_owned(),
                reason: why.reason().to_owned(),
            });
        }
    }
}

impl Report {
    /// An empty report for these days.
    pub fn new(from: Date, to: Date) -> Self {
        Self {
            generated_at: None,
            from,
            to,
            playable: 0,
            in_progress: 0,
            calls_without_recording: Entries::default(),
            recordings_without_call: Entries::default(),
            archive: Copies::default(),
            retention: None,
            objects: 0,
            objects_indexed: 0,
            ignored: IgnoredFiles::default(),
            twilio_recordings: 0,
            twilio_recordings_indexed: 0,
            rows_repaired: 0,
            jobs_sent_again: 0,
            not_indexed: 0,
            failures: Vec::new(),
            bucket_complete: None,
            twilio_complete: None,
            problems: Vec::new(),
        }
    }

    /// Adds a problem unless it is already listed.
    pub fn problem(&mut self, code: &str, reason: String) {
        let problem = Problem {
            code: code.to_owned(),
            reason,
        };
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Removes what names calls that were erased. Returns whether there was any.
    pub fn forget(&mut self, is_erased: impl Fn(&str) -> bool) -> bool {
        let failures = self.failures.len();
        self.failures
            .retain(|failure| !matches!(&failure.subject, Subject::S3Key(key) if is_erased(key)));
        let lists = [
            &mut self.calls_without_recording,
            &mut self.recordings_without_call,
            &mut self.archive.failed,
        ];
        forget(lists, &is_erased) || self.failures.len() < failures
    }

    /// Fills in the results of the days and the failures.
    pub fn complete(&mut self, all: Tally, failures: &[IndexFailure]) {
        self.playable = all.playable;
        self.in_progress = all.in_progress;
        self.calls_without_recording = all.calls_without_recording;
        self.recordings_without_call = all.recordings_without_call;
        self.archive = all.archive;
        self.not_indexed = failures.len() as u64;
        self.failures = failures.iter().take(MAX_FAILURES).cloned().collect();
        self.generated_at = Some(Timestamp::now());
    }
}
