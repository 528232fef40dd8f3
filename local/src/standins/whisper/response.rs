//! Responses in all formats.

use std::fmt::Write as _;

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use serde_json::{Value, json};

use super::{
    error::respond,
    options::{Format, Options},
    sentence::{Sentence, text},
};
use crate::standins::audio::Decoded;

impl Options {
    /// The transcript in the requested format.
    pub(super) fn response(&self, decoded: &Decoded, sentences: &[Sentence]) -> Response<Body> {
        let text = text(sentences);
        let seconds = decoded.seconds();
        let usage = if self.model.starts_with("gpt-") {
            let (input, output) = (
                (seconds * 10.0).ceil() as u64,
                text.split_whitespace().count() as u64 * 4 / 3,
            );
            json!({
                "type": "tokens",
                "input_tokens": input,
                "input_token_details": { "text_tokens": 0, "audio_tokens": input },
                "output_tokens": output,
                "total_tokens": input + output,
            })
        } else {
            json!({ "type": "duration", "seconds": seconds.round() as u64 })
        };
        match self.format {
            Format::Json => respond(
                StatusCode::OK,
                "application/json",
                json!({ "text": text, "usage": usage }).to_string(),
            ),
            Format::Text => respond(StatusCode::OK, "text/plain; charset=utf-8", text + "\n"),
            Format::Srt => respond(StatusCode::OK, "text/plain; charset=utf-8", subtitles(sentences, ',')),
            Format::Vtt => respond(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                format!("WEBVTT\n\n{}", subtitles(sentences, '.')),
            ),
            Format::VerboseJson => {
                let mut body = json!({ "task": "transcribe", "language": "english", "duration": seconds, "text": text, "usage": usage });
                if self.segments {
                    body["segments"] = sentences
                        .iter()
                        .enumerate()
                        .map(|(id, sentence)| self.segment(id, sentence))
                        .collect();
                }
                if self.words {
                    let words = sentences.iter().flat_map(|sentence| &sentence.words);
                    body["words"] = words
                        .map(|word| json!({ "word": word.word, "start": word.start, "end": word.end }))
                        .collect();
                }
                respond(StatusCode::OK, "application/json", body.to_string())
            }
        }
    }

    fn segment(&self, id: usize, sentence: &Sentence) -> Value {
        json!({
            "id": id,
            "seek": 0,
            "start": sentence.start,
            "end": sentence.end,
            "text": format!(" {}", sentence.text),
            "tokens": [],
            "temperature": self.temperature,
            "avg_logprob": if sentence.hallucinated { -1.4 } else { -0.2 },
            "compression_ratio": 1.2,
            "no_speech_prob": if sentence.hallucinated { 0.9 } else { 0.01 },
        })
    }
}

/// SubRip has a comma before the milliseconds, WebVTT (whose cues need no numbers) a point.
fn subtitles(sentences: &[Sentence], point: char) -> String {
    let time = |seconds: f64| {
        let ms = (seconds * 1000.0).round() as u64;
        let (hours, minutes, whole) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        format!("{hours:02}:{minutes:02}:{whole:02}{point}{:03}", ms % 1000)
    };
    let mut text = String::new();
    for (at, sentence) in sentences.iter().enumerate() {
        if point == ',' {
            let _ = writeln!(text, "{}", at + 1);
        }
        let _ = writeln!(
            text,
            "{} --> {}\n{}\n",
            time(sentence.start),
            time(sentence.end),
            sentence.text
        );
    }
    text
}
