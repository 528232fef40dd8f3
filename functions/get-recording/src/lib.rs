//! `GET /recordings/{dispatch_id}`: two presigned URLs for one call's recording.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{http::{access::{Access, Scope}, self, ApiError, ErrorFormat}, clients::{aws::Aws, presign::{MAX_EXPIRES_IN, Presign}}, config::{ConfigError, Env}, ids::DispatchId, calls::resolve::Recordings, time::to_millis};

/// What every request needs, made once.
pub struct State {
    access: Access,
    storage: Option<Storage>,
    transcripts: get_egress_transcript::State,
}

struct Storage {
    recordings: Recordings,
    playback: Presign,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let storage = match (Recordings::from_env(env, &aws)?, Presign::from_env(env, &aws)) {
            (Some(recordings), Some(playback)) => Some(Storage { recordings, playback }),
            _ => None,
        };
        let state = Self {
            access: Access::for_recordings(env, &aws)?,
            storage,
            transcripts: get_egress_transcript::State::new(env, &aws)?,
        };
        tokio::join!(state.access.preload(), async {
            if let Some(storage) = &state.storage {
                storage.playback.preload().await;
            }
        });
        Ok(state)
    }
}

#[derive(Serialize)]
struct Recording {
    recording_url: String,
    download_url: String,
    dispatch_id: String,
    s3_key: String,
    expires_in: u64,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_limited_by: Option<&'static str>,
}

/// Answers one request. `GET /recordings/{proxy+}` brings that for `/recordings/{dispatch_id}/transcript/` here as well: a greedy route of its
/// own below `{dispatch_id}` might take `/recordings/{dispatch_id}/` away from this one.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    if http::tail(&request).is_some_and(|tail| tail.ends_with("/transcript")) {
        return get_egress_transcript::handle(&state.transcripts, request).await;
    }
    http::respond(ErrorFormat::Recordings, request, |call| async move {
        state.access.check(&call, Scope::RecordingsRead).await?;
        let text = call.last_segment("dispatch_id")?;
        let id = DispatchId::parse(&text).ok_or_else(http::invalid_dispatch_id)?;
        call.query.only(&["expires_in"])?;
        let expires_in = call.query.integer("expires_in", 3600, 1..=MAX_EXPIRES_IN)?;
        let storage = state.storage.as_ref().ok_or_else(http::s3_missing)?;
        let key = storage.recordings.find(&id).await?.ok_or_else(|| {
            ApiError::not_found(
                "recording_not_found",
                "Recording not found. Call may still be in progress or recording failed.",
            )
        })?;
        let presigner = storage.playback.presigner(expires_in).await?;
        let recording = Recording {
            recording_url: presigner.presign(&key)?,
            download_url: presigner.presign_download(&key)?,
            dispatch_id: text,
            s3_key: key,
            expires_in: presigner.expiry.seconds,
            expires_at: to_millis(presigner.expiry.at()),
            expires_limited_by: presigner.expiry.limited_by,
        };
        Ok((StatusCode::OK, recording))
    })
    .await
}
