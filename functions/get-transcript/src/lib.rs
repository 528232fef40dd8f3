//! `GET /api/twilio/transcript/{recording_sid}`: the transcript of a Twilio recording, or its state.

use lambda_http::{Body, Request, Response};
use shared::{
    clients::{
        aws::Aws,
        queue::RecordingId,
        twilio::{RecordingSid, Twilio, TwilioError},
    },
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat,
        access::{Access, Scope},
    },
    transcript_api::{RecordingLabel, TranscriptQuery},
    transcription::SpeakerNames,
    transcripts::{TranscriptId, TranscriptState, Transcripts},
};

/// The state that is created once and used for every request.
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

/// Handles a request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Twilio, request, |request| async move {
        state.access.check(&request, Scope::TwilioTranscribe).await?;
        let sid = request.last_segment("recording_sid")?;
        let sid = RecordingSid::parse(&sid).ok_or_else(http::invalid_recording_sid)?;
        let query = TranscriptQuery::parse(&request.query)?;
        let recording = RecordingId::Twilio(sid.clone());
        let known = state
            .transcripts
            .get(&TranscriptId::new(&recording, &query.variant))
            .await?;
        let label =
            match query.wants_json() && matches!(known, TranscriptState::Completed(_) | TranscriptState::Stale(_)) {
                true => {
                    let account = state.twilio.account_sid().await.map_err(no_account)?;
                    Some(RecordingLabel::twilio(&state.twilio, &account, &sid))
                }
                false => None,
            };
        query.answer(
            recording,
            known,
            label,
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
