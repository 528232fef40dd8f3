//! The response to a `GET` for a stored transcript, in every format, or for its state.

use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

#[cfg(feature = "openapi")]
use super::contract;
use super::{
    captions,
    options::Timestamps,
    response::{RecordingLabel, ResponseOptions, TranscriptBody, status_url},
};
use crate::{
    clients::{
        queue::RecordingId,
        whisper::{Segment, WhisperOptions},
    },
    http::{ApiError, Query, Reply, invalid_parameter},
    transcription::{SpeakerNames, Vocabulary, turns},
    transcripts::{Coverage, Progress, Transcript, TranscriptState, Variant},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Json,
    Text,
    Srt,
    Vtt,
}

/// The query parameters of a `GET` for a transcript.
#[derive(Debug)]
pub struct TranscriptQuery {
    format: Format,
    timestamps: Option<Timestamps>,
    include: Included,
    /// The requested variant; `default`, which URLs omit, if there is none.
    requested: Variant,
    variants: Vec<Variant>,
}

/// What `include` adds to the JSON.
#[derive(Debug, Default)]
struct Included {
    dropped: bool,
    waveform: bool,
}

impl Included {
    fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let mut included = Self::default();
        for name in text.into_iter().flat_map(|text| text.split(',')) {
            match name {
                "dropped" => included.dropped = true,
                "waveform" => included.waveform = true,
                other => {
                    let accepted = "dropped, waveform, or both separated by a comma";
                    return Err(invalid_parameter("include", other, accepted));
                }
            }
        }
        Ok(included)
    }
}

/// The answer to a `GET`: a transcript or its state.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum StoredTranscript {
    /// The transcript.
    Completed(Box<TranscriptBody>),
    /// It is not ready.
    Pending(PendingBody),
    /// The last attempt failed.
    Failed(FailedBody),
}

/// A transcript that is not ready.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TranscriptPending))]
pub struct PendingBody {
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = contract::Recording))]
    recording: RecordingId,
    #[cfg_attr(feature = "openapi", schema(schema_with = contract::pending))]
    status: &'static str,
    /// Path and query of this state, below the base URL.
    #[cfg_attr(feature = "openapi", schema(format = "uri-reference"))]
    status_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    progress: Option<Progress>,
}

/// A transcription that failed.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TranscriptFailed))]
pub struct FailedBody {
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = contract::Recording))]
    recording: RecordingId,
    #[cfg_attr(feature = "openapi", schema(schema_with = contract::failed))]
    status: &'static str,
    /// The reason, as a sentence.
    error: String,
    /// The reason, as a stable code for programs.
    code: String,
    /// Whether another `POST` may succeed.
    retryable: bool,
}

impl TranscriptQuery {
    /// Parses `format`, `timestamps`, `include` and `variant`.
    pub fn parse(query: &Query, vocabulary: &Vocabulary) -> Result<Self, ApiError> {
        query.only(&["format", "timestamps", "include", "variant"])?;
        let format = match query.get("format").unwrap_or("json") {
            "json" => Format::Json,
            "text" => Format::Text,
            "srt" => Format::Srt,
            "vtt" => Format::Vtt,
            other => return Err(invalid_parameter("format", other, "one of json, text, srt, vtt")),
        };
        let timestamps = match query.get("timestamps") {
            None => None,
            Some("segment") => Some(Timestamps::Segment),
            Some("word") => Some(Timestamps::Word),
            Some(other) => return Err(invalid_parameter("timestamps", other, "segment or word")),
        };
        let include = Included::parse(query.get("include"))?;
        let accepted = "the variant in the status_url of the POST's response";
        let variant = query.get("variant");
        let parsed =
            variant.map(|text| Variant::parse(text).ok_or_else(|| invalid_parameter("variant", text, accepted)));
        let (requested, variants) = match parsed.transpose()? {
            None => (Variant::of(&WhisperOptions::default()), vocabulary.default_variants()),
            Some(variant) => (variant.clone(), vec![variant]),
        };
        Ok(Self {
            format,
            timestamps,
            include,
            requested,
            variants,
        })
    }

