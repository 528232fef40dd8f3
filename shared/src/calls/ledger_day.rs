//! The ledger's counts of one UTC day.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::model::Call;

/// The number of distinct statuses, outcomes or reasons that are counted separately. The less frequent ones are counted together.
const MAX_NAMES: usize = 50;
/// The name under which the less frequent ones are counted.
const OTHER: &str = "(other)";
/// Names are truncated to this number of characters.
const MAX_NAME_CHARS: usize = 100;

/// Counts of the calls that began on one UTC day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerDay {
    /// The day.
    pub day: Date,
    /// When the day was counted.
    #[serde(with = "crate::time::millis")]
    pub computed_at: Timestamp,
    /// Calls that can be played.
    pub playable: u64,
    /// Calls without a recording.
    pub missing: u64,
    /// Recordings without a reported call. They are included in `playable`.
    pub recordings_without_call: u64,
    /// Total length of the playable calls with a known length.
    pub seconds: u64,
    /// Playable calls with a stored transcript.
    pub transcripts: u64,
    /// Recordings that can be played, by source. A call can have several.
    pub recordings: BTreeMap<String, u64>,
    /// Calls by status.
    pub statuses: BTreeMap<String, u64>,
    /// Calls by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Calls without a recording, by reason.
    pub missing_reasons: BTreeMap<String, u64>,
}

impl LedgerDay {
    /// A day without calls.
    pub(super) fn empty(day: Date, computed_at: Timestamp) -> Self {
        Self {
            day,
            computed_at,
            playable: 0,
            missing: 0,
            recordings_without_call: 0,
            seconds: 0,
            transcripts: 0,
            recordings: BTreeMap::new(),
            statuses: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            missing_reasons: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, call: &Call) {
        count(&mut self.statuses, call.status.as_deref());
        count(&mut self.outcomes, call.outcome.as_deref());
        if !call.is_playable() {
            self.missing += 1;
            count(&mut self.missing_reasons, Some(call.missing_reason()));
            return;
        }
        self.playable += 1;
        self.recordings_without_call += u64::from(!call.is_reported());
        self.seconds += call.duration.map_or(0, |seconds| seconds.max(0).unsigned_abs());
        self.transcripts += u64::from(call.has_transcript);
        let livekit = usize::from(call.s3_key.is_some());
        let twilio = call.twilio.iter().filter(|recording| recording.is_playable()).count();
        for (source, recordings) in [("livekit", livekit), ("twilio", twilio)] {
            if recordings > 0 {
                *self.recordings.entry(source.to_owned()).or_default() += recordings as u64;
            }
        }
    }

    /// Keeps the most frequent names and counts the others together, so that the day fits into one item of the table.
    pub(super) fn finish(&mut self) {
        for counts in [&mut self.statuses, &mut self.outcomes, &mut self.missing_reasons] {
            if counts.len() <= MAX_NAMES {
                continue;
            }
            let mut sorted: Vec<(String, u64)> = std::mem::take(counts).into_iter().collect();
            sorted.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
            let rest: u64 = sorted.drain(MAX_NAMES..).map(|(_, count)| count).sum();
            counts.extend(sorted);
            *counts.entry(OTHER.to_owned()).or_default() += rest;
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: Option<&str>) {
    if let Some(name) = name {
        let name: String = name.chars().take(MAX_NAME_CHARS).collect();
        *counts.entry(name).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_with_many_statuses_keeps_the_most_frequent_and_fits_into_an_item() {
        let mut day = LedgerDay::empty(Date::constant(2025, 8, 8), Timestamp::UNIX_EPOCH);
        for number in 0..2000 {
            day.add(&Call {
                status: Some(format!("{}{}", "x".repeat(90), number)),
                recording_error: Some("\u{1}".repeat(1000)),
                ..Call::default()
            });
            day.add(&Call {
                status: Some("COMPLETED".into()),
                ..Call::default()
            });
        }
        day.finish();
        assert_eq!(day.statuses.len(), MAX_NAMES + 1);
        assert_eq!((day.statuses["COMPLETED"], day.statuses[OTHER]), (2000, 2000 - 49));
        assert_eq!(day.missing, 4000);
        assert!(serde_json::to_string(&day).unwrap().len() < 50_000);
    }
}
