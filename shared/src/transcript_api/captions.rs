//! Renders transcripts as SubRip and WebVTT captions.

use std::fmt::Write;

use crate::{clients::whisper::Segment, transcription::SpeakerNames};

/// SubRip (`application/x-subrip`). Each cue begins with the speaker's name.
pub(super) fn srt(segments: &[Segment], names: &SpeakerNames) -> String {
    let mut text = String::new();
    for (index, segment) in segments.iter().enumerate() {
        let (start, end) = (timestamp(segment.start, ','), timestamp(segment.end, ','));
        let speaker = segment.channel.map(|channel| format!("{}: ", names.of(channel)));
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "{}\n{start} --> {end}\n{}{}\n\n",
            index + 1,
            speaker.unwrap_or_default(),
            cue_text(&segment.text)
        );
    }
    text
}

/// WebVTT (`text/vtt`). Speakers are marked with voice spans.
pub(super) fn vtt(segments: &[Segment], names: &SpeakerNames) -> String {
    let mut text = "WEBVTT\n\n".to_owned();
    for segment in segments {
        let (start, end) = (timestamp(segment.start, '.'), timestamp(segment.end, '.'));
        let words = escaped(&cue_text(&segment.text));
        let voice = segment
            .channel
            .map(|channel| format!("<v {}>", escaped(&names.of(channel))));
        let _ = write!(text, "{start} --> {end}\n{}{words}\n\n", voice.unwrap_or_default());
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Removes empty lines and arrows, which would end the cue.
fn cue_text(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n").replace("-->", "->")
}

/// `HH:MM:SS,mmm`.
fn timestamp(seconds: f64, separator: char) -> String {
    let milliseconds = (seconds.max(0.0) * 1000.0).round() as u64;
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    format!(
        "{:02}:{:02}:{:02}{separator}{milliseconds:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    fn segments() -> Vec<Segment> {
        vec![
            Segment {
                start: 0.0,
                end: 1.2345,
                text: "Hello <you>.".into(),
                channel: None,
            },
            Segment {
                start: 3661.5,
                end: 3662.0,
                text: "a --> b\n\nc".into(),
                channel: Some(1),
            },
        ]
    }

    #[test]
    fn subrip_cues_are_numbered_and_have_a_comma_before_milliseconds() {
        let expected = "1\n00:00:00,000 --> 00:00:01,235\nHello <you>.\n\n2\n01:01:01,500 --> 01:01:02,000\ncustomer: a -> b\nc\n\n";
        assert_eq!(
            srt(&segments(), &SpeakerNames::from_env(&Env::from_iter([("", "")]))),
            expected
        );
    }

    #[test]
    fn webvtt_escapes_markup() {
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:01.235\nHello &lt;you&gt;.\n\n01:01:01.500 --> 01:01:02.000\n<v customer>a -&gt; b\nc\n\n";
        assert_eq!(
            vtt(&segments(), &SpeakerNames::from_env(&Env::from_iter([("", "")]))),
            expected
        );
    }
}
