//! `GET /api/twilio/transcript/{recording_sid}`: a transcript, or how far it is.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    config::{ConfigError, Env},
    http::{self, ApiError, Family},
    transcription::{TranscriptBody, status_url},
    transcripts::{Known, TranscriptId, Transcripts},
    twilio::{RecordingSid, Twilio, TwilioError},
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
    Completed(TranscriptBody),
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
        call.query.only(&[])?;
        let recording_sid = sid.to_string();
        let pending = |status| Answer::Pending { recording_sid: sid.to_string(), status, status_url: status_url(&sid) };
        let answer = match state.transcripts.get(&TranscriptId::twilio(&sid)).await? {
            Known::Completed(transcript) => {
                let account = state.twilio.account_sid().await.map_err(no_account)?;
                Answer::Completed(TranscriptBody::new(&state.twilio, &account, &sid, *transcript, true, true))
            }
            Known::Queued => pending("queued"),
            Known::InProgress { .. } => pending("processing"),
            Known::Failed(failure) => Answer::Failed {
                recording_sid,
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
        Ok((StatusCode::OK, answer))
    })
    .await
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
