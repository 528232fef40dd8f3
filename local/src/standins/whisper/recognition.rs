//! Transcribes an upload.

use std::{io::Cursor, sync::OnceLock};

use axum::{body::Body, http::Response};

use super::{
    error::Refusal,
    fingerprint::Fingerprint,
    form::Form,
    options::Options,
    sentence::{Sentence, sentences, text},
    tone_recognizer::{Recognized, ToneRecognizer},
};
use crate::{
    clips::{CLIPS, Clip},
    standins::audio,
};

/// File name extensions and their containers.
const EXTENSIONS: [(&str, &str); 9] = [
    ("flac", "flac"),
    ("m4a", "isomp4"),
    ("mp3", "mp3"),
    ("mp4", "isomp4"),
    ("mpeg", "mp3"),
    ("mpga", "mp3"),
    ("ogg", "ogg"),
    ("wav", "wave"),
    ("webm", "matroska"),
];
const MINIMUM_SECONDS: f64 = 0.1;
const GPT_4O_MAXIMUM_SECONDS: f64 = 1400.0;
/// A text that Whisper often hallucinates in long silences.
const HALLUCINATION: &str = "Thank you for watching.";

/// A successful transcription.
pub(super) struct Transcribed {
    /// The transcript, independent of the response format.
    pub(super) text: String,
    pub(super) response: Response<Body>,
}

/// Transcribes an upload. `decoded_seconds` is set to the length of the audio in seconds before the length is checked.
pub(super) fn transcribe(
    form: Form,
    hallucinates: bool,
    decoded_seconds: impl FnOnce(f64),
) -> Result<Transcribed, Refusal> {
    let options = Options::parse(&form.logged.fields)?;
    let missing = || {
        Refusal::bad_request(
            Some("file"),
            Some("missing_required_parameter"),
            "Missing required parameter: 'file'.",
        )
    };
    let file = form.file.ok_or_else(missing)?;
    let extension = form
        .logged
        .file_name
        .as_deref()
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, extension)| extension.to_lowercase());
    let Some((_, container)) = EXTENSIONS.iter().find(|(known, _)| extension.as_deref() == Some(known)) else {
        let known = EXTENSIONS.map(|(known, _)| format!("'{known}'")).join(", ");
        return Err(Refusal::bad_request(
            Some("file"),
            None,
            format!("Invalid file format. Supported formats: [{known}]"),
        ));
    };
    let mut fingerprint = Fingerprint::default();
    let mut tones = ToneRecognizer::default();
    let decoded = audio::decode(file, |rate, channels, samples| {
        fingerprint.push(rate, channels, samples);
        tones.push(rate, channels, samples);
    })
    .map_err(|audio::Undecodable| Refusal::undecodable())?;
    decoded_seconds(decoded.seconds());
    if decoded.format != *container {
        let message = "This model does not support the format you provided.";
        return Err(Refusal::bad_request(
            Some("messages"),
            Some("unsupported_format"),
            message,
        ));
    }
    let seconds = decoded.seconds();
    if seconds < MINIMUM_SECONDS {
        let message = "Audio file is too short. Minimum audio length is 0.1 seconds.";
        return Err(Refusal::bad_request(Some("file"), Some("audio_too_short"), message));
    }
    if options.model.starts_with("gpt-4o") && seconds > GPT_4O_MAXIMUM_SECONDS {
        let message = format!(
            "audio duration {seconds:.6} seconds is longer than {GPT_4O_MAXIMUM_SECONDS} seconds which is the maximum for this model"
        );
        return Err(Refusal::bad_request(None, Some("invalid_value"), message));
    }
    let sentences = recognize(&fingerprint, tones.finish(), hallucinates)?;
    Ok(Transcribed {
        text: text(&sentences),
        response: options.response(&decoded, &sentences),
    })
}

/// The sentences of the clip or of the synthetic speech, with their times; none for silence.
fn recognize(fingerprint: &Fingerprint, tones: Recognized, hallucinates: bool) -> Result<Vec<Sentence>, Refusal> {
    if fingerprint.is_silence() || tones.tones {
        let mut sentences = sentences(&tones.words);
        if hallucinates {
            sentences.extend(tones.silences.iter().map(|(start, end)| Sentence {
                hallucinated: true,
                ..Sentence::spread(HALLUCINATION, *start, *end)
            }));
            sentences.sort_by(|one, other| one.start.total_cmp(&other.start));
        }
        return Ok(sentences);
    }
    let Some(known) = known_audio().find(|known| known.fingerprint.matches(fingerprint)) else {
        let message = "The stand-in Whisper knows only the words of the demo's own clips, and this is none of them. Set OPENAI_API_KEY \
                       (and WHISPER_BASE_URL for a compatible server) to transcribe other audio.";
        return Err(Refusal::bad_request(
            Some("file"),
            Some("standin_unknown_audio"),
            message,
        ));
    };
    let spans = fingerprint.sentences(known.sentences.len());
    Ok(std::iter::zip(&known.sentences, spans)
        .map(|(text, (start, end))| Sentence::spread(text, start, end))
        .collect())
}

/// A recording of a clip.
struct KnownAudio {
    fingerprint: Fingerprint,
    sentences: Vec<&'static str>,
}

impl KnownAudio {
    /// From one channel of a file, or from all channels mixed.
    fn new(file: &'static [u8], channel: Option<usize>, sentences: impl Iterator<Item = &'static str>) -> Self {
        let mut fingerprint = Fingerprint::default();
        audio::decode(Cursor::new(file), |rate, channels, samples| match channel {
            None => fingerprint.push(rate, channels, samples),
            Some(channel) => {
                let own: Vec<f32> = samples.iter().skip(channel).step_by(channels).copied().collect();
                fingerprint.push(rate, 1, &own);
            }
        })
        .expect("a committed clip can be decoded");
        Self {
            fingerprint,
            sentences: sentences.collect(),
        }
    }

    /// The whole clip, and each of its two speakers, who take turns, if they are on separate channels.
    fn of_clip(clip: &'static Clip) -> Vec<Self> {
        let speaker = |channel| {
            let turns = clip.sentences().skip(channel).step_by(2);
            clip.dual_mp3.map(|file| Self::new(file, Some(channel), turns))
        };
        let all = Self::new(clip.mp3, None, clip.sentences());
        [Some(all), speaker(0), speaker(1)].into_iter().flatten().collect()
    }
}

/// All recordings of all clips. A clip is decoded when it is first compared.
fn known_audio() -> impl Iterator<Item = &'static KnownAudio> {
    static KNOWN: [OnceLock<Vec<KnownAudio>>; CLIPS.len()] = [const { OnceLock::new() }; CLIPS.len()];
    std::iter::zip(&KNOWN, &CLIPS).flat_map(|(known, clip)| known.get_or_init(|| KnownAudio::of_clip(clip)))
}