    /// The requested variant, or those that answer a request without one; the first that is not absent counts.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// Whether JSON is requested.
    pub fn wants_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The response for the state of a transcript. `label` is needed for the JSON body of a completed transcript; `post_to` tells the caller how
    /// to request a transcript.
    pub fn answer(
        &self,
        recording: RecordingId,
        known: TranscriptState,
        label: Option<RecordingLabel>,
        names: &SpeakerNames,
        post_to: &str,
    ) -> Result<Reply, ApiError> {
        let pending = |recording: RecordingId, status, progress| {
            StoredTranscript::Pending(PendingBody {
                status_url: status_url(&recording, &self.requested),
                recording,
                status,
                progress,
            })
        };
        let refreshing = matches!(
            known,
            TranscriptState::InProgress { .. } | TranscriptState::Queued { .. }
        );
        let state = match known {
            TranscriptState::Completed(transcript)
            | TranscriptState::Stale(transcript)
            | TranscriptState::InProgress {
                earlier: Some(transcript),
                ..
            }
            | TranscriptState::Queued {
                earlier: Some(transcript),
                ..
            } => {
                let Some(label) = label else {
                    return Ok(rendered(*transcript, self.format, names));
                };
                let options = ResponseOptions {
                    details: matches!(recording, RecordingId::Twilio(_)),
                    timestamps: self.timestamps,
                    refreshing,
                    dropped: self.include.dropped,
                    waveform: self.include.waveform,
                };
                StoredTranscript::Completed(Box::new(TranscriptBody::new(label, names, *transcript, true, options)))
            }
            TranscriptState::Queued { progress, .. } => pending(recording, "queued", progress),
            TranscriptState::InProgress { progress, .. } => pending(recording, "processing", progress),
            TranscriptState::Failed(failure) => StoredTranscript::Failed(FailedBody {
                recording,
                status: "failed",
                error: format!("Transcription failed: {}", failure.message),
                code: failure.code,
                retryable: failure.retryable,
            }),
            TranscriptState::Absent => {
                return Err(ApiError::not_found(
                    "transcript_not_found",
                    format!("No transcript of this recording has been requested. {post_to} first."),
                ));
            }
        };
        match state {
            StoredTranscript::Pending(PendingBody { status, .. })
            | StoredTranscript::Failed(FailedBody { status, .. })
                if !self.wants_json() =>
            {
                let message = format!(
                    "The transcript is not ready (status={status}); send the request without format for details."
                );
                Err(ApiError::new(StatusCode::CONFLICT, "transcript_not_ready", message))
            }
            state => Ok(Reply::from((StatusCode::OK, state))),
        }
    }
}

/// Formats without fields of their own say it in a header.
const COVERAGE: HeaderName = HeaderName::from_static("x-transcript-coverage");

fn rendered(transcript: Transcript, format: Format, names: &SpeakerNames) -> Reply {
    let shortfall = transcript.coverage.filter(Coverage::is_incomplete);
    let reply = text_reply(transcript, format, names);
    let value = shortfall.and_then(|coverage| {
        let expected = coverage.expected_seconds.unwrap_or_default();
        let value = format!(
            "incomplete; decoded_seconds={}; expected_seconds={expected}",
            coverage.decoded_seconds
        );
        HeaderValue::try_from(value).ok()
    });
    match value {
        Some(value) => reply.header(COVERAGE, value),
        None => reply,
    }
}

fn text_reply(transcript: Transcript, format: Format, names: &SpeakerNames) -> Reply {
    let mut speech = transcript.speech;
    if speech.segments.is_empty() && !speech.text.is_empty() {
        // Without timestamps from the model, the whole text becomes one caption.
        let known = transcript.recording_duration.map(|seconds| seconds as f64);
        speech.segments.push(Segment {
            start: 0.0,
            end: transcript.audio_seconds.or(known).unwrap_or_default(),
            text: speech.text.clone(),
            channel: None,
            speaker: None,
            unsure: false,
        });
    }
    match format {
        Format::Json | Format::Text if transcript.speakers > 0 => {
            let line = |turn: &Segment| match names.of_segment(turn) {
                Some(name) => format!("{name}: {}\n", turn.text),
                None => format!("{}\n", turn.text),
            };
            let lines = turns(&speech.segments).iter().map(line).collect();
            Reply::text("text/plain; charset=utf-8", lines)
        }
        Format::Json | Format::Text => Reply::text("text/plain; charset=utf-8", speech.text),
        Format::Srt => Reply::text(
            "application/x-subrip; charset=utf-8",
            captions::srt(&speech.segments, names),
        ),
        Format::Vtt => Reply::text("text/vtt; charset=utf-8", captions::vtt(&speech.segments, names)),
    }
}
