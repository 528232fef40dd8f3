//! The pages of a share.

use lambda_http::http::StatusCode;
use maud::html;
use shared::{
    calls::Call,
    clients::whisper::Segment,
    http::Page,
    shares::Share,
    time::to_millis,
    transcription::SpeakerNames,
    transcripts::{Coverage, Transcript},
};

const SCRIPT: &str = include_str!("player.js");
const TITLE: &str = "Call recording";

/// What the player's page shows.
pub(crate) struct Shown<'a> {
    pub(crate) share: &'a Share,
    pub(crate) call: Option<&'a Call>,
    /// The transcript, if it is shared and there is one.
    pub(crate) transcript: Option<&'a Transcript>,
    pub(crate) names: &'a SpeakerNames,
    /// The path of the audio.
    pub(crate) audio: String,
}

/// The body of the passcode form.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[allow(dead_code)]
pub(crate) struct PasscodeForm {
    /// A share without a passcode is opened with any.
    #[schema(nullable = false)]
    passcode: Option<String>,
}

/// The form for the passcode; with 403 it says that the last one was wrong.
pub(crate) fn passcode(status: StatusCode) -> Page {
    let content = html! {
        h1 { (TITLE) }
        p { "This recording is protected by a passcode." }
        form method="post" {
            @if status == StatusCode::FORBIDDEN { p.error role="alert" { "That passcode is not right." } }
            label for="passcode" { "Passcode" }
            input #passcode name="passcode" type="password" required autofocus autocomplete="off" maxlength="64";
            p { button { "Open" } }
        }
    };
    Page::new(status, TITLE, content)
}

/// The page with the player.
pub(crate) fn player(shown: &Shown<'_>) -> Page {
    let Shown { share, call, .. } = shown;
    let began = call.and_then(|call| call.start_time);
    let fragment = match (share.from, share.to) {
        (None, None) => String::new(),
        (from, None) => format!("#t={}", from.unwrap_or_default()),
        (from, Some(to)) => format!("#t={},{to}", from.unwrap_or_default()),
    };
    let content = html! {
        h1 { (TITLE) }
        @if let Some(began) = began {
            p { time datetime=(to_millis(began)) { (began.strftime("%-d %B %Y, %H:%M UTC")) } }
        }
        @match (share.from, share.to) {
            (None, None) => {},
            (from, None) => p { "From " (clock(from.unwrap_or_default())) " on" },
            (from, Some(to)) => p { "From " (clock(from.unwrap_or_default())) " to " (clock(to)) },
        }
        audio controls preload="metadata" src=(format!("{}{fragment}", shown.audio)) data-from=[share.from] data-to=[share.to] {}
        p.error #failed role="alert" hidden { "The recording can't be played now. Reload the page; if that does not help, ask for a new link." }
        @if share.with_transcript { (transcript(shown)) }
        p.small { "This link ends on " time datetime=(to_millis(share.expires_at)) { (share.expires_at.strftime("%-d %B %Y, %H:%M UTC")) } "." }
    };
    Page::new(StatusCode::OK, TITLE, content).script(SCRIPT)
}

fn transcript(shown: &Shown<'_>) -> maud::Markup {
    let Some(transcript) = shown.transcript else {
        return html! { p.small { "There is no transcript of this recording yet." } };
    };
    let (speech, share) = (&transcript.speech, shown.share);
    let segments = within(&speech.segments, share.from, share.to);
    let is_incomplete = transcript.coverage.as_ref().is_some_and(Coverage::is_incomplete);
    html! {
        h2 { "Transcript" }
        @if is_incomplete { p.small { "A part of the recording could not be transcribed." } }
        @if speech.text.trim().is_empty() {
            p.small { "Nothing is said in this recording." }
        } @else if speech.segments.is_empty() && share.from.or(share.to).is_none() {
            p { (speech.text) }
        } @else if speech.segments.is_empty() {
            p.small { "The transcript has no times, so that of this stretch can't be shown." }
        } @else if segments.is_empty() {
            p.small { "Nothing is said in this stretch." }
        } @else {
            ol {
                @for segment in segments {
                    li {
                        button type="button" data-time=(segment.start) { (clock(segment.start)) }
                        span {
                            @if let Some(name) = shown.names.of_segment(segment) { b { (name) } }
                            (segment.text)
                        }
                    }
                }
            }
        }
    }
}

/// The segments of a stretch.
fn within(segments: &[Segment], from: Option<f64>, to: Option<f64>) -> Vec<&Segment> {
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or(f64::INFINITY));
    let is_within = |segment: &&Segment| segment.end > from && segment.start < to && !segment.text.trim().is_empty();
    segments.iter().filter(is_within).collect()
}

/// `1:02:03` or `2:03`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_of_the_stretch_are_shown() {
        let segment = |start, end, text: &str| Segment {
            start,
            end,
            text: text.into(),
            channel: None,
            speaker: None,
            unsure: false,
        };
        let segments = [
            segment(0.0, 2.0, "a"),
            segment(2.0, 4.0, "b"),
            segment(4.0, 6.0, " "),
            segment(6.0, 8.0, "c"),
        ];
        let shown = |from, to| {
            within(&segments, from, to)
                .iter()
                .map(|segment| segment.text.as_str())
                .collect::<String>()
        };
        assert_eq!(shown(None, None), "abc");
        assert_eq!(shown(Some(2.0), None), "bc");
        assert_eq!(shown(Some(1.0), Some(2.0)), "a");
        assert_eq!(shown(Some(4.0), Some(6.0)), "");
    }

    #[test]
    fn times_are_written_as_on_a_clock() {
        assert_eq!((clock(93.9), clock(3723.0)), ("1:33".into(), "1:02:03".into()));
    }
}
