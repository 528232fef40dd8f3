//! The report on completeness, which the reconciler writes and `GET /reports/completeness` answers with.

use crate::{calls::Call, time::to_millis};
use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

/// Entries of each kind that are listed, from the newest on; all are counted.
const ENTRIES: usize = 500;
/// The most that the entries of one kind may take of the 400 KB that an item of the table may have, in bytes.
const ENTRIES_BYTES: usize = 120_000;
/// A call may go on for this long.
const IN_PROGRESS: SignedDuration = SignedDuration::from_hours(4);

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
    /// Objects of the bucket that were read.
    pub objects: u64,
    /// Those that the index did not have as they are.
    pub objects_indexed: u64,
    /// Recordings of Twilio's that were read.
    pub twilio_recordings: u64,
    /// Those that the index did not have as they are, or whose number it did not know.
    pub twilio_recordings_indexed: u64,
    /// Rows whose file was no longer in the bucket.
    pub rows_repaired: u64,
    /// What could be seen but not be indexed; the next round tries again.
    pub not_indexed: u64,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// A count, and its first entries.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Entries {
    /// How many there are.
    pub total: u64,
    /// The newest of them.
    pub entries: Vec<Entry>,
    /// The size of `entries` as JSON; `None` when they were just read.
    #[serde(skip)]
    bytes: Option<usize>,
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
            twilio_recordings: 0,
            twilio_recordings_indexed: 0,
            rows_repaired: 0,
            not_indexed: 0,
            problems: Vec::new(),
        }
    }

    /// Counts a row, and lists it where it lacks its other half.
    pub fn add(&mut self, call: Call) {
        self.playable += u64::from(call.is_playable());
        let is_recent = |start| Timestamp::now().duration_since(start) < IN_PROGRESS;
        match (call.is_playable(), call.is_reported()) {
            (true, true) => {}
            (true, false) => {
                let reason = "No interaction or dispatch was reported for this number and time.";
                self.recordings_without_call.add(call, reason.to_owned());
            }
            (false, _) if call.recording_error.is_none() && call.start_time.is_some_and(is_recent) => {
                self.in_progress += 1;
            }
            (false, _) => {
                let known = call.recording_error.clone();
                let reason = known.unwrap_or_else(|| "Nothing is known of a recording.".to_owned());
                self.calls_without_recording.add(call, reason);
            }
        }
    }
}

impl Entries {
    fn add(&mut self, call: Call, reason: String) {
        self.total += 1;
        if self.entries.len() >= ENTRIES {
            return;
        }
        let entry = Entry {
            dispatch_id: Some(call.dispatch_id).filter(|id| !id.is_empty()),
            interaction_id: call.interaction_id,
            call_sid: call.call_sid,
            phone: call.phone,
            start_time: call.start_time.map(to_millis),
            s3_key: call.s3_key,
            reason,
        };
        let size = |entries: &[Entry]| serde_json::to_string(entries).map_or(ENTRIES_BYTES, |json| json.len());
        let known = *self.bytes.get_or_insert_with(|| size(&self.entries));
        let bytes = known + size(std::slice::from_ref(&entry));
        if bytes <= ENTRIES_BYTES {
            self.bytes = Some(bytes);
            self.entries.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_fits_into_an_item_however_many_calls_it_is_about() {
        let day = Date::constant(2025, 8, 8);
        let mut report = Report::new(day, day);
        for number in 0..3000 {
            let call = Call {
                item: format!("dispatch_{number}"),
                dispatch_id: format!("dispatch_{number}"),
                phone: Some("\u{1}".repeat(number)),
                s3_key: (number % 2 == 0).then(|| "k".repeat(1024)),
                start_time: Some(Timestamp::UNIX_EPOCH),
                recording_error: Some("x".repeat(300)),
                ..Call::default()
            };
            let item = if number % 4 < 2 { "object#x" } else { "dispatch" };
            report.add(Call {
                item: item.to_owned(),
                ..call
            });
            if number % 100 == 0 {
                // As between two invocations.
                report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
            }
        }
        let lists = [&report.calls_without_recording, &report.recordings_without_call];
        assert_eq!(lists.map(|list| list.total), [1500, 750]);
        assert!(lists.iter().all(|list| list.entries.len() > 50));
        assert_eq!(
            lists[1].entries[0].dispatch_id.as_deref(),
            Some("dispatch_0"),
            "the newest come first"
        );
        let size = serde_json::to_string(&report).unwrap().len();
        assert!(size < 300_000, "{size}");
    }
}
