//! The status of a Twilio recording.

use serde::{Deserialize, Deserializer, Serialize};

/// A recording's status. Twilio may add new ones, so unknown values are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TwilioRecordingStatus, example = "completed"))]
pub struct RecordingStatus(String);

/// The three groups of statuses that the API counts and filters by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusGroup {
    /// `completed`.
    Completed,
    /// `in-progress`, `paused`, `stopped`, `processing`, and unknown statuses.
    InProgress,
    /// `failed`, `absent`, `deleted`.
    Failed,
}

impl RecordingStatus {
    /// All statuses that Twilio documents.
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

    /// The status with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The status as Twilio sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group of the status.
    pub fn group(&self) -> StatusGroup {
        match self.as_str() {
            "completed" => StatusGroup::Completed,
            "failed" | "absent" | "deleted" => StatusGroup::Failed,
            _ => StatusGroup::InProgress,
        }
    }

    /// Whether the recording can be played.
    pub fn is_completed(&self) -> bool {
        self.group() == StatusGroup::Completed
    }

    /// Whether a filter for `wanted`, one of [`RecordingStatus::ALL`], selects this status. `in-progress` and `failed` select their groups,
    /// except that `failed` does not include `deleted`.
    pub fn passes_filter(&self, wanted: &str) -> bool {
        match wanted {
            "in-progress" => self.group() == StatusGroup::InProgress,
            "failed" => matches!(self.as_str(), "failed" | "absent"),
            wanted => wanted == self.as_str(),
        }
    }

    /// The stage of the recording's life cycle, which only increases.
    pub fn stage(&self) -> u8 {
        match (self.as_str(), self.group()) {
            ("deleted", _) => 2,
            (_, StatusGroup::InProgress) => 0,
            _ => 1,
        }
    }

    /// Why the recording can't be played. `error_code` is the code that Twilio sends with `absent`.
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
    fn every_status_has_one_group_and_unknown_statuses_count_as_in_progress() {
        let groups = RecordingStatus::ALL.map(|name| RecordingStatus::new(name).group());
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
    fn a_filter_for_failed_recordings_excludes_deleted_ones() {
        let passes = |name: &str, wanted| RecordingStatus::new(name).passes_filter(wanted);
        assert!(passes("absent", "failed") && passes("deleted", "deleted") && passes("paused", "in-progress"));
        assert!(!passes("deleted", "failed") && !passes("in-progress", "paused"));
    }
}
