use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(body: &Value) -> Transcription {
    read_transcription(body.to_string().as_bytes(), false, 60.0).unwrap()
}

fn texts(read: &Transcription) -> Vec<&str> {
    read.segments.iter().map(|segment| segment.text.as_str()).collect()
}

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
        (r#"{"text":"Hi","duration":NaN}"#, "Hi", None),
        (r#"{"segments":[]}"#, "", None),
        (r#"{"segments":[{"text":" One."},{"text":" Two."}]}"#, "One. Two.", None),
        // Implausible numbers.
        (r#"{"text":"Hi","duration":45e9}"#, "Hi", None),
        (r#"{"text":"Hi","duration":1e18}"#, "Hi", None),
        (r#"{"text":"Hi","duration":-3}"#, "Hi", None),
        (r#"{"text":"Hi","usage":{"seconds":1e308}}"#, "Hi", None),
    ] {
        let read = read_transcription(body.as_bytes(), false, 60.0).unwrap();
        assert_eq!((read.text.as_str(), read.duration), (text, duration), "{body}");
    }
    for body in [r#""what was said""#, "{}", "<html>", "", r#"{"text":null}"#, "[]"] {
        let refused = read_transcription(body.as_bytes(), false, 60.0).unwrap_err();
        assert!(refused.is_none(), "{body}");
    }
    let error = read_transcription(
        br#"{"error":{"message":"Invalid or unsupported audio file."}}"#,
        false,
        60.0,
    );
    assert_eq!(
        error.unwrap_err().unwrap().message,
        "Invalid or unsupported audio file."
    );
}

#[test]
fn plain_text_is_read_only_where_it_was_asked_for() {
    for (body, text) in [
        (" Hello.\n", "Hello."),
        (r#""Hello.""#, "Hello."),
        (r#"{"text":"Hello."}"#, "Hello."),
        ("12", "12"),
    ] {
        assert_eq!(read_transcription(body.as_bytes(), true, 60.0).unwrap().text, text);
    }
    assert!(read_transcription(b"<!doctype html>", true, 60.0).is_err());
}

#[test]
fn sure_words_in_any_script_are_kept_whatever_their_compression() {
    let read = read(&json!({
        "text": "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
        "segments": [{"start": 0, "end": 3, "text": "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}", "compression_ratio": 2.52, "avg_logprob": -0.3, "no_speech_prob": 0.02}],
    }));
    assert_eq!((read.segments.len(), read.dropped.len()), (1, 0));
}

#[test]
fn what_is_dropped_is_cut_out_of_the_text_and_kept_apart() {
    let segment = |start: u32, text: &str, no_speech: f64, logprob: f64| json!({"start": start, "end": start + 2, "text": text, "no_speech_prob": no_speech, "avg_logprob": logprob});
    let word = |start: f64, word: &str| json!({"start": start, "end": start + 0.4, "word": word});
    let read = read(&json!({
        "text": "Hello, \u{201c}you\u{201d}. Thanks for watching. Good  bye.",
        "segments": [
            segment(0, " Hello, \u{201c}you\u{201d}.", 0.01, -0.2),
            segment(2, " Thanks for watching.", 0.9, -1.5),
            segment(4, " Good bye.", 0.1, -0.2),
        ],
        "words": [word(0.5, "Hello"), word(2.5, "Thanks"), word(4.5, "Good")],
    }));
    assert_eq!(read.text, "Hello, \u{201c}you\u{201d}. Good  bye.");
    assert_eq!(texts(&read), ["Hello, \u{201c}you\u{201d}.", "Good bye."]);
    assert_eq!(read.dropped.len(), 1);
    assert_eq!(
        (read.dropped[0].start, read.dropped[0].text.as_str()),
        (2.0, "Thanks for watching.")
    );
    let words: Vec<_> = read.words.iter().map(|word| word.word.as_str()).collect();
    assert_eq!(words, ["Hello", "Good"]);
}

#[test]
fn all_invention_on_silence_is_an_empty_transcript() {
    let read = read(&json!({"text": "Thank you.", "segments": [
        {"start": 0, "end": 30, "text": "Thank you.", "no_speech_prob": 0.95, "avg_logprob": -1.2},
    ]}));
    assert_eq!(
        (read.text.as_str(), read.dropped.len(), read.segments.len()),
        ("", 1, 0)
    );
}

#[test]
fn a_sentence_is_not_lost_with_its_times_or_its_segment() {
    let read = read(&json!({
        "text": "One. Two. Three. Four. Five.",
        "segments": [
            {"start": 1, "end": 2, "text": " One."},
            {"start": 2, "end": null, "text": " Two."},
            {"text": " Three."},
            {"start": 6, "end": 5, "text": " Five."},
        ],
    }));
    assert_eq!(texts(&read), ["One.", "Two.", "Three.", "Four.", "Five."]);
    assert!(read.segments.iter().all(|segment| segment.end > segment.start));
    assert_eq!(read.text, "One. Two. Three. Four. Five.");
}

#[test]
fn segments_in_another_spelling_are_not_doubled() {
    let read = read(&json!({
        "text": "It costs twenty dollars. Thanks.",
        "segments": [{"start": 0, "end": 2, "text": "It costs $20."}, {"start": 2, "end": 3, "text": "Thanks."}],
    }));
    assert_eq!(texts(&read), ["It costs $20.", "Thanks."]);
    assert_eq!(read.text, "It costs twenty dollars. Thanks.");
}

#[test]
fn tokens_of_whisper_cpp_become_words() {
    let read = read(
        &json!({"text": " That's it.\n", "segments": [{"start": 0, "end": 5, "text": " That's it.", "words": [
            {"word": " That", "start": 0.16, "end": 0.31, "probability": 0.3},
            {"word": "'s", "start": 0.38, "end": 0.49, "probability": 0.8},
            {"word": " it", "start": 0.5, "end": 0.6},
            {"word": ".", "start": 0.6, "end": 0.7},
            {"word": "[_TT_250]", "start": 5, "end": 5},
        ]}]}),
    );
    let words: Vec<_> = read.words.iter().map(|word| (word.word.as_str(), word.end)).collect();
    assert_eq!(words, [("That's", 0.49), ("it.", 0.7)]);
    assert_eq!(read.text, "That's it.");
}

#[test]
fn times_in_nanoseconds_are_read_as_such() {
    let read = read(&json!({"text": "Hi", "segments": [{"start": 0, "end": 1_500_000_000, "text": "Hi"}]}));
    assert_eq!(read.segments[0].end, 1.5);
}

prop_compose! {
    fn any_segment()(
        text in "[a-c ]{0,6}",
        start in prop_oneof![Just(json!(null)), (0.0..100.0).prop_map(|start| json!(start)), Just(json!("x")), Just(json!(-1)), Just(json!(1e300))],
        end in prop_oneof![Just(json!(null)), (0.0..100.0).prop_map(|end| json!(end)), Just(json!(45e9))],
        no_speech in prop::option::of(0.0..1.0),
        logprob in prop::option::of(-2.0..0.0),
    ) -> Value {
        json!({"text": text, "start": start, "end": end, "no_speech_prob": no_speech, "avg_logprob": logprob})
    }
}

fn letters(text: &str) -> String {
    let mut letters: Vec<char> = text.chars().filter(|letter| letter.is_alphanumeric()).collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

#[test]
fn text_is_kept_and_marked_where_the_model_was_only_unsure() {
    let read = read(&json!({"text": "One. Two. Three.", "segments": [
        {"start": 0, "end": 1, "text": "One.", "avg_logprob": -0.2, "no_speech_prob": 0.9},
        {"start": 1, "end": 2, "text": "Two.", "avg_logprob": -1.3, "no_speech_prob": 0.1},
        {"start": 2, "end": 3, "text": "Three."},
    ]}));
    assert_eq!(read.text, "One. Two. Three.");
    let unsure: Vec<bool> = read.segments.iter().map(|segment| segment.unsure).collect();
    assert_eq!(unsure, [false, true, false]);
}

proptest! {
    #[test]
    fn every_letter_is_in_the_text_or_among_what_was_dropped(
        segments in prop::collection::vec(any_segment(), 0..12),
        tail in "[d-f ]{0,6}",
    ) {
        let said = joined(segments.iter().map(|segment| segment["text"].as_str().unwrap()));
        let text = format!("{said} {tail}");
        let read = read(&json!({"text": text, "segments": segments}));
        let dropped: String = read.dropped.iter().map(|dropped| dropped.text.as_str()).collect();
        prop_assert_eq!(letters(&format!("{}{dropped}", read.text)), letters(&text));
        let in_segments: String = read.segments.iter().map(|segment| segment.text.as_str()).collect();
        if !read.segments.is_empty() {
            prop_assert_eq!(letters(&in_segments), letters(&read.text));
        }
        for segment in &read.segments {
            prop_assert!(segment.start.is_finite() && segment.end > segment.start);
        }
    }
}
