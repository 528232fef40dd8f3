//! Timestamps of segments and words: parsed in any unit, and repaired if they are missing or impossible.

use serde_json::Value;

use super::number::number;

/// The maximum length of a recording in seconds.
const LONGEST: f64 = 200_000.0;
/// The assumed duration of words without an end.
const SECONDS_PER_WORD: f64 = 0.4;

/// Start and end from the server, in its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct RawTimes {
    pub(super) start: Option<f64>,
    pub(super) end: Option<f64>,
    nanoseconds: bool,
}

impl RawTimes {
    pub(super) fn read(value: &Value) -> Self {
        let read = |name| value.get(name).and_then(number).filter(|time| *time >= 0.0);
        // LocalAI returns whole nanoseconds.
        let nanoseconds = |name| {
            value
                .get(name)
                .and_then(Value::as_u64)
                .is_some_and(|number| number >= 1_000_000)
        };
        Self {
            start: read("start"),
            end: read("end"),
            nanoseconds: nanoseconds("start") || nanoseconds("end"),
        }
    }

    pub(super) fn scaled(self, unit: f64) -> Self {
        let scaled = |time: Option<f64>| time.map(|time| time * unit).filter(|time| *time <= LONGEST);
        Self {
            start: scaled(self.start),
            end: scaled(self.end),
            ..self
        }
    }

    /// Whether both exist and are in order.
    pub(super) fn are_whole(&self) -> bool {
        matches!((self.start, self.end), (Some(start), Some(end)) if end > start)
    }
}

/// The length of the server's unit in seconds, estimated from the approximate length of the audio.
pub(super) fn unit_of(times: impl Iterator<Item = RawTimes> + Clone, seconds: f64) -> f64 {
    if times.clone().any(|times| times.nanoseconds) {
        return 1e-9;
    }
    let latest = times
        .flat_map(|times| [times.start, times.end])
        .flatten()
        .fold(0.0, f64::max);
    let milliseconds = latest > seconds * 30.0 + 60.0 && latest / 1000.0 <= seconds * 1.5 + 30.0;
    if milliseconds { 1e-3 } else { 1.0 }
}

/// Repairs the times of texts in order. A missing start is set to the previous end; an end that is missing or not after its start is set to the
/// next start, the end of the audio, or the assumed duration of the words.
pub(super) fn repaired(texts: &[(RawTimes, &str)], audio_seconds: Option<f64>) -> Vec<(f64, f64)> {
    let mut repaired = Vec::with_capacity(texts.len());
    let mut before = 0.0_f64;
    for (index, (times, text)) in texts.iter().enumerate() {
        let start = times.start.unwrap_or(before);
        let end = times.end.filter(|end| *end > start).unwrap_or_else(|| {
            let next = texts[index + 1..].iter().take(8).find_map(|(times, _)| times.start);
            let words = text.split_whitespace().count().max(text.chars().count() / 8).max(1);
            let spoken = start + words as f64 * SECONDS_PER_WORD;
            let latest = next.or(audio_seconds).filter(|latest| *latest > start);
            latest.map_or(spoken, |latest| latest.min(spoken))
        });
        repaired.push((start, end));
        before = end;
    }
    repaired
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(start: Option<f64>, end: Option<f64>) -> RawTimes {
        RawTimes {
            start,
            end,
            ..RawTimes::default()
        }
    }

    #[test]
    fn missing_and_impossible_times_are_repaired() {
        let texts = [
            (raw(Some(1.0), Some(2.0)), "one"),
            (raw(Some(2.0), None), "two three four five six seven eight nine"),
            (raw(Some(3.0), Some(2.5)), "ten"),
            (raw(None, Some(5.0)), "eleven"),
            (raw(None, None), "twelve thirteen fourteen"),
        ];
        let times = repaired(&texts, Some(5.5));
        assert_eq!(times, [(1.0, 2.0), (2.0, 3.0), (3.0, 3.4), (3.4, 5.0), (5.0, 5.5)]);
    }

    #[test]
    fn units_are_distinguished_by_the_length_of_the_audio() {
        let units = |json: &str, seconds| {
            let times = RawTimes::read(&serde_json::from_str(json).unwrap());
            unit_of([times].into_iter(), seconds)
        };
        assert_eq!(units(r#"{"start":0,"end":1500000000}"#, 2.0), 1e-9);
        assert_eq!(units(r#"{"start":1080,"end":4375}"#, 4.4), 1e-3);
        assert_eq!(units(r#"{"start":1.08,"end":"4.375"}"#, 4.4), 1.0);
        assert_eq!(units(r#"{"start":0,"end":45e9}"#, 4.4), 1.0);
    }

    proptest! {
        #[test]
        fn repaired_times_are_finite_and_each_end_is_after_its_start(
            times in prop::collection::vec((prop::option::of(0.0..1e6_f64), prop::option::of(0.0..1e6_f64)), 0..20),
            audio in prop::option::of(0.0..1e5_f64),
        ) {
            let texts: Vec<_> = times.iter().map(|(start, end)| (raw(*start, *end).scaled(1.0), "some words")).collect();
            for (start, end) in repaired(&texts, audio) {
                prop_assert!(start.is_finite() && end.is_finite() && start >= 0.0 && end > start);
            }
        }
    }
}
