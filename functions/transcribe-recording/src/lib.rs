//! `POST /api/twilio/transcript/`: the words of one Twilio recording.

mod audio;

use std::time::Duration;

use audio::TranscribeError;
use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    config::{ConfigError, Env},
    http::{self, ApiError, Call, Family},
    retry::{backoff, with_retries},
    time::to_seconds,
    transcripts::{Claim, Known, Transcript, TranscriptId, Transcripts},
    twilio::{AccountSid, Recording, RecordingSid, StatusGroup, Twilio, TwilioError},
    whisper::Whisper,
};
use tokio::time::Instant;

/// Tries for one request, the first included.
const ATTEMPTS: u32 = 3;
/// A lease outlives its request by this, so that nobody takes over while the result is being written.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// What every request needs, made once.
pub struct State {
    access: Access,
    twilio: Twilio,
    whisper: Whisper,
    transcripts: Transcripts,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            twilio: Twilio::from_env(env, &aws)?,
            whisper: Whisper::from_env(env, &aws)?,
            transcripts: Transcripts::from_env(env, &aws)?,
        };
        tokio::join!(state.access.preload(), state.twilio.preload(), state.whisper.preload());
        Ok(state)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    recording_sid: Option<String>,
    audio_url: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    recording_sid: String,
    audio_url: String,
    transcript: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_details: Option<RecordingDetails>,
    status: &'static str,
    timestamp: String,
    cached: bool,
}

#[derive(Serialize)]
struct RecordingDetails {
    status: &'static str,
    duration: Option<u64>,
    date_created: Option<String>,
    call_sid: Option<String>,
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(Family::Twilio, request, |call| async move {
        state.access.check(&call, Scope::TwilioTranscribe).await?;
        call.expect_tail("transcript")?;
        call.query.only(&[])?;
        let wanted: Wanted = call.json()?;
        let by_sid = wanted.recording_sid.as_deref().is_some_and(|text| !text.is_empty());
        let account = state.twilio.account_sid().await.map_err(not_fetched)?;
        let sid = wanted.recording(&state.twilio, &account)?;
        let (transcript, cached) = transcript(state, &call, &sid).await?;
        let details = RecordingDetails {
            status: "completed",
            duration: transcript.recording_duration,
            date_created: transcript.recording_created.map(to_seconds),
            call_sid: transcript.call_sid,
        };
        let answer = Answer {
            recording_sid: sid.to_string(),
            audio_url: state.twilio.media_url(&account, sid.as_str()),
            transcript: transcript.text,
            recording_details: by_sid.then_some(details),
            status: "completed",
            timestamp: to_seconds(transcript.completed_at),
            cached,
        };
        Ok((StatusCode::OK, answer))
    })
    .await
}

impl Wanted {
    /// The one recording that is named, by SID, by address, or by both.
    fn recording(&self, twilio: &Twilio, account: &AccountSid) -> Result<RecordingSid, ApiError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let by_sid = given(&self.recording_sid)
            .map(|text| {
                RecordingSid::parse(&text).ok_or_else(|| {
                    ApiError::bad_request(
                        "invalid_recording_sid",
                        "recording_sid must be RE and 16 to 32 hexadecimal digits, like RE1234567890abcdef.",
                    )
                })
            })
            .transpose()?;
        let by_url = given(&self.audio_url)
            .map(|text| {
                twilio.recording_at(&text, account).map_err(|problem| {
                    let like = twilio.media_url(account, "RE1234567890abcdef");
                    ApiError::bad_request(
                        "invalid_audio_url",
                        format!("audio_url must be the address of a recording of the configured Twilio account, like {like}; {problem}."),
                    )
                })
            })
            .transpose()?;
        match (by_sid, by_url) {
            (None, None) => Err(ApiError::bad_request(
                "missing_parameter",
                "Either recording_sid or audio_url is required",
            )),
            (Some(sid), Some(other)) if sid != other => Err(ApiError::bad_request(
                "conflicting_parameters",
                "recording_sid and audio_url name different recordings; give one of them.",
            )),
            (Some(sid), _) | (None, Some(sid)) => Ok(sid),
        }
    }
}

