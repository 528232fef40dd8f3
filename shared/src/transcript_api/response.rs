//! The body of a transcript, and the response to a `POST` for one.

use jiff::Timestamp;
use lambda_http::http::StatusCode;
use serde::Serialize;

#[cfg(feature = "openapi")]
use super::contract;
use super::{
    options::Timestamps,
    request::{Estimate, RequestOutcome},
};
use crate::{
    clients::{
        queue::RecordingId,
        twilio::{AccountSid, RecordingSid, Twilio},
        whisper::{DropReason, Dropped, Segment, Word},
    },
    http::Reply,
    ids::DispatchId,
    time::to_seconds,
    transcription::{SpeakerNames, turns},
    transcripts::{Coverage, Peaks, Transcript, Variant},
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
    /// With `include=waveform`, the waveform for a player, if the recording was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    waveform: Option<Peaks>,
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
    /// In `segments`: the model was unsure of this text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unsure: bool,
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
    /// `waveform`: the outline of the recording's sound.
    pub waveform: bool,
}

impl TranscriptBody {
    /// The body for a transcript.
    pub(super) fn new(
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
            speaker: names.of_segment(&segment),
            start: segment.start,
            end: segment.end,
            text: segment.text,
            unsure: segment.unsure,
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
            waveform: transcript.peaks.filter(|_| options.waveform),
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
pub(super) fn status_url(recording: &RecordingId, variant: &Variant) -> String {
    let url = match recording {
        RecordingId::Twilio(sid) => format!("/api/twilio/transcript/{sid}"),
        RecordingId::Egress(id) => format!("/recordings/{id}/transcript"),
    };
    match variant.as_str() {
        "default" => url,
        variant => format!("{url}?variant={variant}"),
    }
}
