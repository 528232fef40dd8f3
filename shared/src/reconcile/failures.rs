//! Single objects, recordings and lists that could not be processed, with the times of their retries.

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

/// The maximum number of entries. What fails beyond it is found again by a sweep.
const MAX_FAILURES: usize = 200;
/// This many attempts are made in consecutive rounds; after that the pauses grow.
const ATTEMPTS_WITHOUT_PAUSE: u32 = 3;
/// The longest time between two attempts.
const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// The thing that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Subject {
    /// An object of the bucket, by key.
    S3Key(String),
    /// A Twilio recording, by SID.
    RecordingSid(String),
    /// Twilio's list of a UTC day.
    TwilioDay(Date),
    /// Twilio's list of a month, named by its last day.
    TwilioMonth(Date),
}

impl Subject {
    /// What it is, for the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3Key(_) => "object",
            Self::RecordingSid(_) => "recording",
            Self::TwilioDay(_) => "day of Twilio's list",
            Self::TwilioMonth(_) => "month of Twilio's list",
        }
    }
}

/// A failure and its retries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IndexFailure {
    /// The thing that failed.
    #[serde(flatten)]
    pub subject: Subject,
    /// The reason, as a stable code for programs.
    pub code: String,
    /// The reason, as a sentence.
    pub reason: String,
    /// The number of attempts so far.
    pub tries: u32,
    /// When the first attempt failed.
    #[serde(with = "crate::time::millis")]
    pub since: Timestamp,
    /// The first round that begins at or after this time retries.
    #[serde(with = "crate::time::millis")]
    pub next_try: Timestamp,
    /// Whether the recording must be transcribed once it is indexed.
    #[serde(default)]
    pub transcribe: bool,
}

/// A bounded list of failures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failures(Vec<IndexFailure>);

impl Failures {
    /// Whether this is on the list. A round does not process it before its retry is due.
    pub fn contains(&self, subject: &Subject) -> bool {
        self.0.iter().any(|failure| failure.subject == *subject)
    }

    /// Whether most of the list is free, so that failures which were not listed may be tried again.
    pub fn has_room(&self) -> bool {
        self.0.len() < MAX_FAILURES / 2
    }

    /// All entries.
    pub fn entries(&self) -> &[IndexFailure] {
        &self.0
    }

    /// The entries that a round retries which began at `began`.
    pub fn due(&self, began: Timestamp) -> Vec<IndexFailure> {
        let is_due = |failure: &&IndexFailure| failure.next_try <= began;
        self.0.iter().filter(is_due).cloned().collect()
    }

    /// Adds a failure, or counts one more attempt of a known one. Returns `false` if the list is full.
    pub(super) fn add(&mut self, subject: Subject, code: &str, reason: &str, transcribe: bool, now: Timestamp) -> bool {
        let reason: String = reason.chars().take(300).collect();
        let known = self.0.iter_mut().find(|failure| failure.subject == subject);
        if let Some(failure) = known {
            failure.tries += 1;
            failure.next_try = now + pause(failure.tries);
            (failure.code, failure.reason) = (code.to_owned(), reason);
        } else if self.0.len() < MAX_FAILURES {
            self.0.push(IndexFailure {
                subject,
                code: code.to_owned(),
                reason,
                tries: 1,
                since: now,
                next_try: now,
                transcribe,
            });
        } else {
            return false;
        }
        true
    }

    /// Removes an entry after a successful retry.
    pub fn remove(&mut self, subject: &Subject) {
        self.0.retain(|failure| failure.subject != *subject);
    }
}

fn pause(tries: u32) -> SignedDuration {
    match tries.saturating_sub(ATTEMPTS_WITHOUT_PAUSE) {
        0 => SignedDuration::ZERO,
        late => SignedDuration::from_hours(1 << late.min(5)).min(MAX_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_retried_in_three_rounds_and_then_at_growing_intervals_of_up_to_a_day() {
        let mut failures = Failures::default();
        let subject = Subject::S3Key("k".into());
        let mut now = Timestamp::UNIX_EPOCH;
        let mut hours = Vec::new();
        for _ in 0..9 {
            failures.add(subject.clone(), "access_denied", "forbidden", false, now);
            let next = failures.entries()[0].next_try;
            hours.push(next.duration_since(now).as_hours());
            assert_eq!(failures.due(next).len(), 1);
            now = next;
        }
        assert_eq!(hours, [0, 0, 0, 2, 4, 8, 16, 24, 24]);
        assert_eq!(
            (failures.entries()[0].since, failures.entries()[0].tries),
            (Timestamp::UNIX_EPOCH, 9)
        );
        failures.remove(&subject);
        assert_eq!(failures.entries(), []);
    }

    #[test]
    fn the_list_is_bounded() {
        let mut failures = Failures::default();
        for number in 0..10_000 {
            failures.add(
                Subject::S3Key(number.to_string()),
                "x",
                &"x".repeat(1000),
                false,
                Timestamp::UNIX_EPOCH,
            );
        }
        assert!(!failures.has_room());
        assert!(serde_json::to_string(&failures).unwrap().len() < 120_000);
    }
}
