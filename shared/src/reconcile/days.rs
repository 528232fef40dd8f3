//! The reconciler's findings for each day: calls without a recording and recordings without a call.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{
    calls::{Call, CopyResult},
    time::to_millis,
};

/// The maximum number of listed entries of each kind, newest first. All entries are counted.
const MAX_ENTRIES: usize = 500;
/// The maximum size in bytes of the listed entries of one kind. DynamoDB's limit for the whole item is 400 KB.
const MAX_ENTRIES_BYTES: usize = 90_000;
/// A call is assumed to last no longer than this.
const IN_PROGRESS: SignedDuration = SignedDuration::from_hours(4);

/// The findings for each day of the report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Days(pub BTreeMap<Date, Tally>);

/// The findings for the calls that began on one day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Calls that can be played.
    #[serde(skip_serializing_if = "is_zero")]
    pub playable: u64,
    /// Calls without a recording that began recently and may still be in progress.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_progress: u64,
    /// Other calls without a recording.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub calls_without_recording: Entries,
    /// Recordings without a reported call.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub recordings_without_call: Entries,
    /// Twilio recordings and their copies.
    #[serde(skip_serializing_if = "Copies::is_empty")]
    pub archive: Copies,
}

/// How many Twilio recordings are copied into the bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Copies {
    /// Recordings that the bucket has.
    pub archived: u64,
    /// Completed recordings that only Twilio has.
    pub waiting: u64,
    /// Recordings that could not be copied.
    pub failed: Entries,
}

impl Copies {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, call: &Call) {
        for recording in &call.twilio {
            match (&recording.copy, recording.is_completed()) {
                (Some(CopyResult::Copied(_)), _) => self.archived += 1,
                (Some(CopyResult::Failed(failure)), true) => {
                    let entry = Entry::new(call.clone(), &failure.code, failure.reason.clone());
                    self.failed.add(entry);
                }
                (None, true) => self.waiting += 1,
                (_, false) => {}
            }
        }
    }
}

/// A count, and the newest of the counted entries.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entries {
    /// The number of all entries.
    pub total: u64,
    /// The newest entries.
    pub entries: Vec<Entry>,
    /// The size of `entries` as JSON; `None` until it is needed after deserialization.
    #[serde(skip)]
    bytes: Option<usize>,
}

/// A call without a recording, or a recording without a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entry {
    /// The call's dispatch id.
    pub dispatch_id: Option<String>,
    /// The call's interaction id.
    pub interaction_id: Option<String>,
    /// Twilio's SID of the call.
    pub call_sid: Option<String>,
    /// The phone number.
    pub phone: Option<String>,
    /// When the call began.
    pub start_time: Option<String>,
    /// Key of the recording.
    pub s3_key: Option<String>,
    /// The reason, as a stable code for programs.
    #[serde(default)]
    pub code: String,
    /// The reason, as a sentence.
    pub reason: String,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Tally {
    /// Counts a row, and lists it if its call or its recording is missing.
    pub fn add(&mut self, call: Call) {
        self.archive.add(&call);
        self.playable += u64::from(call.is_playable());
        let is_recent = |start| Timestamp::now().duration_since(start) < IN_PROGRESS;
        match (call.is_playable(), call.is_reported()) {
            (true, true) => {}
            (true, false) => {
                let reason = "No interaction or dispatch was reported for this number and time.";
                let entry = Entry::new(call, "no_call", reason.to_owned());
                self.recordings_without_call.add(entry);
            }
            (false, _) if call.recording_error.is_none() && call.start_time.is_some_and(is_recent) => {
                self.in_progress += 1;
            }
            (false, _) => {
                let known = call.recording_error.clone();
                let code = known.as_deref().map_or("unknown", code_of);
                let reason = call.missing_reason().to_owned();
                self.calls_without_recording.add(Entry::new(call, code, reason));
            }
        }
    }
}

/// The code of a reason why a call has no recording.
fn code_of(reason: &str) -> &'static str {
    let codes = [
        ("LiveKit's recording failed", "livekit_failed"),
        ("LiveKit's recording was aborted", "livekit_aborted"),
        ("LiveKit's recording is empty", "livekit_file_missing"),
        ("The recording was deleted at Twilio", "twilio_deleted"),
        ("The recording was deleted", "file_deleted"),
        ("Twilio has no recording: it was too short", "twilio_too_short"),
        ("Twilio has no recording: it was silent", "twilio_silent"),
        ("Twilio has no recording", "twilio_absent"),
        ("Twilio's recording is not completed", "twilio_not_completed"),
    ];
    let known = codes.iter().find(|(prefix, _)| reason.starts_with(prefix));
    known.map_or("other", |(_, code)| code)
}

impl Entry {
    fn new(call: Call, code: &str, reason: String) -> Self {
        Self {
            dispatch_id: Some(call.dispatch_id).filter(|id| !id.is_empty()),
            interaction_id: call.interaction_id,
            call_sid: call.call_sid,
            phone: call.phone,
            start_time: call.start_time.map(to_millis),
            s3_key: call.s3_key,
            code: code.to_owned(),
            reason,
        }
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        (self.total, &self.entries) == (other.total, &other.entries)
    }
}

