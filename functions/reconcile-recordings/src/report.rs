//! The report on completeness.

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use shared::{calls::Call, time::to_millis};

/// Entries of each kind that are told one by one; all are counted.
const ENTRIES: usize = 500;
/// A call may go on for this long.
const IN_PROGRESS: SignedDuration = SignedDuration::from_hours(4);

/// What is missing, of the calls that began from one day to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// When the round was finished.
    pub generated_at: Option<Timestamp>,
    /// First day that is told of.
    pub from: Date,
    /// Last day that is told of.
    pub to: Date,
    /// Calls that can be played.
    pub playable: u64,
    /// Calls without a recording.
    pub calls_without_recording: Entries,
    /// Recordings of which nobody has reported a call.
    pub recordings_without_call: Entries,
    /// Objects of the bucket that were looked at.
    pub objects: u64,
    /// Those that the index did not have as they are.
    pub objects_taken_down: u64,
    /// Recordings of Twilio's that were looked at.
    pub twilio_recordings: u64,
    /// Those that the index did not have as they are, or whose number it did not know.
    pub twilio_recordings_taken_down: u64,
    /// Rows whose file was no longer in the bucket.
    pub rows_mended: u64,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

/// A count, and its first entries.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Entries {
    /// How many there are.
    pub total: u64,
    /// The first of them.
    pub entries: Vec<Entry>,
}

/// A call or a recording that lacks its other half.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The call's dispatch.
    pub dispatch_id: Option<String>,
    /// The call's interaction.
    pub interaction_id: Option<String>,
    /// Twilio's SID of the call.
    pub call_sid: Option<String>,
    /// The number.
    pub phone: Option<String>,
    /// When it began.
    pub start_time: Option<String>,
    /// Key of the recording.
    pub s3_key: Option<String>,
    /// Why, as far as it is known.
    pub reason: String,
}

impl Report {
    pub(crate) fn new(from: Date, to: Date) -> Self {
        Self {
            generated_at: None,
            from,
            to,
            playable: 0,
            calls_without_recording: Entries::default(),
            recordings_without_call: Entries::default(),
            objects: 0,
            objects_taken_down: 0,
            twilio_recordings: 0,
            twilio_recordings_taken_down: 0,
            rows_mended: 0,
            problems: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, call: Call) {
        self.playable += u64::from(call.is_playable());
        let (entries, reason) = match (call.is_playable(), call.is_reported()) {
            (true, true) => return,
            (true, false) => (
                &mut self.recordings_without_call,
                "No interaction or dispatch was reported for this number and time.".to_owned(),
            ),
            (false, _) => {
                let recent = call
                    .start_time
                    .is_some_and(|start| Timestamp::now().duration_since(start) < IN_PROGRESS);
                let unknown = match recent {
                    true => "The call may still be in progress.",
                    false => "Nothing is known of a recording.",
                };
                let reason = call.recording_error.clone().unwrap_or_else(|| unknown.to_owned());
                (&mut self.calls_without_recording, reason)
            }
        };
        entries.total += 1;
        if entries.entries.len() < ENTRIES {
            entries.entries.push(Entry {
                dispatch_id: Some(call.dispatch_id).filter(|id| !id.is_empty()),
                interaction_id: call.interaction_id,
                call_sid: call.call_sid,
                phone: call.phone,
                start_time: call.start_time.map(to_millis),
                s3_key: call.s3_key,
                reason,
            });
        }
    }
}
