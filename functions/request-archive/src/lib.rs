//! `POST /recordings/{dispatch_id}/archive`: copies a Twilio recording into the bucket now.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    archive::CopyQueue,
    audit::{Action, Event},
    calls::{ResolveError, Resolver},
    clients::{aws::Aws, twilio::RecordingSid},
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat, Reply,
        access::{Access, Scope},
        recording_not_found,
    },
    ids::DispatchId,
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    resolver: Option<Resolver>,
    queue: CopyQueue,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            resolver: Resolver::from_env(env, &aws)?,
            queue: CopyQueue::from_env(env, &aws)?,
        };
        state.access.preload().await;
        Ok(state)
    }
}

/// Whether the bucket has the recording.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct ArchiveState {
    /// The Twilio recording; absent if the call has a LiveKit recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, value_type = Option<String>))]
    recording_sid: Option<RecordingSid>,
    /// Whether the bucket has the recording.
    archived: bool,
    /// Whether the recording is being copied.
    archiving: bool,
    /// Path of the recording below the base URL.
    #[cfg_attr(feature = "openapi", schema(format = "uri-reference"))]
    status_url: String,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/recordings/{dispatch_id}/archive",
        operation_id = "archiveRecording",
        tag = "Recordings",
        summary = "Copy a Twilio recording into the bucket",
        description = "Queues the copy of a Twilio recording, whatever `ARCHIVE_TWILIO` is. A recording whose copy failed is tried again. Always needs a key. Scope: `recordings:archive`.",
        params(("dispatch_id" = String, Path, description = "The dispatch id of the call, or Twilio's SID of the call or the recording.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "RE1234567890abcdef")),
        responses(
            (status = 200, description = "The bucket has the recording.", body = ArchiveState),
            (status = 202, description = "The recording is being copied.", body = ArchiveState),
        ),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "storage", "database", "queue"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsArchive).await?;
        let id = request.segment_before("dispatch_id", "archive")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&[])?;
        let resolver = state.resolver.as_ref().ok_or_else(http::s3_missing)?;
        let (status, recording_sid) = match resolver.find(&id, state.access.search(&request)).await {
            Ok(Some(found)) => (StatusCode::OK, found.recording.recording_sid),
            Err(ResolveError::NotCopied(missing)) => {
                // Also of a recording that is being copied: its message is sent again.
                let event = Event::new(Action::Archive).about(missing.sid.as_str());
                let event = event.of_call(id.as_str()).of_recording(Some(&missing.sid));
                state.access.audit(&request, event).await?;
                // A message that could not be sent before is due now.
                state.queue.enqueue(&missing.sid).await?;
                (StatusCode::ACCEPTED, Some(missing.sid))
            }
            found => return Err(found.err().map_or_else(recording_not_found, Into::into)),
        };
        let is_copied = status == StatusCode::OK;
        let body = ArchiveState {
            archived: is_copied,
            archiving: !is_copied,
            status_url: format!(
                "/recordings/{}",
                recording_sid.as_ref().map_or(id.as_str(), RecordingSid::as_str)
            ),
            recording_sid,
        };
        Ok(Reply::from((status, body)))
    })
    .await
}
