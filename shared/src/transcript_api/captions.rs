//! Renders transcripts as SubRip and WebVTT captions.

use std::fmt::Write;

use crate::{clients::whisper::Segment, transcription::SpeakerNames};

/// A cue that would be on the screen for a shorter time, in milliseconds, because the next one begins, is shown together with the next one.
const SHORTEST: u64 = 300;
/// The last time that a cue can begin, in milliseconds.
const LATEST: f64 = 99.0 * 3_600_000.0;

/// What is shown for some time: one line, or one for each of those who speak at the same time.
struct Cue<'a> {
    start: u64,
    end: u64,
    lines: Vec<&'a Segment>,
}

/// The segments as cues in their order, none of length 0 and none overlapping another. Every segment with a text is in exactly one.
fn cues(segments: &[Segment]) -> Vec<Cue<'_>> {
    let milliseconds = |seconds: f64| (seconds * 1000.0).round().clamp(0.0, LATEST) as u64;
    let mut sorted: Vec<&Segment> = segments
        .iter()
        .filter(|segment| !cue_text(&segment.text).is_empty())
        .collect();
    sorted.sort_by(|one, other| one.start.total_cmp(&other.start));
    let mut cues: Vec<Cue<'_>> = Vec::new();
    for segment in sorted {
        let (start, end) = (milliseconds(segment.start), milliseconds(segment.end));
        let end = end.max(start + 1);
        match cues.last_mut() {
            Some(last) if start < last.end && start.saturating_sub(last.start) < SHORTEST => {
                last.end = last.end.max(end);
                last.lines.push(segment);
            }
            last => {
                if let Some(last) = last {
                    last.end = last.end.min(start);
                }
                cues.push(Cue {
                    start,
                    end,
                    lines: vec![segment],
                });
            }
        }
    }
    cues
}

/// SubRip (`application/x-subrip`). Each line begins with its speaker's name.
pub(super) fn srt(segments: &[Segment], names: &SpeakerNames) -> String {
    let mut text = String::new();
    for (index, cue) in cues(segments).iter().enumerate() {
        let (start, end) = (timestamp(cue.start, ','), timestamp(cue.end, ','));
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}\n{start} --> {end}", index + 1);
        for segment in &cue.lines {
            let speaker = names.of_segment(segment).map(|name| format!("{}: ", cue_text(&name)));
            let _ = writeln!(text, "{}{}", speaker.unwrap_or_default(), cue_text(&segment.text));
        }
        text.push('\n');
    }
    text
}

