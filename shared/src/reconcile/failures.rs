//! What failed by itself, and when it is tried again.

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

/// Entries that are kept. A walk over old recordings stops at the page that has no room left.
const MOST: usize = 200;
/// Rounds in which a failure is tried again at once.
const EVERY_ROUND: u32 = 3;
/// The longest time between two tries.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The object of the bucket with this key.
    S3Key(String),
    /// Twilio's recording with this SID.
    RecordingSid(String),
    /// The UTC day of which Twilio's list can't be read.
    TwilioDay(Date),
    /// The month of which Twilio's list can't be read, by its last day.
    TwilioMonth(Date),
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed.
    #[serde(flatten)]
    pub subject: Subject,
    /// Why, as a word for programs.
    pub code: String,
    /// Why.
    pub reason: String,
    /// Tries so far.
    pub tries: u32,
    /// When it failed for the first time.
    pub since: Timestamp,
    /// When it is tried again: in the first round that begins after this time.
    pub next_try: Timestamp,
    /// Whether the recording is to be transcribed once it is indexed.
    #[serde(default)]
    pub transcribe: bool,
}

/// What failed by itself, a bounded number of entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failures(Vec<Failure>);

impl Failures {
    /// Whether this is on the list, and so tried when its time has come and not before.
    pub fn contains(&self, subject: &Subject) -> bool {
        self.0.iter().any(|failure| failure.subject == *subject)
    }

    /// Whether there is room for the failures of one more page.
    pub fn has_room(&self) -> bool {
        self.0.len() < MOST / 2
    }

    /// The entries.
    pub fn entries(&self) -> &[Failure] {
        &self.0
    }

    /// Those whose time has come for a round that began at `began`.
    pub fn due(&self, began: Timestamp) -> Vec<Failure> {
        let is_due = |failure: &&Failure| failure.next_try <= began;
        self.0.iter().filter(is_due).cloned().collect()
    }

    /// Adds a failure, or counts one more try of it.
    pub fn add(&mut self, subject: Subject, code: &str, reason: &str, transcribe: bool, now: Timestamp) {
        let reason: String = reason.chars().take(300).collect();
        let known = self.0.iter_mut().find(|failure| failure.subject == subject);
        if let Some(failure) = known {
            failure.tries += 1;
            failure.next_try = now + pause(failure.tries);
            (failure.code, failure.reason) = (code.to_owned(), reason);
        } else if self.0.len() < MOST {
            self.0.push(Failure {
                subject,
                code: code.to_owned(),
                reason,
                tries: 1,
                since: now,
                next_try: now,
                transcribe,
            });
        }
    }

    /// Takes from the list what did not fail any more.
    pub fn remove(&mut self, subject: &Subject) {
        self.0.retain(|failure| failure.subject != *subject);
    }
}

fn pause(tries: u32) -> SignedDuration {
    match tries.saturating_sub(EVERY_ROUND) {
        0 => SignedDuration::ZERO,
        late => SignedDuration::from_hours(1 << late.min(5)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_tried_in_three_rounds_and_then_ever_more_seldom_down_to_once_a_day() {
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
