//! The responses of the transcript endpoints.

use jiff::Timestamp;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

#[cfg(feature = "openapi")]
use super::contract;
use super::{
    captions,
    request::{Estimate, RequestOutcome, Timestamps},
};
use crate::{
    clients::{
        queue::RecordingId,
        twilio::{AccountSid, RecordingSid, Twilio},
        whisper::{DropReason, Dropped, Segment, Word},
    },
    http::{ApiError, Query, Reply, invalid_parameter},
    ids::DispatchId,
    time::to_seconds,
    transcription::{SpeakerNames, turns},
    transcripts::{Coverage, Progress, Transcript, TranscriptState, Variant},
};

/// The fields of a response that identify the recording.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RecordingLabel {
    /// A Twilio recording.
    Twilio {
        /// The recording's SID.
        recording_sid: String,
        /// The URL of its audio on the configured host.
        audio_url: String,
    },
    /// A LiveKit recording.
    Egress {
        /// The dispatch id.
        dispatch_id: String,
    },
}

impl RecordingLabel {
    /// The label of a Twilio recording.
    pub fn twilio(twilio: &Twilio, account: &AccountSid, sid: &RecordingSid) -> Self {
        Self::Twilio {
            recording_sid: sid.to_string(),
            audio_url: twilio.media_url(account, sid.as_str()),
        }
    }

    /// The label of a dispatch's recording.
    pub fn egress(id: &DispatchId) -> Self {
        Self::Egress {
            dispatch_id: id.to_string(),
        }
    }
}

/// The body with a completed transcript and its price.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Transcript))]
pub struct TranscriptBody {
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = contract::Label))]
    label: RecordingLabel,
    transcript: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    recording_details: Option<RecordingDetails>,
    #[cfg_attr(feature = "openapi", schema(schema_with = contract::completed))]
    status: &'static str,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    timestamp: String,
    cached: bool,
    /// Whether it is being replaced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refreshing: bool,
    language: Option<String>,
    model: String,
    no_speech: bool,
    dropped_segments: usize,
    audio_seconds: Option<f64>,
    billed_seconds: u64,
    cost_usd: f64,
    /// True if more than 2 % of the recording is missing: what is missing is in no other field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    incomplete: Option<bool>,
    /// With `incomplete`, how much of the recording was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    coverage: Option<Coverage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    turns: Option<Vec<Spoken>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    segments: Option<Vec<Spoken>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    words: Option<Vec<SpokenWord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    dropped: Option<Vec<DroppedText>>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct RecordingDetails {
    #[cfg_attr(feature = "openapi", schema(schema_with = contract::completed))]
    status: &'static str,
    duration: Option<u64>,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    date_created: Option<String>,
    call_sid: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct Spoken {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    speaker: Option<String>,
    start: f64,
    end: f64,
    text: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct DroppedText {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    speaker: Option<String>,
    start: f64,
    end: f64,
    text: String,
    reason: DropReason,
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct SpokenWord {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    speaker: Option<String>,
    start: f64,
    end: f64,
    word: String,
}

/// The optional parts of a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseOptions {
    /// `recording_details`, which are included if the request named the recording by SID.
    pub details: bool,
    /// `segments` and `words`.
    pub timestamps: Option<Timestamps>,
    /// `refreshing`: the transcript is being replaced.
    pub refreshing: bool,
    /// `dropped`: what was left out because the model made it up.
    pub dropped: bool,
}

impl TranscriptBody {
    /// The body for a transcript.
    fn new(
        label: RecordingLabel,
        names: &SpeakerNames,
        transcript: Transcript,
        cached: bool,
        options: ResponseOptions,
    ) -> Self {
        let recording_details = RecordingDetails {
            status: "completed",
            duration: transcript.recording_duration,
            date_created: transcript.recording_created.map(to_seconds),
            call_sid: transcript.call_sid,
        };
        let speaker = |channel: Option<u8>| channel.map(|channel| names.of(channel));
        let spoken = |segment: Segment| Spoken {
            speaker: speaker(segment.channel),
            start: segment.start,
            end: segment.end,
            text: segment.text,
        };
        let spoken_word = |word: Word| SpokenWord {
            speaker: speaker(word.channel),
            start: word.start,
            end: word.end,
            word: word.word,
        };
        let shortfall = transcript.coverage.filter(Coverage::is_incomplete);
        let dropped_text = |dropped: Dropped| DroppedText {
            speaker: speaker(dropped.channel),
            start: dropped.start,
            end: dropped.end,
            text: dropped.text,
            reason: dropped.reason,
        };
        let speech = transcript.speech;
        let turns = (transcript.speakers > 0).then(|| turns(&speech.segments).into_iter().map(spoken).collect());
        let words = options.timestamps.filter(|shown| *shown == Timestamps::Word);
        Self {
            label,
            no_speech: speech.text.is_empty(),
            transcript: speech.text,
            recording_details: options.details.then_some(recording_details),
            status: "completed",
            timestamp: to_seconds(transcript.completed_at),
            cached,
            refreshing: options.refreshing,
            language: transcript.language,
            model: transcript.model,
            dropped_segments: transcript.dropped_segments,
            audio_seconds: transcript.audio_seconds,
            billed_seconds: transcript.billed_seconds,
            cost_usd: transcript.cost_usd,
            incomplete: shortfall.map(|_| true),
            coverage: shortfall,
            turns,
            segments: options
                .timestamps
                .map(|_| speech.segments.into_iter().map(spoken).collect()),
            words: words.map(|_| speech.words.into_iter().map(spoken_word).collect()),
            dropped: options
                .dropped
                .then(|| speech.dropped.into_iter().map(dropped_text).collect()),
        }
    }
}

/// The body of a response to `POST` with the status 200.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum TranscriptOrEstimate {
    /// The transcript.
    Transcript(Box<TranscriptBody>),
    /// With `dry_run`, what it would cost.
    Estimate(EstimateBody),
}

