//! Converts transcripts to items of the table and back.

use std::io::BufReader;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    error::TranscriptsError,
    model::{Failure, INTERRUPTED, Transcript, TranscriptState, overdue_before},
};
use crate::{
    clients::dynamodb::{Item, get_number, get_text, number, text},
    time::to_seconds,
};

/// The state that an item represents.
pub(super) fn state_from(item: &Item) -> Result<TranscriptState, TranscriptsError> {
    let until = get_number(item, "lease_until").and_then(|until| Timestamp::from_millisecond(until).ok());
    let until = until.unwrap_or_default();
    let progress = get_text(item, "progress").and_then(|text| serde_json::from_str(&text).ok());
    let earlier = || match item.contains_key("completed_at") {
        true => Ok::<_, TranscriptsError>(Some(Box::new(transcript_from_item(item)?))),
        false => Ok(None),
    };
    Ok(match get_text(item, "state").as_deref() {
        Some("completed") => TranscriptState::Completed(Box::new(transcript_from_item(item)?)),
        Some("failed") => TranscriptState::Failed(Failure {
            code: get_text(item, "code").unwrap_or_default(),
            message: get_text(item, "message").unwrap_or_default(),
            retryable: item
                .get("retryable")
                .and_then(|value| value.as_bool().ok().copied())
                .unwrap_or_default(),
            retry_after: None,
        }),
        Some("in_progress" | "queued") if until < Timestamp::now() => match earlier()? {
            Some(transcript) => TranscriptState::Stale(transcript),
            None => TranscriptState::Failed(Failure {
                code: INTERRUPTED.into(),
                message: "The transcription was interrupted".into(),
                retryable: true,
                retry_after: None,
            }),
        },
        Some("in_progress") => TranscriptState::InProgress {
            until,
            progress,
            earlier: earlier()?,
        },
        Some("queued") => TranscriptState::Queued {
            progress,
            earlier: earlier()?,
            dispatch: get_text(item, "queued_by"),
            is_overdue: get_number(item, "noted_at").is_none_or(|noted| noted < overdue_before(Timestamp::now())),
        },
        _ => TranscriptState::Absent,
    })
}

/// All attributes except `speech`.
pub(super) fn item_from_transcript(transcript: &Transcript) -> Result<Item, TranscriptsError> {
    let mut item = Item::from([
        ("model".to_owned(), text(&transcript.model)),
        ("billed_seconds".to_owned(), number(transcript.billed_seconds as i64)),
        (
            "cost_usd".to_owned(),
            AttributeValue::N(transcript.cost_usd.to_string()),
        ),
        (
            "dropped_segments".to_owned(),
            number(transcript.dropped_segments as i64),
        ),
        ("speakers".to_owned(), number(i64::from(transcript.speakers))),
        ("completed_at".to_owned(), text(&to_seconds(transcript.completed_at))),
    ]);
    let texts = [
        ("language", transcript.language.clone()),
        ("recording_created", transcript.recording_created.map(to_seconds)),
        ("call_sid", transcript.call_sid.clone()),
    ];
    item.extend(
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), text(&value?)))),
    );
    let numbers = [
        (
            "audio_seconds",
            transcript.audio_seconds.map(|seconds| seconds.to_string()),
        ),
        (
            "recording_duration",
            transcript.recording_duration.map(|seconds| seconds.to_string()),
        ),
    ];
    item.extend(
        numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), AttributeValue::N(value?)))),
    );
    let packed = [
        ("coverage", transcript.coverage.as_ref().map(pack)),
        ("peaks", transcript.peaks.as_ref().map(pack)),
    ];
    for (name, value) in packed {
        if let Some(value) = value {
            item.insert(name.to_owned(), AttributeValue::B(Blob::new(value?)));
        }
    }
    Ok(item)
}

