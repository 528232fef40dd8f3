//! Detects hallucinated segments: text on silence, and repetitions.
//!
//! Text is dropped only if the model's confidence is low. Whisper's `compression_ratio` is not used: it refers to a window of 30 s and to UTF-8
//! bytes, and ordinary speech in many scripts exceeds Whisper's threshold.

use super::speech::{DropReason, Segment};

/// Whisper's default threshold for a segment that is probably silence.
const NO_SPEECH: f64 = 0.6;
/// Whisper's default threshold for low confidence.
const UNSURE: f64 = -1.0;
/// The maximum pause in seconds between repetitions that count as consecutive.
const PAUSE: f64 = 0.5;
/// The minimum number of repetitions in a loop within one segment, and the maximum number of repeated words.
const LOOPS: usize = 5;
const LOOP_WORDS: usize = 8;

/// A segment with the model's scores.
#[derive(Debug, Clone)]
pub(super) struct ScoredSegment {
    pub(super) segment: Segment,
    /// The probability that there is no speech.
    pub(super) no_speech: Option<f64>,
    /// The average log probability of the words.
    pub(super) logprob: Option<f64>,
}

impl ScoredSegment {
    pub(super) fn is_unsure(&self) -> bool {
        self.logprob.is_some_and(|logprob| logprob < UNSURE)
    }

    fn is_silence(&self) -> bool {
        self.no_speech.is_some_and(|probability| probability > NO_SPEECH)
    }
}

/// How many consecutive repetitions are plausible. People do repeat short answers.
fn allowed_repetitions(text: &str) -> usize {
    match text.split_whitespace().count() {
        ..3 => 5,
        _ => 2,
    }
}

/// Whether the text consists only of repetitions of up to eight words.
fn is_loop(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    (1..=LOOP_WORDS).any(|length| {
        words.len() >= length * LOOPS && words.iter().zip(&words[length..]).all(|(word, later)| word == later)
    })
}

/// The reason why each segment is dropped; `None` for segments that are kept.
pub(super) fn reasons_to_drop(segments: &[ScoredSegment]) -> Vec<Option<DropReason>> {
    let mut said = 1;
    let mut reasons = Vec::with_capacity(segments.len());
    for (index, scored) in segments.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &segments[before].segment);
        let repeats = before.is_some_and(|before| {
            let pause = scored.segment.start - before.end;
            before.text == scored.segment.text && pause <= PAUSE
        });
        said = if repeats { said + 1 } else { 1 };
        let repetition = said > allowed_repetitions(&scored.segment.text) || is_loop(&scored.segment.text);
        reasons.push(match scored.is_unsure() {
            true if scored.is_silence() => Some(DropReason::Silence),
            true if repetition => Some(DropReason::Repetition),
            _ => None,
        });
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: f64, text: &str, no_speech: Option<f64>, logprob: Option<f64>) -> ScoredSegment {
        ScoredSegment {
            segment: Segment {
                start,
                end: start + 2.0,
                text: text.into(),
                channel: None,
                speaker: None,
                unsure: false,
            },
            no_speech,
            logprob,
        }
    }

    #[test]
    fn words_of_which_the_model_is_sure_are_never_dropped() {
        let sure = [Some(-0.3), Some(-0.99), None];
        for logprob in sure {
            let mut segments: Vec<_> = (0..20)
                .map(|n| segment(f64::from(n) * 2.0, "I will call back.", Some(0.9), logprob))
                .collect();
            segments.push(segment(40.0, &"la ".repeat(50), Some(0.9), logprob));
            assert!(reasons_to_drop(&segments).iter().all(Option::is_none), "{logprob:?}");
        }
    }

    #[test]
    fn an_announcement_that_returns_after_a_pause_is_speech() {
        let segments: Vec<_> = (0..20)
            .map(|n| segment(f64::from(n) * 25.0, "All our agents are busy.", Some(0.3), Some(-1.2)))
            .collect();
        assert!(reasons_to_drop(&segments).iter().all(Option::is_none));
    }

    #[test]
    fn unsure_words_on_silence_and_unsure_loops_are_dropped() {
        let mut segments = vec![
            segment(0.0, "Hello.", Some(0.1), Some(-0.2)),
            segment(2.0, "Thanks for watching.", Some(0.9), Some(-1.5)),
        ];
        segments.extend((2..6).map(|n| segment(f64::from(n) * 2.0, "I will call back.", Some(0.1), Some(-1.1))));
        segments.push(segment(12.0, &"la ".repeat(5), Some(0.1), Some(-1.3)));
        use DropReason::{Repetition, Silence};
        assert_eq!(
            reasons_to_drop(&segments),
            [
                None,
                Some(Silence),
                None,
                None,
                Some(Repetition),
                Some(Repetition),
                Some(Repetition)
            ]
        );
    }
}
