//! Lenient parsing of successful responses: only a text or segments are required.

use std::ops::Range;

use serde_json::Value;

use super::{
    alignment::{joined, locate, without},
    error_body::ErrorBody,
    hallucination::{ScoredSegment, reasons_to_drop},
    number::{lenient_json, number},
    speech::{Dropped, Segment, Transcription, Word},
    times::{RawTimes, repaired, unit_of},
};

/// A segment from the server, or a piece of the text that no segment contains.
struct RawSegment {
    text: String,
    times: RawTimes,
    no_speech: Option<f64>,
    logprob: Option<f64>,
    speaker: Option<String>,
    /// Its range in the whole text.
    place: Option<Range<usize>>,
}

/// Parses the body of a successful response. `seconds` is the approximate length of the audio. With `plain`, text was requested and not JSON.
///
/// The error is the one in the body, or `None` if the body is not a transcription.
pub(super) fn read_transcription(body: &[u8], plain: bool, seconds: f64) -> Result<Transcription, Option<ErrorBody>> {
    let answer = lenient_json(body);
    let answer = match answer {
        Some(Value::String(text)) if plain => return Ok(text_alone(&text)),
        Some(answer @ Value::Object(_)) => answer,
        _ if plain => return plain_text(body).ok_or(None),
        _ => return Err(None),
    };
    let raw_segments = answer.get("segments").and_then(Value::as_array);
    let text = match answer.get("text") {
        Some(Value::String(text)) => Some(text.trim()),
        _ => None,
    };
    if text.is_none() && raw_segments.is_none() {
        return Err(ErrorBody::in_success(&answer));
    }
    let raw_segments: &[Value] = raw_segments.map_or(&[], Vec::as_slice);
    let raw_words: Vec<&Value> = match answer.get("words").and_then(Value::as_array) {
        Some(words) if !words.is_empty() => words.iter().collect(),
        // whisper.cpp and faster-whisper.
        _ => raw_segments
            .iter()
            .filter_map(|segment| segment.get("words")?.as_array())
            .flatten()
            .collect(),
    };
    let all = raw_segments.iter().chain(raw_words.iter().copied());
    let unit = unit_of(all.map(RawTimes::read), seconds);

    let untrimmed = raw_segments.iter().filter_map(|segment| segment.get("text")?.as_str());
    let text = text.map_or_else(|| joined(untrimmed), str::to_owned);
    let duration = duration(&answer, seconds);
    let segments = with_all_of_the_text(
        &text,
        raw_segments.iter().filter_map(|value| segment(value, unit)).collect(),
    );
    let (segments, dropped_places, dropped) = split_dropped(segments, duration.or(Some(seconds)));

    let mut words = words(&raw_words, unit);
    let has = |range: (f64, f64), word: &Word| (range.0..range.1).contains(&((word.start + word.end) / 2.0));
    words.retain(|word| {
        let kept = segments.iter().any(|segment| has((segment.start, segment.end), word));
        kept || !dropped.iter().any(|dropped| has((dropped.start, dropped.end), word))
    });
    Ok(Transcription {
        text: without(&text, &dropped_places),
        language: answer
            .get("language")
            .and_then(Value::as_str)
            .filter(|language| !language.is_empty() && language.len() <= 64)
            .map(str::to_owned),
        duration,
        segments,
        words,
        dropped,
    })
}

fn text_alone(text: &str) -> Transcription {
    Transcription {
        text: text.trim().to_owned(),
        ..Transcription::default()
    }
}

/// The response to `response_format=text`. An HTML page comes from a proxy and is not a transcript.
fn plain_text(body: &[u8]) -> Option<Transcription> {
    let text = String::from_utf8_lossy(body);
    (!text.trim_start().starts_with('<')).then(|| text_alone(&text))
}

/// The length that the server returned, if it is plausible, because the price is derived from it.
fn duration(answer: &Value, seconds: f64) -> Option<f64> {
    let measured = answer.get("duration").and_then(number);
    let measured = measured.or_else(|| number(answer.get("usage")?.get("seconds")?));
    measured.filter(|measured| *measured > 0.0 && *measured <= seconds * 2.0 + 60.0)
}

fn segment(value: &Value, unit: f64) -> Option<RawSegment> {
    let text = value.get("text")?.as_str()?.trim();
    let score = |name| value.get(name).and_then(number);
    (!text.is_empty()).then(|| RawSegment {
        text: text.to_owned(),
        times: RawTimes::read(value).scaled(unit),
        no_speech: score("no_speech_prob"),
        logprob: score("avg_logprob"),
        speaker: speaker(value),
        place: None,
    })
}

