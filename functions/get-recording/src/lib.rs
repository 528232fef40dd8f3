//! `GET /recordings/{dispatch_id}`: two presigned URLs for one call's recording.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    calls::{Calls, recording_of},
    config::{ConfigError, Env},
    dispatch::DispatchId,
    egress::{Egress, NEIGHBOURHOOD},
    http::{self, ApiError, Family},
    playback::{MAX_EXPIRES_IN, Playback},
    time::to_millis,
};

/// What every request needs, made once.
pub struct State {
    access: Access,
    calls: Calls,
    storage: Option<Storage>,
}

struct Storage {
    egress: Egress,
    playback: Playback,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let storage = match (Egress::from_env(env, &aws), Playback::from_env(env, &aws)) {
            (Some(egress), Some(playback)) => Some(Storage { egress, playback }),
            _ => None,
        };
        let state = Self {
            access: Access::for_recordings(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            storage,
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

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(Family::Recordings, request, |call| async move {
        state.access.check(&call, Scope::RecordingsRead).await?;
        let text = call.last_segment("dispatch_id")?;
        let id = DispatchId::parse(&text).ok_or_else(|| {
            ApiError::bad_request(
                "invalid_dispatch_id",
                "dispatch_id must be 1 to 128 letters, digits, underscores or hyphens, like dispatch_1754653479_15103455686.",
            )
        })?;
        call.query.only(&["expires_in"])?;
        let expires_in = call.query.integer("expires_in", 3600, 1..=MAX_EXPIRES_IN)?;
        let storage = state.storage.as_ref().ok_or_else(http::s3_missing)?;
        let key = find(&state.calls, &storage.egress, &id).await?.ok_or_else(|| {
            ApiError::not_found("recording_not_found", "Recording not found. Call may still be in progress or recording failed.")
        })?;
        let presigner = storage.playback.presigner(expires_in).await?;
        let recording = Recording {
            recording_url: presigner.play(&key)?,
            download_url: presigner.download(&key)?,
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

/// The key of the call's recording: from the table, else by its name in the bucket, which is then written to the table.
async fn find(calls: &Calls, egress: &Egress, id: &DispatchId) -> Result<Option<String>, ApiError> {
    let known = calls.get(id).await?;
    let is_known = known.is_some();
    if let Some(key) = known.and_then(|call| call.s3_key) {
        return Ok(Some(key));
    }
    let Some(dispatch) = id.pattern() else { return Ok(None) };
    let (first, last) = (dispatch.unix - NEIGHBOURHOOD, dispatch.unix + NEIGHBOURHOOD);
    let (others, listed_as_this) = calls.dispatches_near(&dispatch, first, last).await?;
    if let (Some(key), false) = (listed_as_this, is_known) {
        return Ok(Some(key));
    }
    let candidates = egress.candidates(&dispatch).await?;
    let Some(found) = recording_of(dispatch.unix, &others, &candidates) else {
        return Ok(None);
    };
    // The answer does not depend on it: the next request would find the recording again.
    if let Err(error) = calls.found(id, &candidates).await {
        tracing::warn!(%error, "recording found but not written to the index");
    }
    Ok(Some(found.key.clone()))
}