impl Entries {
    fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn add(&mut self, entry: Entry) {
        self.total += 1;
        self.list(entry);
    }

    /// Lists an entry if there is room.
    fn list(&mut self, entry: Entry) {
        if self.entries.len() >= MAX_ENTRIES {
            return;
        }
        let size = |entries: &[Entry]| serde_json::to_string(entries).map_or(MAX_ENTRIES_BYTES, |json| json.len());
        let known = *self.bytes.get_or_insert_with(|| size(&self.entries));
        let bytes = known + size(std::slice::from_ref(&entry));
        if bytes <= MAX_ENTRIES_BYTES {
            self.bytes = Some(bytes);
            self.entries.push(entry);
        }
    }

    /// Adds the count of an earlier day, and its entries as long as there is room. Entries without room are removed from `other` as well.
    fn append(&mut self, other: &mut Self) {
        self.total += other.total;
        let entries = std::mem::take(&mut other.entries);
        other.bytes = None;
        for entry in entries {
            let listed = self.entries.len();
            self.list(entry.clone());
            if self.entries.len() > listed {
                other.entries.push(entry);
            }
        }
    }
}

impl Entries {
    /// Removes the entries of calls that were erased.
    fn forget(&mut self, is_erased: &impl Fn(&str) -> bool) -> bool {
        let known = self.entries.len();
        let ids = |entry: &Entry| {
            let ids = [
                &entry.dispatch_id,
                &entry.interaction_id,
                &entry.call_sid,
                &entry.s3_key,
            ];
            ids.into_iter().flatten().any(|id| is_erased(id))
        };
        self.entries.retain(|entry| !ids(entry));
        let removed = known - self.entries.len();
        self.total -= removed as u64;
        self.bytes = None;
        removed > 0
    }
}

/// Removes the entries of erased calls from all of these lists.
pub(super) fn forget<'a>(lists: impl IntoIterator<Item = &'a mut Entries>, is_erased: &impl Fn(&str) -> bool) -> bool {
    let mut changed = false;
    for list in lists {
        changed |= list.forget(is_erased);
    }
    changed
}

impl Days {
    /// Removes the entries of calls that were erased. Returns whether there were any.
    pub fn forget(&mut self, is_erased: impl Fn(&str) -> bool) -> bool {
        let lists = self.0.values_mut().flat_map(|tally| {
            [
                &mut tally.calls_without_recording,
                &mut tally.recordings_without_call,
                &mut tally.archive.failed,
            ]
        });
        forget(lists, &is_erased)
    }

    /// Removes the days before `from` and returns the sum of the others, with the newest entries first.
    pub fn together(&mut self, from: Date) -> Tally {
        self.0.retain(|day, _| *day >= from);
        let mut all = Tally::default();
        for tally in self.0.values_mut().rev() {
            all.playable += tally.playable;
            all.in_progress += tally.in_progress;
            all.calls_without_recording.append(&mut tally.calls_without_recording);
            all.recordings_without_call.append(&mut tally.recordings_without_call);
            all.archive.archived += tally.archive.archived;
            all.archive.waiting += tally.archive.waiting;
            all.archive.failed.append(&mut tally.archive.failed);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_fit_into_an_item_however_many_calls_they_list() {
        let mut days = Days::default();
        let first = Date::constant(2025, 8, 1);
        for number in 0..3000_usize {
            let call = Call {
                item: if number % 4 < 2 { "object#x" } else { "dispatch" }.to_owned(),
                dispatch_id: format!("dispatch_{number}"),
                phone: Some("\u{1}".repeat(number)),
                s3_key: (number % 2 == 0).then(|| "k".repeat(1024)),
                start_time: Some(Timestamp::UNIX_EPOCH),
                recording_error: Some("x".repeat(300)),
                ..Call::default()
            };
            let day = first.checked_add(jiff::Span::new().days((number % 30) as i64)).unwrap();
            days.0.entry(day).or_default().add(call);
        }
        let all = days.together(first);
        let lists = [&all.calls_without_recording, &all.recordings_without_call];
        assert_eq!(lists.map(|list| list.total), [1500, 750]);
        assert!(lists.iter().all(|list| list.entries.len() > 10));
        assert_eq!(
            lists[0].entries[0].dispatch_id.as_deref(),
            Some("dispatch_29"),
            "the newest day comes first"
        );
        for json in [serde_json::to_string(&days), serde_json::to_string(&all)] {
            assert!(json.unwrap().len() < 300_000);
        }
        assert_eq!(days.together(first), all, "nothing more is dropped");
        let late = first.checked_add(jiff::Span::new().days(20)).unwrap();
        assert_eq!(days.together(late).calls_without_recording.total, 500);
    }

    #[test]
    fn a_day_without_calls_is_serialized_as_an_empty_object() {
        assert_eq!(serde_json::to_string(&Tally::default()).unwrap(), "{}");
    }
}
