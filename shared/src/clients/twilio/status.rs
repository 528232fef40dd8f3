//! The status of a recording, and what each of Twilio's words means.

use serde::{Deserialize, Deserializer, Serialize};

/// A recording's status in Twilio's word. Twilio may add words, so unknown ones are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TwilioRecordingStatus, example = "completed"))]
pub struct RecordingStatus(String);

/// The three groups in which the API counts and filters recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusGroup {
    /// `completed`.
    Completed,
    /// `in-progress`, `paused`, `stopped`, `processing`, and words Twilio may add.
    InProgress,
    /// `failed`, `absent`, `deleted`.
    Failed,
}

impl RecordingStatus {
    /// Twilio's words.
    pub const ALL: [&str; 8] = [
        "completed",
        "in-progress",
        "failed",
        "paused",
        "stopped",
        "processing",
        "absent",
        "deleted",
    ];

    /// The status that Twilio names by this word.
    pub fn new(word: impl Into<String>) -> Self {
        Self(word.into())
    }

    /// The word as Twilio sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group in which the status is counted.
    pub fn group(&self) -> StatusGroup {
        match self.as_str() {
            "completed" => StatusGroup::Completed,
            "failed" | "absent" | "deleted" => StatusGroup::Failed,
            _ => StatusGroup::InProgress,
        }
    }

    /// Whether the recording is there to be played.
    pub fn is_completed(&self) -> bool {
        self.group() == StatusGroup::Completed
    }

    /// Whether a filter for one of [`RecordingStatus::ALL`] lets it pass. `in-progress` and `failed` stand for their groups, but `deleted`
    /// is asked for by its own word.
    pub fn passes_filter(&self, wanted: &str) -> bool {
        match wanted {
            "in-progress" => self.group() == StatusGroup::InProgress,
            "failed" => matches!(self.as_str(), "failed" | "absent"),
            wanted => wanted == self.as_str(),
        }
    }

    /// How far the recording is in its life, which never goes back.
    pub fn stage(&self) -> u8 {
        match (self.as_str(), self.group()) {
            ("deleted", _) => 2,
            (_, StatusGroup::InProgress) => 0,
            _ => 1,
        }
    }

    /// Why there is nothing to play, given the error code that Twilio sends with `absent`.
    pub fn missing_reason(&self, error_code: Option<i64>) -> String {
        match (self.as_str(), error_code) {
            ("absent", Some(16101)) => "Twilio has no recording: it was too short.".into(),
            ("absent", Some(16102)) => "Twilio has no recording: it was silent.".into(),
            ("absent" | "failed", Some(code)) => format!("Twilio has no recording: error {code}."),
            ("absent" | "failed", None) => "Twilio has no recording and gave no reason.".into(),
            ("deleted", _) => "The recording was deleted at Twilio.".into(),
            _ => "Twilio's recording is not completed.".into(),
        }
    }
}

impl<'de> Deserialize<'de> for RecordingStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_one_group_and_words_that_twilio_adds_count_as_in_progress() {
        let groups = RecordingStatus::ALL.map(|word| RecordingStatus::new(word).group());
        let of = |group| groups.iter().filter(|known| **known == group).count();
        assert_eq!(
            (
                of(StatusGroup::Completed),
                of(StatusGroup::InProgress),
                of(StatusGroup::Failed)
            ),
            (1, 4, 3)
        );
        assert_eq!(RecordingStatus::new("archived").group(), StatusGroup::InProgress);
        assert_eq!(serde_json::from_str::<RecordingStatus>("null").unwrap().as_str(), "");
    }

    #[test]
    fn a_filter_for_failed_recordings_leaves_out_the_deleted_ones() {
        let passes = |word: &str, wanted| RecordingStatus::new(word).passes_filter(wanted);
        assert!(passes("absent", "failed") && passes("deleted", "deleted") && passes("paused", "in-progress"));
        assert!(!passes("deleted", "failed") && !passes("in-progress", "paused"));
    }
}
