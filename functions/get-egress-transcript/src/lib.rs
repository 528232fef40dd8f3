//! `GET /recordings/{dispatch_id}/transcript`: the transcript of a LiveKit recording, or its state.

use lambda_http::{Body, Request, Response};
use shared::{
    clients::{aws::Aws, queue::RecordingId},
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
    },
    ids::DispatchId,
    transcript_api::{RecordingLabel, TranscriptQuery},
    transcription::SpeakerNames,
    transcripts::{TranscriptId, Transcripts},
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    transcripts: Transcripts,
    names: SpeakerNames,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let state = Self::new(env, &Aws::from_env(env)?)?;
        state.access.preload().await;
        Ok(state)
    }

    /// Reads the environment. Secrets are fetched by the first request.
    pub fn new(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            access: Access::for_recordings(env, aws)?,
            transcripts: Transcripts::from_env(env, aws)?,
            names: SpeakerNames::from_env(env),
        })
    }
}

/// Handles a request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        let id = request.segment_before("dispatch_id", "transcript")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        let query = TranscriptQuery::parse(&request.query)?;
        let recording = RecordingId::Egress(id.clone());
        let known = state
            .transcripts
            .get(&TranscriptId::new(&recording, &query.variant))
            .await?;
        let label = query.wants_json().then(|| RecordingLabel::egress(&id));
        query.answer(recording, known, label, &state.names, "POST to this path")
    })
    .await
}