/// WebVTT (`text/vtt`). Speakers are marked with voice spans.
pub(super) fn vtt(segments: &[Segment], names: &SpeakerNames) -> String {
    let mut text = "WEBVTT\n\n".to_owned();
    for cue in cues(segments) {
        let _ = writeln!(text, "{} --> {}", timestamp(cue.start, '.'), timestamp(cue.end, '.'));
        for segment in &cue.lines {
            let voice = names
                .of_segment(segment)
                .map(|name| format!("<v {}>", escaped(&cue_text(&name))));
            let close = if voice.is_some() && cue.lines.len() > 1 {
                "</v>"
            } else {
                ""
            };
            let words = escaped(&cue_text(&segment.text));
            let _ = writeln!(text, "{}{words}{close}", voice.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Removes empty lines and arrows, which would end the cue, and control characters.
fn cue_text(text: &str) -> String {
    let lines: Vec<String> = text
        .split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
        .map(|line| {
            line.chars()
                .filter(|letter| !letter.is_control() || *letter == '\t')
                .collect::<String>()
        })
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let mut text = lines.join("\n");
    while text.contains("-->") {
        text = text.replace("-->", "->");
    }
    text
}

/// `HH:MM:SS,mmm`.
fn timestamp(milliseconds: u64, separator: char) -> String {
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
    use proptest::prelude::*;

    use super::*;
    use crate::config::Env;

    fn names() -> SpeakerNames {
        SpeakerNames::from_env(&Env::from_iter([("", "")]))
    }

    fn segment(start: f64, end: f64, text: &str, channel: Option<u8>) -> Segment {
        Segment {
            start,
            end,
            text: text.into(),
            channel,
            speaker: None,
            unsure: false,
        }
    }

    fn segments() -> Vec<Segment> {
        vec![
            segment(0.0, 1.2345, "Hello <you>.", None),
            segment(3661.5, 3662.0, "a --> b\n\nc", Some(1)),
        ]
    }

    #[test]
    fn subrip_cues_are_numbered_and_have_a_comma_before_milliseconds() {
        let expected = "1\n00:00:00,000 --> 00:00:01,235\nHello <you>.\n\n2\n01:01:01,500 --> 01:01:02,000\ncustomer: a -> b\nc\n\n";
        assert_eq!(srt(&segments(), &names()), expected);
    }

    #[test]
    fn webvtt_escapes_markup() {
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:01.235\nHello &lt;you&gt;.\n\n01:01:01.500 --> 01:01:02.000\n<v customer>a -&gt; b\nc\n\n";
        assert_eq!(vtt(&segments(), &names()), expected);
    }

    #[test]
    fn a_cue_ends_when_the_next_begins_and_speech_at_the_same_time_shares_one() {
        let segments = [
            segment(0.0, 5.0, "one", Some(0)),
            segment(2.0, 3.0, "two", Some(1)),
            segment(2.1, 4.0, "three", Some(0)),
            segment(4.0, 4.0, "four", Some(0)),
        ];
        let expected = "1\n00:00:00,000 --> 00:00:02,000\nagent: one\n\n2\n00:00:02,000 --> 00:00:04,000\ncustomer: two\nagent: three\n\n\
                        3\n00:00:04,000 --> 00:00:04,001\nagent: four\n\n";
        assert_eq!(srt(&segments, &names()), expected);
    }

    /// The cues of a file: start and end in milliseconds, and the text.
    fn parsed(captions: &str) -> Vec<(u64, u64, String)> {
        let time = |text: &str| {
            let parts: Vec<u64> = text.split([':', ',', '.']).map(|part| part.parse().unwrap()).collect();
            assert!(
                parts.len() == 4 && parts[1] < 60 && parts[2] < 60 && parts[3] < 1000,
                "{text}"
            );
            ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000 + parts[3]
        };
        let blocks = captions
            .trim_start_matches("WEBVTT")
            .split("\n\n")
            .filter(|block| !block.trim().is_empty());
        let cue = |block: &str| {
            let mut lines = block
                .trim_start_matches('\n')
                .lines()
                .skip_while(|line| !line.contains("-->"));
            let (start, end) = lines.next().unwrap().split_once(" --> ").unwrap();
            let text: Vec<&str> = lines.collect();
            assert!(
                !text.is_empty() && text.iter().all(|line| !line.contains("-->")),
                "{block}"
            );
            (time(start), time(end), text.join("\n"))
        };
        blocks.map(cue).collect()
    }

    proptest! {
        #[test]
        fn captions_are_valid_for_every_input_and_have_every_word(
            segments in prop::collection::vec(
                (
                    prop_oneof![0.0..30.0, Just(f64::NAN), Just(f64::INFINITY), Just(-5.0), Just(1e300)],
                    prop_oneof![0.0..30.0, Just(f64::NAN), Just(f64::NEG_INFINITY), Just(1e300)],
                    "[a-z\n\r ->&<\u{2028}\u{0}]{0,12}",
                    prop::option::of(0..3_u8),
                ),
                0..20,
            ),
        ) {
            let segments: Vec<Segment> = segments.iter().map(|(start, end, text, channel)| segment(*start, *end, text, *channel)).collect();
            for captions in [srt(&segments, &names()), vtt(&segments, &names())] {
                let cues = parsed(&captions);
                for cue in &cues {
                    prop_assert!(cue.1 > cue.0);
                }
                for pair in cues.windows(2) {
                    prop_assert!(pair[0].1 <= pair[1].0);
                }
                let all: String = cues.iter().map(|cue| cue.2.as_str()).collect::<Vec<_>>().join("\n");
                for word in segments.iter().flat_map(|segment| segment.text.split(|letter: char| !letter.is_ascii_lowercase())) {
                    prop_assert!(all.contains(word), "{word}");
                }
            }
        }
    }
}