/// The body of a response with the status 202.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TranscriptAccepted))]
pub struct AcceptedBody {
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = contract::Recording))]
    recording: RecordingId,
    #[cfg_attr(feature = "openapi", schema(schema_with = contract::processing))]
    status: &'static str,
    /// Path and query of the transcript's state, below the base URL.
    #[cfg_attr(feature = "openapi", schema(format = "uri-reference"))]
    status_url: String,
    /// Seconds until the transcript is ready, approximately.
    estimated_seconds: u64,
}

/// The price of a transcript. Nothing was done.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TranscriptEstimate))]
pub struct EstimateBody {
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = contract::Recording))]
    recording: RecordingId,
    #[cfg_attr(feature = "openapi", schema(schema_with = contract::estimate))]
    status: &'static str,
    #[serde(flatten)]
    estimate: Estimate,
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    timestamp: String,
}

/// The response to a `POST` for a transcript: 200 with the transcript or an estimate, or 202 with the URL of its state.
pub fn post_reply(
    recording: RecordingId,
    label: RecordingLabel,
    variant: &Variant,
    outcome: RequestOutcome,
    names: &SpeakerNames,
    options: ResponseOptions,
) -> Reply {
    match outcome {
        RequestOutcome::Completed(transcript, cached) => {
            let body = TranscriptBody::new(label, names, *transcript, cached, options);
            Reply::from((StatusCode::OK, TranscriptOrEstimate::Transcript(Box::new(body))))
        }
        RequestOutcome::Accepted { estimated_seconds } => {
            let body = AcceptedBody {
                status: "processing",
                status_url: status_url(&recording, variant),
                estimated_seconds,
                recording,
            };
            Reply::from((StatusCode::ACCEPTED, body))
        }
        RequestOutcome::Estimated(estimate) => {
            let body = EstimateBody {
                recording,
                status: "estimate",
                estimate,
                timestamp: to_seconds(Timestamp::now()),
            };
            Reply::from((StatusCode::OK, TranscriptOrEstimate::Estimate(body)))
        }
    }
}

/// The URL of a transcript's state, relative to the API's base URL.
fn status_url(recording: &RecordingId, variant: &Variant) -> String {
    let url = match recording {
        RecordingId::Twilio(sid) => format!("/api/twilio/transcript/{sid}"),
        RecordingId::Egress(id) => format!("/recordings/{id}/transcript"),
    };
    match variant.as_str() {
        "default" => url,
        variant => format!("{url}?variant={variant}"),
    }
}

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
    include_dropped: bool,
    /// The variant of the options that the transcript was requested with.
    pub variant: Variant,
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
    pub fn parse(query: &Query) -> Result<Self, ApiError> {
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
        let include_dropped = match query.get("include") {
            None => false,
            Some("dropped") => true,
            Some(other) => return Err(invalid_parameter("include", other, "dropped")),
        };
        let variant = query.get("variant").unwrap_or("default");
        let accepted = "the variant in the status_url of the POST's response";
        let variant = Variant::parse(variant).ok_or_else(|| invalid_parameter("variant", variant, accepted))?;
        Ok(Self {
            format,
            timestamps,
            include_dropped,
            variant,
        })
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
                status_url: status_url(&recording, &self.variant),
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
                    dropped: self.include_dropped,
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
        });
    }
    match format {
        Format::Json | Format::Text if transcript.speakers > 0 => {
            let line = |turn: &Segment| match turn.channel {
                Some(channel) => format!("{}: {}\n", names.of(channel), turn.text),
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
