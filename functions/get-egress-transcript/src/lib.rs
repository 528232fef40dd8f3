//! `GET /recordings/{dispatch_id}/transcript`: the transcript of a LiveKit recording, or its state.

use lambda_http::{Body, Request, Response};
#[cfg(feature = "openapi")]
use shared::transcript_api::{StoredTranscript, Timestamps};
use shared::{
    audit::{Action, Event},
    calls::{ResolveError, Resolver},
    clients::{aws::Aws, queue::RecordingId},
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
    },
    ids::DispatchId,
    transcript_api::{RecordingLabel, TranscriptQuery},
    transcription::{SpeakerNames, Vocabulary, first_transcript_state},
    transcripts::{AudioId, TranscriptState, Transcripts},
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    resolver: Option<Resolver>,
    transcripts: Transcripts,
    names: SpeakerNames,
    vocabulary: Vocabulary,
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
            vocabulary: Vocabulary::from_env(env)?,
        })
    }
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/recordings/{dispatch_id}/transcript",
        operation_id = "getRecordingTranscript",
        tag = "Transcripts",
        summary = "Get the transcript of a LiveKit recording",
        description = "The stored transcript of a LiveKit recording, or its state. It never costs anything. Scope: `recordings:read`.",
        params(
            ("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686"),
            ("format" = Option<String>, Query, description = "JSON, plain text or captions. With two channels each turn begins with its speaker.", pattern = "^(json|text|srt|vtt)$"),
            ("timestamps" = Option<Timestamps>, Query, description = "Adds `segments`, or `segments` and `words`, to the JSON."),
            ("include" = Option<String>, Query, description = "Adds to the JSON: `dropped`, the text that was left out because the model invented it, `waveform`, the waveform for a player, or both, separated by a comma.", pattern = "^(dropped|waveform)(,(dropped|waveform))?$"),
            ("variant" = Option<String>, Query, description = "The variant of the options that the transcript was requested with, as in `status_url`.", pattern = "^(default|[0-9a-f]{16})$", example = "default"),
        ),
        responses((status = 200, description = "The transcript or its state.", content(
            (StoredTranscript = "application/json"),
            (String = "text/plain"),
            (String = "application/x-subrip"),
            (String = "text/vtt"),
        ))),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "value", "stored_transcript", "database", "storage"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        let id = request.segment_before("dispatch_id", "transcript")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        let query = TranscriptQuery::parse(&request.query, &state.vocabulary)?;
        let recording = RecordingId::Egress(id.clone());
        let resolver = state.resolver.as_ref().ok_or_else(http::s3_missing)?;
        let event = Event::new(Action::ReadTranscript);
        let (known, event) = match resolver.find_version(&id, state.access.search(&request)).await {
            Ok(Some(found)) => {
                let known = first_transcript_state(resolver, &state.transcripts, &id, &found, query.variants()).await?;
                (known, http::about_recording(Action::ReadTranscript, &found, &id))
            }
            // What was transcribed at Twilio needs no copy.
            Err(ResolveError::NotCopied(missing)) => {
                let event = event.about(missing.sid.as_str()).of_call(id.as_str());
                let event = event.of_recording(Some(&missing.sid));
                let audio = AudioId::Twilio(missing.sid);
                (state.transcripts.first(&audio, query.variants()).await?, event)
            }
            found => (found.map(|_| TranscriptState::Absent)?, event),
        };
        let is_stored = known.stored().is_some();
        let label = query.wants_json().then(|| RecordingLabel::egress(&id));
        let reply = query.answer(recording, known, label, &state.names, "POST to this path")?;
        match is_stored {
            true => state.access.disclose(&request, event, reply).await,
            false => Ok(reply),
        }
    })
    .await
}