fn transcript_from_item(item: &Item) -> Result<Transcript, TranscriptsError> {
    let time = |name| get_text(item, name).and_then(|text| text.parse().ok());
    let float = |name| item.get(name).and_then(|value| value.as_n().ok()?.parse().ok());
    let whole = |name| get_number(item, name).and_then(|number| u64::try_from(number).ok());
    let speech = item.get("speech").and_then(|value| value.as_b().ok());
    Ok(Transcript {
        speech: unpack(
            speech
                .ok_or_else(|| TranscriptsError("a completed item has no text".into()))?
                .as_ref(),
        )?,
        language: get_text(item, "language"),
        audio_seconds: float("audio_seconds"),
        billed_seconds: whole("billed_seconds").unwrap_or_default(),
        cost_usd: float("cost_usd").unwrap_or_default(),
        dropped_segments: whole("dropped_segments").unwrap_or_default() as usize,
        speakers: whole("speakers").unwrap_or_default() as u8,
        coverage: optional(item, "coverage")?,
        peaks: optional(item, "peaks")?,
        model: get_text(item, "model").unwrap_or_default(),
        completed_at: time("completed_at").unwrap_or_default(),
        recording_duration: whole("recording_duration"),
        recording_created: time("recording_created"),
        call_sid: get_text(item, "call_sid"),
    })
}

fn optional<T: DeserializeOwned>(item: &Item, name: &str) -> Result<Option<T>, TranscriptsError> {
    let packed = item.get(name).and_then(|value| value.as_b().ok());
    packed.map(|packed| unpack(packed.as_ref())).transpose()
}

/// Compresses a value as JSON. Two hours of speech with word timestamps fit into an item of 400 KB.
pub(super) fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, TranscriptsError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut encoder, value).map_err(|error| TranscriptsError(error.to_string()))?;
    encoder.finish().map_err(|error| TranscriptsError(error.to_string()))
}

pub(super) fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, TranscriptsError> {
    serde_json::from_reader(BufReader::new(DeflateDecoder::new(packed)))
        .map_err(|error| TranscriptsError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clients::whisper::{DropReason, Dropped, Segment, Word},
        transcripts::{Coverage, Peaks, Speech},
    };

    #[test]
    fn a_transcript_is_equal_after_encoding_even_without_speech() {
        for words in ["", "Grüezi — hello"] {
            let segment = Segment {
                start: 0.1,
                end: 1.7,
                text: words.into(),
                channel: Some(1),
                speaker: None,
                unsure: false,
            };
            let word = Word {
                start: 0.1,
                end: 0.7,
                word: words.into(),
                channel: None,
            };
            let transcript = Transcript {
                speech: Speech {
                    text: words.into(),
                    segments: vec![segment],
                    words: vec![word],
                    dropped: vec![Dropped {
                        start: 2.0,
                        end: 3.5,
                        text: words.into(),
                        reason: DropReason::Silence,
                        channel: None,
                    }],
                },
                language: Some("english".into()),
                audio_seconds: Some(45.25),
                billed_seconds: 46,
                cost_usd: 0.0046,
                dropped_segments: 3,
                speakers: 2,
                coverage: Some(Coverage {
                    decoded_seconds: 45.25,
                    expected_seconds: Some(60.0),
                }),
                peaks: Some(Peaks {
                    seconds_per_point: 0.5,
                    channels: vec![vec![0, 255], vec![7, 8]],
                }),
                model: "whisper-1".into(),
                completed_at: "2024-01-15T10:35:00Z".parse().unwrap(),
                recording_duration: Some(45),
                recording_created: "2024-01-15T10:30:00Z".parse().ok(),
                call_sid: Some("CA1234567890abcdef".into()),
            };
            let mut item = item_from_transcript(&transcript).unwrap();
            item.insert("state".into(), text("completed"));
            let speech = pack(&transcript.speech).unwrap();
            item.insert("speech".into(), AttributeValue::B(Blob::new(speech)));
            assert_eq!(
                state_from(&item).unwrap(),
                TranscriptState::Completed(Box::new(transcript))
            );
        }
    }

    #[test]
    fn two_hours_of_speech_fit_into_an_item() {
        let word = |n: u32| Word {
            start: f64::from(n) * 0.4137,
            end: f64::from(n) * 0.4137 + 0.31,
            word: format!("word{}", n * 7919 % 3001),
            channel: None,
        };
        let words: Vec<Word> = (0..18_000).map(word).collect();
        let text = words
            .iter()
            .map(|word| word.word.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        assert!(
            pack(&Speech {
                text,
                segments: Vec::new(),
                words,
                dropped: Vec::new(),
            })
            .unwrap()
            .len()
                < 380_000
        );
    }
}
