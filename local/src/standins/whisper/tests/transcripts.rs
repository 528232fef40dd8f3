//! Transcripts of clips, synthetic speech and silence, in every format.

use std::io::Cursor;

use super::*;
use crate::standins::audio;

#[tokio::test]
async fn a_clip_is_recognized_in_every_container() {
    let (whisper, url) = start().await;
    for clip in &CLIPS {
        let mut samples = Vec::new();
        audio::decode(Cursor::new(clip.mp3), |_, _, more| samples.extend_from_slice(more)).unwrap();
        let wav = wav(&pcm(samples.into_iter().map(|sample| (sample * 32767.0) as i16)));
        let files = [
            ("a.mp3", Some(clip.mp3)),
            ("a.mpga", clip.dual_mp3),
            ("a.MP4", clip.mp4),
            ("a.m4a", clip.mp4),
            ("a.wav", Some(&wav)),
        ];
        for (name, bytes) in files.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))) {
            let (status, body) = post_json(&url, form(name, bytes, &[("model", "whisper-1")])).await;
            assert_eq!((status, &body["text"]), (200, &json!(clip.transcript())), "{name}");
        }
    }
    let first = &whisper.requests()[0];
    assert_eq!(first.file_name.as_deref(), Some("a.mp3"));
    assert_eq!(first.content_type.as_deref(), Some("audio/x-test"));
    assert_eq!(first.file_bytes, CLIPS[0].mp3.len() as u64);
    assert_eq!(first.fields, [("model".to_owned(), "whisper-1".to_owned())]);
    assert!(first.authorized);
}

#[tokio::test]
async fn verbose_json_has_the_decoded_duration_and_a_segment_for_each_sentence() {
    let (_, url) = start().await;
    let fields = [
        ("model", "whisper-1"),
        ("response_format", "verbose_json"),
        ("language", "en"),
        ("temperature", "0.2"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ];
    let (status, body) = post_json(&url, form("a.mp4", CLIPS[1].mp4.unwrap(), &fields)).await;
    assert_eq!(
        (status, &body["language"], &body["usage"]["seconds"]),
        (200, &json!("english"), &json!(180))
    );
    let duration = body["duration"].as_f64().unwrap();
    assert!((duration - 180.0).abs() < 0.2, "{duration}");
    let segments = body["segments"].as_array().unwrap();
    assert_eq!(segments.len(), CLIPS[1].sentences().count());
    let mut at = 0.0;
    for segment in segments {
        let (start, end) = (segment["start"].as_f64().unwrap(), segment["end"].as_f64().unwrap());
        assert!(at <= start && start < end && end < duration, "{segment}");
        at = end;
    }
    assert_eq!(
        body["words"].as_array().unwrap().len(),
        CLIPS[1].transcript().split(' ').count()
    );
}

#[tokio::test]
async fn text_and_subtitles_are_plain() {
    let (_, url) = start().await;
    let plain = async |format: &str| {
        let fields = [("model", "whisper-1"), ("response_format", format)];
        post(&url, form("a.mp3", CLIPS[0].mp3, &fields))
            .await
            .text()
            .await
            .unwrap()
    };
    assert_eq!(plain("text").await, CLIPS[0].transcript() + "\n");
    let srt = plain("srt").await;
    assert!(
        srt.starts_with("1\n00:00:00,") && srt.contains("\n\n2\n00:00:20,"),
        "{srt}"
    );
    let vtt = plain("vtt").await;
    assert!(
        vtt.starts_with("WEBVTT\n\n00:00:00.") && vtt.contains("\n\n00:00:20."),
        "{vtt}"
    );
}

#[tokio::test]
async fn silence_has_no_words_and_unknown_audio_is_rejected() {
    let (_, url) = start().await;
    let whisper = [("model", "whisper-1")];
    let (status, body) = post_json(&url, form("a.wav", wav(&[0; 32_000]), &whisper)).await;
    assert_eq!((status, &body["text"]), (200, &json!("")));
    let tone = wav(&pcm((0..16_000).map(|at| if at / 10 % 2 == 0 { 8000 } else { -8000 })));
    let half = &CLIPS[0].mp3[..CLIPS[0].mp3.len() / 2];
    for (name, unknown) in [("a.wav", tone.as_slice()), ("a.mp3", half)] {
        let (status, body) = post_json(&url, form(name, unknown, &whisper)).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("standin_unknown_audio")));
    }
}

#[tokio::test]
async fn tones_are_words_in_segments_that_end_at_pauses() {
    let (whisper, url) = start().await;
    let said = [(0.5, "river"), (0.8, "castle"), (1.5, "lemon"), (1.8, "amber")];
    let script = tones::Script::new(2.5, said);
    let (status, body) = post_json(&url, spoken(tones::Wav::new(16_000, [script.clone()]), &VERBOSE)).await;
    assert_eq!((status, &body["text"]), (200, &json!("river castle lemon amber")));
    let segments = body["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[1]["text"], " lemon amber");
    let about = |value: &Value, seconds: f64| (value.as_f64().unwrap() - seconds).abs() < 0.01;
    assert!(
        about(&segments[1]["start"], 1.5) && about(&segments[1]["end"], 2.0),
        "{body}"
    );
    let words = body["words"].as_array().unwrap();
    for (word, spoken) in words.iter().zip(script.words()) {
        assert_eq!(word["word"], spoken.word);
        assert!(
            about(&word["start"], spoken.start) && about(&word["end"], spoken.end),
            "{word}"
        );
    }
    let logged = &whisper.requests()[0];
    assert_eq!((logged.seconds, logged.status), (Some(2.5), Some(200)));
    assert_eq!(logged.text.as_deref(), Some("river castle lemon amber"));
}

#[tokio::test]
async fn a_segment_of_tones_is_at_most_half_a_minute() {
    let (_, url) = start().await;
    let script = tones::Script::new(70.0, (0..200).map(|at| (f64::from(at) * 0.35, "river")));
    let (_, body) = post_json(&url, spoken(tones::Wav::new(8000, [script]), &VERBOSE)).await;
    let segments = body["segments"].as_array().unwrap();
    let lengths = segments
        .iter()
        .map(|segment| segment["end"].as_f64().unwrap() - segment["start"].as_f64().unwrap());
    assert!(
        segments.len() == 3 && lengths.into_iter().all(|length| length <= 30.0),
        "{segments:?}"
    );
}

#[tokio::test]
async fn text_is_hallucinated_in_long_silences_if_enabled() {
    let (whisper, url) = start().await;
    let talk = || tones::Wav::new(8000, [tones::Script::new(12.0, [(1.0, "river"), (11.0, "castle")])]);
    let (_, body) = post_json(&url, spoken(talk(), &VERBOSE)).await;
    assert_eq!(body["text"], "river castle");
    whisper.hallucinate_in_silence(true);
    let (_, body) = post_json(&url, spoken(talk(), &VERBOSE)).await;
    assert_eq!(body["text"], "river Thank you for watching. castle");
    let segment = &body["segments"][1];
    assert_eq!(
        (&segment["no_speech_prob"], &segment["avg_logprob"]),
        (&json!(0.9), &json!(-1.4))
    );
    assert_eq!(body["segments"][0]["no_speech_prob"], 0.01);
    let (_, body) = post_json(&url, form("a.wav", wav(&[0; 96_000]), &VERBOSE)).await;
    assert_eq!(body["text"], "Thank you for watching.");
}
