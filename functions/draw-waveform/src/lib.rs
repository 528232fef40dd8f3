//! `POST /recordings/{dispatch_id}/waveform`: the waveform of a recording without a transcript, so that no browser has to decode it.

use lambda_http::{Body, Request, Response, http::StatusCode};
#[cfg(feature = "openapi")]
use shared::transcripts::Peaks;
use shared::{
    audit::Action,
    calls::{CallRecording, Resolver},
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat,
        access::{Access, Scope},
        recording_not_found,
    },
    ids::DispatchId,
    transcription::{OVERWRITTEN, RecordingSource, waveform},
    transcripts::{Failure, INTERRUPTED, Transcripts},
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    resolver: Option<Resolver>,
    transcripts: Transcripts,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            // RECORDINGS_AUTH can make reading open to everyone, but decoding costs time and is stored.
            access: Access::required(env, &aws)?,
            resolver: Resolver::from_env(env, &aws)?,
            transcripts: Transcripts::from_env(env, &aws)?,
        };
        state.access.preload().await;
        Ok(state)
    }
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/recordings/{dispatch_id}/waveform",
        operation_id = "drawWaveform",
        tag = "Recordings",
        summary = "Draw the waveform of a recording",
        description = "The outline of the recording's sound, for a player. It is decoded once and stored. A transcript has it, too (`include=waveform`). Always needs a key. Scope: `recordings:read`.",
        params(("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686")),
        responses((status = 200, description = "The waveform.", body = Peaks)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "storage", "archived", "not_archived", "database", "waveform"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        let id = request.segment_before("dispatch_id", "waveform")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&[])?;
        let resolver = state.resolver.as_ref().ok_or_else(http::s3_missing)?;
        let draw = async |found: &CallRecording| {
            let source = RecordingSource::egress(&resolver.bucket, found);
            waveform(&state.transcripts, &source, request.deadline).await
        };
        let found = resolver.find_version(&id, state.access.search(&request)).await?;
        let found = found.ok_or_else(recording_not_found)?;
        let mut found = http::readable(found)?;
        let mut drawn = draw(&found).await;
        if drawn.as_ref().is_err_and(|failure| failure.code == OVERWRITTEN) {
            let now = resolver.find_overwritten(&id, &found.recording).await?;
            found = now.ok_or_else(recording_not_found)?;
            drawn = draw(&found).await;
        }
        let event = http::about_recording(Action::DrawWaveform, &found, &id);
        let reply = (StatusCode::OK, drawn.map_err(not_drawn)?);
        state.access.disclose(&request, event, reply).await
    })
    .await
}

fn not_drawn(failure: Failure) -> ApiError {
    let message = format!("{}.", failure.message);
    match &*failure.code {
        "recording_not_found" => recording_not_found(),
        INTERRUPTED | "audio_too_large" => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "recording_too_long",
            "The recording can't be decoded within one request. Transcribe it: its transcript has its waveform.",
        ),
        "media_not_audio" | "media_empty" | "audio_unsupported" => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, failure.code, message)
        }
        _ if failure.retryable => ApiError::unavailable(failure.code, message),
        _ => ApiError::internal(failure.code, message),
    }
}
