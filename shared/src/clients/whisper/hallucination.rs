//! Segments that the model made up: words on silence, and the same words over and over.

use serde_json::Value;

use super::speech::{Segment, number, times};

/// A segment with what the model thinks of it.
pub(super) struct ScoredSegment {
    segment: Segment,
    no_speech: f64,
    logprob: f64,
    compression: f64,
}

impl ScoredSegment {
    /// Reads a segment that has times and a text.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let (start, end) = times(value)?;
        let measure = |name, otherwise| value.get(name).and_then(number).unwrap_or(otherwise);
        Some(Self {
            segment: Segment {
                start,
                end,
                text: value.get("text")?.as_str()?.trim().to_owned(),
                channel: None,
            },
            no_speech: measure("no_speech_prob", 0.0),
            logprob: measure("avg_logprob", 0.0),
            compression: measure("compression_ratio", 1.0),
        })
    }

    /// Whisper's own thresholds for silence that it put words to, and for text that repeats itself.
    fn is_hallucination(&self) -> bool {
        (self.no_speech > 0.6 && self.logprob < -1.0) || self.compression > 2.4
    }
}

/// How often people say the same in a row. Short answers they do repeat.
fn allowed_repetitions(text: &str) -> usize {
    match text.split_whitespace().count() {
        ..3 => 5,
        _ => 2,
    }
}

/// Splits off the segments that the model made up: words on silence, and the same words in a row more often than people say them.
pub(super) fn drop_hallucinations(heard: Vec<ScoredSegment>) -> (Vec<Segment>, Vec<Segment>) {
    let (mut kept, mut dropped): (Vec<Segment>, Vec<Segment>) = (Vec::new(), Vec::new());
    let mut repeated = 0;
    for heard in heard {
        let again = kept
            .last()
            .is_some_and(|last| !last.text.is_empty() && last.text == heard.segment.text);
        repeated = if again { repeated + 1 } else { 0 };
        if heard.is_hallucination() || repeated >= allowed_repetitions(&heard.segment.text) {
            dropped.push(heard.segment);
        } else {
            kept.push(heard.segment);
        }
    }
    (kept, dropped)
}
