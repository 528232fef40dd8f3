//! Any answer of a transcription server is read or refused: without a panic, with possible times, and without losing text. The captions that are made of it
//! are valid.

#![no_main]
#![allow(dead_code)]

// The reader and the captions are private to `shared`, so their files are modules here, too.
#[path = "../../src/clients/whisper/alignment.rs"]
mod alignment;
#[path = "../../src/transcript_api/captions.rs"]
mod captions;
#[path = "../../src/clients/whisper/error_body.rs"]
mod error_body;
#[path = "../../src/clients/whisper/hallucination.rs"]
mod hallucination;
#[path = "../../src/clients/whisper/number.rs"]
mod number;
#[path = "../../src/clients/whisper/response.rs"]
mod response;
#[path = "../../src/clients/whisper/speech.rs"]
mod speech;
#[path = "../../src/clients/whisper/times.rs"]
mod times;

use error_body::ErrorBody;
use libfuzzer_sys::fuzz_target;
use reqwest::StatusCode;
use response::read_transcription;
use shared::{clients, config::Env, transcription};

/// Lengths of recordings in seconds.
const LENGTHS: [f64; 4] = [0.5, 30.0, 420.0, 1400.0];

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_last() else {
        return;
    };
    let seconds = LENGTHS[usize::from(choice >> 1 & 3)];
    let is_plain = choice & 1 == 1;
    match read_transcription(body, is_plain, seconds) {
        Ok(read) => {
            assert!(
                read.duration
                    .is_none_or(|duration| duration > 0.0 && duration <= seconds * 2.0 + 60.0)
            );
            for segment in &read.segments {
                assert!(segment.start.is_finite() && segment.start >= 0.0 && segment.end > segment.start);
                assert!(!segment.text.trim().is_empty());
            }
            for word in &read.words {
                assert!(word.start.is_finite() && word.start >= 0.0 && word.end >= word.start && word.end.is_finite());
            }
            for dropped in &read.dropped {
                assert!(dropped.start.is_finite() && dropped.end.is_finite());
            }
            if !is_plain {
                nothing_is_lost(body, &read);
            }
            captions_are_valid(&read);
        }
        Err(Some(error)) => said(&error),
        Err(None) => {}
    }
    said(&ErrorBody::read(body));
});

/// Each letter of the server's text is in the text or among what was dropped, in its order.
fn nothing_is_lost(body: &[u8], read: &speech::Transcription) {
    let Ok(serde_json::Value::Object(answer)) = serde_json::from_slice(body) else {
        return;
    };
    let Some(text) = answer.get("text").and_then(|text| text.as_str()) else {
        return;
    };
    if read.dropped.is_empty() {
        assert_eq!(read.text, text.trim());
    }
    let dropped: String = read.dropped.iter().map(|dropped| dropped.text.as_str()).collect();
    let (before, after) = (letters(text), letters(&format!("{}{dropped}", read.text)));
    assert!(
        before.iter().all(|letter| after.contains(letter)),
        "{before:?} {after:?}"
    );
    // Dropped segments may repeat what the text has once, so there may be more afterwards, but never less.
    assert!(after.len() >= before.len(), "{before:?} {after:?}");
}

fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|letter| letter.is_alphanumeric()).collect()
}

/// What is made of an error for people and for the next attempt.
fn said(error: &ErrorBody) {
    for prompt in [None, Some("Acme")] {
        let sentence = error.sentence(prompt);
        assert!(sentence.chars().count() <= 400, "{sentence}");
        assert!(!sentence.contains("://"), "{sentence}");
    }
    for status in [StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR] {
        error.refused_parameter(status);
    }
    error.is_too_large();
    error.is_too_long();
    error.bytes_named();
    assert!(error.seconds_named().iter().all(|seconds| seconds.is_finite()));
}

/// Cues do not overlap, none is without a text, and none contains an arrow that would end it.
fn captions_are_valid(read: &speech::Transcription) {
    let segment = |segment: &speech::Segment| clients::whisper::Segment {
        start: segment.start,
        end: segment.end,
        text: segment.text.clone(),
        channel: segment.channel,
        speaker: segment.speaker.clone(),
        unsure: segment.unsure,
    };
    let segments: Vec<_> = read.segments.iter().map(segment).collect();
    let names = transcription::SpeakerNames::from_env(&Env::from_iter([("", "")]));
    for captions in [captions::srt(&segments, &names), captions::vtt(&segments, &names)] {
        let mut last = String::new();
        for block in captions
            .split("\n\n")
            .filter(|block| !block.is_empty() && *block != "WEBVTT")
        {
            let mut lines = block.lines().skip_while(|line| !line.contains(" --> "));
            let (start, end) = lines.next().and_then(|line| line.split_once(" --> ")).expect("times");
            assert!(last.as_str() <= start && start < end, "{captions}");
            last = end.to_owned();
            assert!(
                lines.clone().count() > 0 && lines.all(|line| !line.contains("-->")),
                "{captions}"
            );
        }
    }
}
