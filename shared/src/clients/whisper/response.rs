//! The success of the API, read leniently: only `text` is required.

use serde::Deserialize;
use serde_json::Value;

use super::{
    error::WhisperError,
    hallucination::{ScoredSegment, drop_hallucinations},
    speech::{Transcription, Word, number, times},
};

/// Reads the body of a success.
pub(super) fn read_transcription(body: &[u8]) -> Result<Transcription, WhisperError> {
    #[derive(Deserialize)]
    struct Answer {
        text: String,
        language: Option<Value>,
        duration: Option<Value>,
        usage: Option<Value>,
        segments: Option<Vec<Value>>,
        words: Option<Vec<Value>>,
    }
    // The parser's own message could quote the words.
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        WhisperError::Unexpected(format!("no JSON object with a text, at line {line} column {column}"))
    })?;
    let used = answer.usage.as_ref().and_then(|usage| number(usage.get("seconds")?));
    let duration = answer.duration.as_ref().and_then(number).or(used);
    let duration = duration.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let heard: Vec<ScoredSegment> = answer
        .segments
        .iter()
        .flatten()
        .filter_map(ScoredSegment::read)
        .collect();
    let words = answer.words.iter().flatten().filter_map(|word| {
        let (start, end) = times(word)?;
        Some(Word {
            start,
            end,
            word: word.get("word")?.as_str()?.to_owned(),
            channel: None,
        })
    });
    let mut transcription = Transcription {
        text: answer.text.trim().to_owned(),
        language: answer.language.as_ref().and_then(Value::as_str).map(str::to_owned),
        duration,
        words: words.collect(),
        ..Transcription::default()
    };
    let (kept, dropped) = drop_hallucinations(heard);
    if !dropped.is_empty() {
        transcription.text = kept
            .iter()
            .map(|segment| segment.text.trim())
            .collect::<Vec<_>>()
            .join(" ");
        let invented = |word: &Word| {
            dropped
                .iter()
                .any(|s| (s.start..s.end).contains(&((word.start + word.end) / 2.0)))
        };
        transcription.words.retain(|word| !invented(word));
    }
    transcription.dropped_segments = dropped.len();
    transcription.segments = kept;
    Ok(transcription)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compatible_servers_answers_are_read() {
        for (body, text, duration) in [
            (
                r#"{"text":" Hello. ","usage":{"type":"duration","seconds":9}}"#,
                "Hello.",
                Some(9.0),
            ),
            (
                r#"{"text":"Hi","duration":"12.5","segments":[{"no_speech_prob":null}],"language":"english"}"#,
                "Hi",
                Some(12.5),
            ),
            (r#"{"text":"","detected_language":"en"}"#, "", None),
        ] {
            let heard = read_transcription(body.as_bytes()).unwrap();
            assert_eq!((heard.text.as_str(), heard.duration), (text, duration));
        }
        let error = read_transcription(br#""what was said""#).unwrap_err();
        assert!(!error.to_string().contains("said"), "{error}");
        assert!(matches!(read_transcription(b"{}"), Err(WhisperError::Unexpected(_))));
        assert!(matches!(
            read_transcription(b"<html>"),
            Err(WhisperError::Unexpected(_))
        ));
    }

    #[test]
    fn words_put_to_silence_and_loops_are_dropped_and_counted() {
        let segment = |start: u32, text: &str, no_speech: f64, logprob: f64, compression: f64| serde_json::json!({"start": start, "end": start + 2, "text": text, "no_speech_prob": no_speech, "avg_logprob": logprob, "compression_ratio": compression});
        let word = |start: f64, word: &str| serde_json::json!({"start": start, "end": start + 0.4, "word": word});
        let heard = read_transcription(
            serde_json::json!({
                "text": "Hello. Thanks for watching. I will call back. I will call back. I will call back. I will call back. la la la",
                "segments": [
                    segment(0, " Hello.", 0.01, -0.2, 1.1),
                    segment(2, " Thanks for watching.", 0.9, -1.5, 1.0),
                    segment(4, " I will call back.", 0.1, -0.2, 1.0),
                    segment(6, " I will call back.", 0.1, -0.2, 1.0),
                    segment(8, " I will call back.", 0.1, -0.2, 1.0),
                    segment(10, " I will call back.", 0.1, -0.2, 1.0),
                    segment(12, " la la la", 0.1, -0.2, 3.5),
                ],
                "words": [word(0.5, "Hello"), word(2.5, "Thanks"), word(4.5, "I"), word(12.5, "la")],
            })
            .to_string()
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(
            (heard.text.as_str(), heard.dropped_segments),
            ("Hello. I will call back. I will call back.", 4)
        );
        assert_eq!(
            heard.words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>(),
            ["Hello", "I"]
        );
    }

    #[test]
    fn short_answers_are_repeated_by_people_too() {
        let yes = |n: u32| serde_json::json!({"start": n * 5, "end": n * 5 + 1, "text": " Yes."});
        let segments: Vec<_> = (0..8).map(yes).collect();
        let body = serde_json::json!({"text": "Yes.", "segments": segments}).to_string();
        let heard = read_transcription(body.as_bytes()).unwrap();
        assert_eq!((heard.segments.len(), heard.dropped_segments), (5, 3));
    }

    #[test]
    fn all_invention_on_silence_is_an_empty_transcript() {
        let body = r#"{"text":"Thank you.","segments":[{"start":0,"end":30,"text":"Thank you.","no_speech_prob":0.95,"avg_logprob":-1.2}]}"#;
        let heard = read_transcription(body.as_bytes()).unwrap();
        assert_eq!(
            (heard.text.as_str(), heard.dropped_segments, heard.segments.len()),
            ("", 1, 0)
        );
    }

    #[test]
    fn times_in_nanoseconds_are_read_as_such() {
        let body = r#"{"text":"Hi","segments":[{"start":0,"end":1500000000,"text":"Hi"}]}"#;
        assert_eq!(read_transcription(body.as_bytes()).unwrap().segments[0].end, 1.5);
    }
}
