//! The speakers that a model tells apart on one channel.
//!
//! A model labels the voices of each file that it gets, so that the labels of two parts have nothing to do with each other. The voices of a
//! recording's first part are named `speaker_1`, `speaker_2`, ... in the order of their first words, and a few seconds of each are sent with the
//! later parts as references: the model uses these names for the voices that it recognizes. A voice that it does not recognize gets the next number.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use super::media::Spooled;
use crate::{
    clients::whisper::{KnownSpeaker, MAX_KNOWN_SPEAKERS, Segment},
    panics::blocking,
    split::{AudioFile, Part, clip},
    transcripts::StoredPart,
};

/// The length of a reference in seconds.
const SHORTEST: f64 = 2.0;
const LONGEST: f64 = 10.0;
/// Stands before a label that is valid only within its part.
const WITHIN_PART: char = '?';

fn name(number: usize) -> String {
    format!("speaker_{number}")
}

/// Names the voices of a recording, or of its first part, in the order of their first words. Returns their number.
pub(super) fn name_all(segments: &mut [Segment]) -> usize {
    let mut names = BTreeMap::new();
    for label in segments.iter_mut().filter_map(|segment| segment.speaker.as_mut()) {
        let next = name(names.len() + 1);
        *label = names.entry(label.clone()).or_insert(next).clone();
    }
    names.len()
}

/// Keeps the labels of a later part that are names of known speakers, and marks the others.
pub(super) fn mark_unknown(segments: &mut [Segment], known: &[KnownSpeaker]) {
    for label in segments.iter_mut().filter_map(|segment| segment.speaker.as_mut()) {
        if !known.iter().any(|speaker| speaker.name == *label) {
            label.insert(0, WITHIN_PART);
        }
    }
}

/// Gives numbers to the marked voices of all parts, which are in order. Returns the number of all voices.
pub(super) fn number_unknown<'a>(parts: impl Iterator<Item = &'a mut StoredPart>) -> u8 {
    let mut numbers = BTreeMap::new();
    for (index, part) in parts.enumerate() {
        let labels = part
            .speech
            .segments
            .iter_mut()
            .filter_map(|segment| segment.speaker.as_mut());
        for label in labels {
            let voice = match label.starts_with(WITHIN_PART) {
                true => (Some(index), label.clone()),
                false => (None, label.clone()),
            };
            let next = numbers.len() + 1;
            *label = name(*numbers.entry(voice).or_insert(next));
        }
    }
    numbers.len().try_into().unwrap_or(u8::MAX)
}

/// Removes the labels, where the speakers are told apart by channel or not at all.
pub(super) fn forget(segments: &mut [Segment]) {
    for segment in segments {
        segment.speaker = None;
    }
}

/// References for the speakers of a transcribed part: of each the longest segment, of those who speak longest. A speaker without a segment of at
/// least two seconds has none. A failure is only logged, because the later parts can be transcribed without references.
pub(super) async fn references(stored: &StoredPart, part: &Part, file: &Spooled) -> Vec<KnownSpeaker> {
    let mut longest: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for segment in &stored.speech.segments {
        let Some(speaker) = &segment.speaker else { continue };
        let sent = |seconds| part.spans.sent_time(seconds);
        let Some((start, end)) = sent(segment.start).zip(sent(segment.end)) else {
            continue;
        };
        let known = longest.entry(speaker).or_default();
        if end - start > known.1 - known.0 {
            *known = (start, end);
        }
    }
    let mut pieces: Vec<_> = longest
        .into_iter()
        .filter(|(_, (start, end))| end - start >= SHORTEST)
        .map(|(speaker, (start, end))| (speaker.to_owned(), start, end.min(start + LONGEST)))
        .collect();
    pieces.sort_by(|one, other| (other.2 - other.1).total_cmp(&(one.2 - one.1)));
    pieces.truncate(MAX_KNOWN_SPEAKERS);
    let Ok(handle) = file.file.try_clone() else {
        return Vec::new();
    };
    let extension = file.format.extension;
    let cutting = blocking(move || {
        let cancelled = AtomicBool::new(false);
        let recording = AudioFile {
            file: &handle,
            extension: Some(extension),
            promised_seconds: None,
            cancelled: &cancelled,
        };
        let cut = |(name, start, end): (String, f64, f64)| {
            let audio = clip(&recording, start, end).map_err(|error| error.to_string())?;
            Ok(KnownSpeaker { name, audio })
        };
        pieces.into_iter().map(cut).collect::<Result<Vec<_>, String>>()
    });
    match cutting.await.map_err(|error| error.to_string()).and_then(|cut| cut) {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(error, "the speakers of later parts are named without references");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::transcripts::Speech;

    fn segments(labels: &[Option<&str>]) -> Vec<Segment> {
        let segment = |label: &Option<&str>| Segment {
            start: 0.0,
            end: 1.0,
            text: "x".into(),
            channel: None,
            speaker: label.map(str::to_owned),
            unsure: false,
        };
        labels.iter().map(segment).collect()
    }

    fn labels(segments: &[Segment]) -> Vec<Option<&str>> {
        segments.iter().map(|segment| segment.speaker.as_deref()).collect()
    }

    #[test]
    fn voices_are_numbered_by_their_first_words_and_unknown_ones_of_different_parts_are_different() {
        let mut first = segments(&[Some("B"), None, Some("A"), Some("B")]);
        assert_eq!(name_all(&mut first), 2);
        assert_eq!(
            labels(&first),
            [Some("speaker_1"), None, Some("speaker_2"), Some("speaker_1")]
        );
        let known = |number| KnownSpeaker {
            name: name(number),
            audio: Bytes::new(),
        };
        let part = |mut segments: Vec<Segment>, known: Option<&[KnownSpeaker]>| {
            if let Some(known) = known {
                mark_unknown(&mut segments, known);
            }
            StoredPart {
                start: 0.0,
                end: 1.0,
                billed_seconds: 1,
                speech: Speech {
                    segments,
                    ..Speech::default()
                },
                language: None,
                dropped_segments: 0,
            }
        };
        let known = [known(1), known(2)];
        let mut parts = [
            part(first, None),
            part(segments(&[Some("speaker_2"), Some("A"), Some("A")]), Some(&known)),
            part(segments(&[Some("A"), Some("speaker_1")]), Some(&known)),
            // A server with names of this kind of its own, which was sent no reference for it.
            part(segments(&[Some("speaker_7")]), Some(&known)),
        ];
        assert_eq!(number_unknown(parts.iter_mut()), 5);
        let named: Vec<Vec<_>> = parts.iter().map(|part| labels(&part.speech.segments)).collect();
        assert_eq!(named[1], [Some("speaker_2"), Some("speaker_3"), Some("speaker_3")]);
        assert_eq!(named[2], [Some("speaker_4"), Some("speaker_1")]);
        assert_eq!(named[3], [Some("speaker_5")]);
    }
}