/// The stored transcript (`true`: cached), or a new one, made by whoever holds the lease.
async fn transcript(state: &State, call: &Call, sid: &RecordingSid) -> Result<(Transcript, bool), ApiError> {
    let id = TranscriptId::twilio(sid);
    if let Known::Completed(transcript) = state.transcripts.get(&id).await? {
        return Ok((*transcript, true));
    }
    let recording = state.twilio.recording(sid, call.deadline).await.map_err(not_fetched)?;
    check_transcribable(&recording, &state.twilio)?;
    let mut waits = 0;
    loop {
        let lease_end = Timestamp::now() + call.deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
        match state.transcripts.claim(&id, lease_end).await? {
            Claim::Granted(lease) => {
                let result = with_retries(ATTEMPTS, call.deadline, || {
                    audio::transcribe(&state.twilio, &state.whisper, sid, call.deadline)
                })
                .await;
                let heard = match result {
                    Ok(heard) => heard,
                    Err(error) => {
                        if let Err(error) = state.transcripts.release(&lease).await {
                            tracing::warn!(%error, "lease not given back; it ends by itself");
                        }
                        return Err(not_transcribed(error));
                    }
                };
                let transcript = Transcript {
                    text: heard.text,
                    language: heard.language,
                    audio_seconds: heard.duration,
                    model: state.whisper.model().to_owned(),
                    completed_at: Timestamp::now(),
                    recording_duration: recording.duration,
                    recording_created: recording.date_created,
                    call_sid: recording.call_sid,
                };
                match state.transcripts.complete(&lease, &transcript).await {
                    Ok(true) => {}
                    Ok(false) => tracing::warn!("the lease was lost; another transcript of this recording is stored"),
                    // It is paid for: the caller gets it, though the next one will pay again.
                    Err(error) => tracing::error!(%error, "transcript not stored"),
                }
                return Ok((transcript, false));
            }
            Claim::Refused(Known::Completed(transcript)) => return Ok((*transcript, true)),
            Claim::Refused(Known::Nothing | Known::InProgress { .. }) => {
                waits += 1;
                let pause = backoff(waits);
                if Instant::now() + pause >= call.deadline {
                    return Err(failed(
                        "transcription_in_progress",
                        "This recording is being transcribed for another request",
                    )
                    .retryable(Some(Duration::from_secs(10))));
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn check_transcribable(recording: &Recording, twilio: &Twilio) -> Result<(), ApiError> {
    let status = recording.status.as_str();
    let group = StatusGroup::of(status);
    if group != StatusGroup::Completed {
        let error = failed(
            "recording_not_completed",
            &format!("Recording not completed (status={status})"),
        );
        return Err(if group == StatusGroup::InProgress {
            error.retryable(None)
        } else {
            error
        });
    }
    if recording.encryption_details.is_some() {
        return Err(failed(
            "recording_encrypted",
            "The recording is encrypted with a key that only its owner has",
        ));
    }
    if recording.external_media(twilio).is_some() {
        return Err(failed(
            "recording_stored_externally",
            "Twilio does not have the audio; the recording is in external storage",
        ));
    }
    Ok(())
}

/// The documented 500 for everything that keeps a recording from being transcribed.
fn failed(code: &'static str, what: &str) -> ApiError {
    ApiError::internal(code, "Unexpected error occurred").details(format!("Transcription failed: {what}"))
}

fn not_fetched(error: TwilioError) -> ApiError {
    let message = format!("Failed to fetch recording details: {}", error.sentence());
    let answer = match error {
        TwilioError::NotFound => ApiError::not_found(error.code(), message),
        _ => ApiError::internal(error.code(), message),
    };
    let answer = if error.is_transient() {
        answer.retryable(error.retry_after())
    } else {
        answer
    };
    answer.caused_by(error)
}

fn not_transcribed(error: TranscribeError) -> ApiError {
    let answer = failed(error.code(), error.sentence());
    let answer = if error.is_transient() {
        answer.retryable(error.retry_after())
    } else {
        answer
    };
    answer.caused_by(error)
}
