//! `GET /recordings/{dispatch_id}/transcript`: the transcript of a call over LiveKit, or how far it is.

use lambda_http::{Body, Request, Response};
use shared::{
    calls::Resolver,
    clients::{aws::Aws, queue::RecordingId},
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
    },
    ids::DispatchId,
    transcript_api::{RecordingLabel, TranscriptQuery},
    transcription::{SpeakerNames, transcript_state},
    transcripts::{TranscriptState, Transcripts},
};

/// What every request needs, made once.
pub struct State {
    access: Access,
    resolver: Option<Resolver>,
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
            resolver: Resolver::from_env(env, aws)?,
            transcripts: Transcripts::from_env(env, aws)?,
            names: SpeakerNames::from_env(env),
        })
    }
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        let id = request.segment_before("dispatch_id", "transcript")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        let query = TranscriptQuery::parse(&request.query)?;
        let recording = RecordingId::Egress(id.clone());
        let resolver = state.resolver.as_ref().ok_or_else(http::s3_missing)?;
        let known = match resolver.find_version(&id).await? {
            Some(found) => transcript_state(resolver, &state.transcripts, &id, &found, &query.variant).await?,
            None => TranscriptState::Absent,
        };
        let label = query.wants_json().then(|| RecordingLabel::egress(&id));
        query.answer(recording, known, label, &state.names, "POST to this path")
    })
    .await
}
