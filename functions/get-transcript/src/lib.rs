//! `GET /api/twilio/transcript/{recording_sid}`: a transcript, or how far it is.

use lambda_http::{Body, Request, Response};
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    config::{ConfigError, Env},
    http::{self, ApiError, Family},
    queue::Source,
    transcription::{Named, SpeakerNames, TranscriptQuery},
    transcripts::{Known, Transcripts},
    twilio::{RecordingSid, Twilio, TwilioError},
};

/// What every request needs, made once.
pub struct State {
    access: Access,
    twilio: Twilio,
    transcripts: Transcripts,
    names: SpeakerNames,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            twilio: Twilio::from_env(env, &aws)?,
            transcripts: Transcripts::from_env(env, &aws)?,
            names: SpeakerNames::from_env(env),
        };
        tokio::join!(state.access.preload(), state.twilio.preload());
        Ok(state)
    }
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(Family::Twilio, request, |call| async move {
        state.access.check(&call, Scope::TwilioTranscribe).await?;
        let sid = call.last_segment("recording_sid")?;
        let sid = RecordingSid::parse(&sid).ok_or_else(http::invalid_recording_sid)?;
        let query = TranscriptQuery::parse(&call.query)?;
        let source = Source::Twilio(sid.clone());
        let known = state.transcripts.get(&source.transcript_id(&query.variant)).await?;
        let named = match query.wants_json() && matches!(known, Known::Completed(_) | Known::Lapsed(_)) {
            true => {
                let account = state.twilio.account_sid().await.map_err(no_account)?;
                Some(Named::twilio(&state.twilio, &account, &sid))
            }
            false => None,
        };
        query.answer(
            source,
            known,
            named,
            &state.names,
            "POST its recording_sid to /api/twilio/transcript/",
        )
    })
    .await
}

fn no_account(error: TwilioError) -> ApiError {
    let message = error.sentence();
    ApiError::from_twilio(error, message)
}
