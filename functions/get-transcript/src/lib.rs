//! `GET /api/twilio/transcript/{recording_sid}`: a transcript, or how far it is.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    captions,
    config::{ConfigError, Env},
    http::{self, ApiError, Family, Reply, invalid_parameter},
    transcription::{Show, Timestamps, TranscriptBody, status_url},
    transcripts::{Known, Transcript, TranscriptId, Transcripts, Variant},
    twilio::{RecordingSid, Twilio, TwilioError},
    whisper::Segment,
};

/// What every request needs, made once.
pub struct State {
    access: Access,
    twilio: Twilio,
    transcripts: Transcripts,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            twilio: Twilio::from_env(env, &aws)?,
            transcripts: Transcripts::from_env(env, &aws)?,
        };
        tokio::join!(state.access.preload(), state.twilio.preload());
        Ok(state)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Completed(Box<TranscriptBody>),
    Pending {
        recording_sid: String,
        status: &'static str,
        status_url: String,
    },
    Failed {
        recording_sid: String,
        status: &'static str,
        error: String,
        code: String,
        retryable: bool,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Json,
    Text,
    Srt,
    Vtt,
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(Family::Twilio, request, |call| async move {
        state.access.check(&call, Scope::TwilioTranscribe).await?;
        let sid = RecordingSid::parse(&call.last_segment("recording_sid")?).ok_or_else(|| {
            ApiError::bad_request(
                "invalid_recording_sid",
                "recording_sid must be RE and 16 to 32 hexadecimal digits, like RE1234567890abcdef.",
            )
        })?;
        call.query.only(&["format", "timestamps", "variant"])?;
        let format = match call.query.get("format").unwrap_or("json") {
            "json" => Format::Json,
            "text" => Format::Text,
            "srt" => Format::Srt,
            "vtt" => Format::Vtt,
            other => return Err(invalid_parameter("format", other, "one of json, text, srt, vtt")),
        };
        let timestamps = match call.query.get("timestamps") {
            None => None,
            Some("segment") => Some(Timestamps::Segment),
            Some("word") => Some(Timestamps::Word),
            Some(other) => return Err(invalid_parameter("timestamps", other, "segment or word")),
        };
        let variant = call.query.get("variant").unwrap_or("default");
        let variant = Variant::parse(variant)
            .ok_or_else(|| invalid_parameter("variant", variant, "the one of the status_url that the POST was answered with"))?;

        let pending = |status| Answer::Pending {
            recording_sid: sid.to_string(),
            status,
            status_url: status_url(&sid, &variant),
        };
        let answer = match state.transcripts.get(&TranscriptId::twilio(&sid, &variant)).await? {
            Known::Completed(transcript) if format == Format::Json => {
                let account = state.twilio.account_sid().await.map_err(no_account)?;
                let show = Show { details: true, timestamps, cached: true };
                Answer::Completed(Box::new(TranscriptBody::new(&state.twilio, &account, &sid, *transcript, show)))
            }
            Known::Completed(transcript) => return Ok(rendered(*transcript, format)),
            Known::Queued => pending("queued"),
            Known::InProgress { .. } => pending("processing"),
            Known::Failed(failure) => Answer::Failed {
                recording_sid: sid.to_string(),
                status: "failed",
                error: format!("Transcription failed: {}", failure.message),
                code: failure.code,
                retryable: failure.retryable,
            },
            Known::Nothing => {
                return Err(ApiError::not_found(
                    "transcript_not_found",
                    "No transcript of this recording has been asked for. POST its recording_sid to /api/twilio/transcript/ first.",
                ));
            }
        };
        match answer {
            Answer::Pending { status, .. } | Answer::Failed { status, .. } if format != Format::Json => {
                let message = format!("The transcript is not there (status={status}); ask without format to see why.");
                Err(ApiError::new(StatusCode::CONFLICT, "transcript_not_ready", message))
            }
            answer => Ok(Reply::from((StatusCode::OK, answer))),
        }
    })
    .await
}

fn rendered(transcript: Transcript, format: Format) -> Reply {
    let mut speech = transcript.speech;
    if speech.segments.is_empty() && !speech.text.is_empty() {
        // The model gave no times: one caption for all of it.
        let known = transcript.recording_duration.map(|seconds| seconds as f64);
        let end = transcript.audio_seconds.or(known).unwrap_or_default();
        speech.segments.push(Segment {
            start: 0.0,
            end,
            text: speech.text.clone(),
        });
    }
    match format {
        Format::Json | Format::Text => Reply::text("text/plain; charset=utf-8", speech.text),
        Format::Srt => Reply::text("application/x-subrip; charset=utf-8", captions::srt(&speech.segments)),
        Format::Vtt => Reply::text("text/vtt; charset=utf-8", captions::vtt(&speech.segments)),
    }
}

fn no_account(error: TwilioError) -> ApiError {
    let answer = ApiError::internal(error.code(), error.sentence());
    let answer = if error.is_transient() {
        answer.retryable(error.retry_after())
    } else {
        answer
    };
    answer.caused_by(error)
}
