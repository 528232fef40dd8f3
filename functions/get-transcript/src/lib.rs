//! `GET /api/twilio/transcript/{recording_sid}`: a transcript, or how far it is.

use lambda_http::{Body, Request, Response};
use shared::{http::{access::{Access, Scope}, self, ApiError, ErrorFormat}, clients::{aws::Aws, queue::Source, twilio::{RecordingSid, Twilio, TwilioError}}, config::{ConfigError, Env}, transcription::{RecordingLabel, SpeakerNames, TranscriptQuery}, transcripts::{TranscriptState, Transcripts}};

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
    http::respond(ErrorFormat::Twilio, request, |call| async move {
        state.access.check(&call, Scope::TwilioTranscribe).await?;
        let sid = call.last_segment("recording_sid")?;
        let sid = RecordingSid::parse(&sid).ok_or_else(http::invalid_recording_sid)?;
        let query = TranscriptQuery::parse(&call.query)?;
        let source = Source::Twilio(sid.clone());
        let known = state.transcripts.get(&source.transcript_id(&query.variant)).await?;
        let named = match query.wants_json() && matches!(known, TranscriptState::Completed(_) | TranscriptState::Stale(_)) {
            true => {
                let account = state.twilio.account_sid().await.map_err(no_account)?;
                Some(RecordingLabel::twilio(&state.twilio, &account, &sid))
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
    let message = error.user_message();
    ApiError::from_twilio(error, message)
}
