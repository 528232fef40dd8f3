//! The responses of the transcript endpoints.

use jiff::Timestamp;
use lambda_http::http::StatusCode;
use serde::Serialize;

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
    transcripts::{Progress, Transcript, TranscriptState, Variant},
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
struct TranscriptBody {
    #[serde(flatten)]
    label: RecordingLabel,
    transcript: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_details: Option<RecordingDetails>,
    status: &'static str,
    timestamp: String,
    cached: bool,
    language: Option<String>,
    model: String,
    no_speech: bool,
    dropped_segments: usize,
    audio_seconds: Option<f64>,
    billed_seconds: u64,
    cost_usd: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    turns: Option<Vec<Spoken>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Vec<Spoken>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<Vec<SpokenWord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<Vec<DroppedText>>,
}

#[derive(Debug, Serialize)]
struct RecordingDetails {
    status: &'static str,
    duration: Option<u64>,
    date_created: Option<String>,
    call_sid: Option<String>,
}

#[derive(Debug, Serialize)]
struct Spoken {
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<String>,
    start: f64,
    end: f64,
    text: String,
}

#[derive(Debug, Serialize)]
struct DroppedText {
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<String>,
    start: f64,
    end: f64,
    text: String,
    reason: DropReason,
}

#[derive(Debug, Serialize)]
struct SpokenWord {
    #[serde(skip_serializing_if = "Option::is_none")]
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
            language: transcript.language,
            model: transcript.model,
            dropped_segments: transcript.dropped_segments,
            audio_seconds: transcript.audio_seconds,
            billed_seconds: transcript.billed_seconds,
            cost_usd: transcript.cost_usd,
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

/// The body of a response to `POST`.
#[derive(Serialize)]
#[serde(untagged)]
enum PostBody {
    Completed(Box<TranscriptBody>),
    Accepted {
        #[serde(flatten)]
        recording: RecordingId,
        status: &'static str,
        status_url: String,
        estimated_seconds: u64,
    },
    Estimated {
        #[serde(flatten)]
        recording: RecordingId,
        status: &'static str,
        #[serde(flatten)]
        estimate: Estimate,
        timestamp: String,
    },
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
    let (status, body) = match outcome {
        RequestOutcome::Completed(transcript, cached) => {
            let body = TranscriptBody::new(label, names, *transcript, cached, options);
            (StatusCode::OK, PostBody::Completed(Box::new(body)))
        }
        RequestOutcome::Accepted { estimated_seconds } => {
            let body = PostBody::Accepted {
                status: "processing",
                status_url: status_url(&recording, variant),
                estimated_seconds,
                recording,
            };
            (StatusCode::ACCEPTED, body)
        }
        RequestOutcome::Estimated(estimate) => {
            let body = PostBody::Estimated {
                recording,
                status: "estimate",
                estimate,
                timestamp: to_seconds(Timestamp::now()),
            };
            (StatusCode::OK, body)
        }
    };
    Reply::from((status, body))
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

#[derive(Serialize)]
#[serde(untagged)]
enum State {
    Completed(Box<TranscriptBody>),
    Pending {
        #[serde(flatten)]
        recording: RecordingId,
        status: &'static str,
        status_url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<Progress>,
    },
    Failed {
        #[serde(flatten)]
        recording: RecordingId,
        status: &'static str,
        error: String,
        code: String,
        retryable: bool,
    },
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
        let pending = |recording: RecordingId, status, progress| State::Pending {
            status_url: status_url(&recording, &self.variant),
            recording,
            status,
            progress,
        };
        let state = match known {
            TranscriptState::Completed(transcript) | TranscriptState::Stale(transcript) => {
                let Some(label) = label else {
                    return Ok(rendered(*transcript, self.format, names));
                };
                let options = ResponseOptions {
                    details: matches!(recording, RecordingId::Twilio(_)),
                    timestamps: self.timestamps,
                    dropped: self.include_dropped,
                };
                State::Completed(Box::new(TranscriptBody::new(label, names, *transcript, true, options)))
            }
            TranscriptState::Queued(progress) => pending(recording, "queued", progress),
            TranscriptState::InProgress { progress, .. } => pending(recording, "processing", progress),
            TranscriptState::Failed(failure) => State::Failed {
                recording,
                status: "failed",
                error: format!("Transcription failed: {}", failure.message),
                code: failure.code,
                retryable: failure.retryable,
            },
            TranscriptState::Absent => {
                return Err(ApiError::not_found(
                    "transcript_not_found",
                    format!("No transcript of this recording has been requested. {post_to} first."),
                ));
            }
        };
        match state {
            State::Pending { status, .. } | State::Failed { status, .. } if !self.wants_json() => {
                let message = format!(
                    "The transcript is not ready (status={status}); send the request without format for details."
                );
                Err(ApiError::new(StatusCode::CONFLICT, "transcript_not_ready", message))
            }
            state => Ok(Reply::from((StatusCode::OK, state))),
        }
    }
}

fn rendered(transcript: Transcript, format: Format, names: &SpeakerNames) -> Reply {
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