/// The label of the voice: a letter, or the name of a known speaker.
fn speaker(value: &Value) -> Option<String> {
    let label = value.get("speaker")?.as_str()?.trim();
    ((1..=64).contains(&label.len())).then(|| label.to_owned())
}

/// The segments with their ranges in the text, and additional segments for the text between them.
///
/// Nothing is added next to a segment that is not found in the text, because the text probably contains it in another spelling.
fn with_all_of_the_text(text: &str, segments: Vec<RawSegment>) -> Vec<RawSegment> {
    if segments.is_empty() {
        return segments;
    }
    let places = locate(text, segments.iter().map(|segment| segment.text.as_str()));
    let piece = |place: Range<usize>| {
        let text = text[place.clone()].trim();
        text.chars().any(char::is_alphanumeric).then(|| RawSegment {
            text: text.to_owned(),
            times: RawTimes::default(),
            no_speech: None,
            logprob: None,
            speaker: None,
            place: Some(place),
        })
    };
    let (mut whole, mut from, mut found_before) = (Vec::new(), 0, true);
    for (segment, place) in segments.into_iter().zip(places) {
        if let Some(place) = &place {
            whole.extend(Some(from..place.start).filter(|_| found_before).and_then(piece));
            from = place.end;
        }
        found_before = place.is_some();
        whole.push(RawSegment { place, ..segment });
    }
    whole.extend(Some(from..text.len()).filter(|_| found_before).and_then(piece));
    whole
}

/// The segments to keep, the ranges of the dropped ones in the text, and the dropped ones, all with repaired times.
fn split_dropped(raw: Vec<RawSegment>, audio_seconds: Option<f64>) -> (Vec<Segment>, Vec<Range<usize>>, Vec<Dropped>) {
    let texts: Vec<_> = raw
        .iter()
        .map(|segment| (segment.times, segment.text.as_str()))
        .collect();
    let times = repaired(&texts, audio_seconds);
    let (places, scored): (Vec<_>, Vec<_>) = raw
        .into_iter()
        .zip(times)
        .map(|(raw, (start, end))| {
            let segment = Segment {
                start,
                end,
                text: raw.text,
                channel: None,
                speaker: raw.speaker,
                unsure: false,
            };
            let scored = ScoredSegment {
                segment,
                no_speech: raw.no_speech,
                // A segment without timestamps may be anywhere, so that it can't be classified as a hallucination.
                logprob: raw.logprob.filter(|_| raw.times.are_whole()),
            };
            (raw.place, scored)
        })
        .unzip();
    let reasons = reasons_to_drop(&scored);
    let (mut kept, mut dropped, mut dropped_places) = (Vec::new(), Vec::new(), Vec::new());
    for ((scored, place), reason) in scored.into_iter().zip(places).zip(reasons) {
        let unsure = scored.is_unsure();
        let segment = scored.segment;
        match reason {
            None => kept.push(Segment { unsure, ..segment }),
            Some(reason) => {
                dropped_places.extend(place);
                dropped.push(Dropped {
                    start: segment.start,
                    end: segment.end,
                    text: segment.text,
                    reason,
                    channel: None,
                });
            }
        }
    }
    kept.sort_by(|one, other| one.start.total_cmp(&other.start));
    (kept, dropped_places, dropped)
}

/// The words. whisper.cpp returns tokens, and tokens without a leading space continue a word.
fn words(raw: &[&Value], unit: f64) -> Vec<Word> {
    let read = raw.iter().filter_map(|value| {
        let text = value.get("word").or_else(|| value.get("text"))?.as_str()?;
        let marker = text.trim().starts_with("[_");
        (!marker && !text.trim().is_empty()).then(|| (RawTimes::read(value).scaled(unit), text))
    });
    let read: Vec<_> = read.collect();
    let spaced = read
        .iter()
        .filter(|(_, text)| text.starts_with(char::is_whitespace))
        .count();
    let tokens = spaced * 2 >= read.len() && spaced < read.len();
    let times = repaired(&read, None);
    let mut words: Vec<Word> = Vec::new();
    for ((_, text), (start, end)) in read.iter().zip(times) {
        match words.last_mut() {
            Some(last) if tokens && !text.starts_with(char::is_whitespace) => {
                last.word.push_str(text.trim());
                last.end = last.end.max(end);
            }
            _ => words.push(Word {
                start,
                end,
                word: text.trim().to_owned(),
                channel: None,
            }),
        }
    }
    words
}

#[cfg(test)]
mod tests;
