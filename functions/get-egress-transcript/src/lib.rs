//! `GET /recordings/{dispatch_id}/transcript`: the transcript of a call over LiveKit, or how far it is.

use lambda_http::{Body, Request, Response};
use shared::{http::{access::{Access, Scope}, self, ErrorFormat}, clients::{aws::Aws, queue::Source}, config::{ConfigError, Env}, ids::DispatchId, transcription::{RecordingLabel, SpeakerNames, TranscriptQuery}, transcripts::Transcripts};

/// What every request needs, made once.
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

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |call| async move {
        state.access.check(&call, Scope::RecordingsRead).await?;
        let id = call.segment_before("dispatch_id", "transcript")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        let query = TranscriptQuery::parse(&call.query)?;
        let source = Source::Egress(id.clone());
        let known = state.transcripts.get(&source.transcript_id(&query.variant)).await?;
        let named = query.wants_json().then(|| RecordingLabel::egress(&id));
        query.answer(source, known, named, &state.names, "POST to this path")
    })
    .await
}
