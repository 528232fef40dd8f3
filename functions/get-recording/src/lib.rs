//! `GET /recordings/{dispatch_id}`: two presigned URLs for one call's recording.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    calls::Calls,
    config::{ConfigError, Env},
    dispatch::{DispatchId, DispatchPattern},
    egress::{EARLIEST, Egress, EgressObject, LATEST},
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
    if let Some(key) = known.as_ref().and_then(|call| call.s3_key.clone()) {
        return Ok(Some(key));
    }
    let Some(dispatch) = id.pattern() else { return Ok(None) };
    let candidates = egress.candidates(&dispatch).await?;
    if candidates.is_empty() {
        return Ok(None);
    }
    // An earlier call to the number can only be nearer to a recording that began before this dispatch.
    let (first, last) = (dispatch.unix + 2 * EARLIEST, dispatch.unix + LATEST - EARLIEST);
    let others = calls.dispatches_near(&dispatch, first, last).await?;
    let Some(found) = candidates
        .into_iter()
        .find(|candidate| is_of(candidate, &dispatch, &others))
    else {
        return Ok(None);
    };
    // The answer does not depend on it: the next request would find the recording again.
    if let Err(error) = calls.link_recording(id, known, &found).await {
        tracing::warn!(%error, "recording found but not written to the index");
    }
    Ok(Some(found.key))
}

/// Whether no other known dispatch of the number explains the recording better, which is: lies nearer to its beginning.
/// Of two equally near ones the earlier explains it better, since recording begins after the dispatch.
fn is_of(recording: &EgressObject, dispatch: &DispatchPattern, others: &[i64]) -> bool {
    let nearness = |unix: i64| (recording.unix.abs_diff(unix), unix);
    !others
        .iter()
        .any(|other| recording.unix >= other + EARLIEST && nearness(*other) < nearness(dispatch.unix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(recording: i64, others: &[i64]) -> bool {
        let dispatch = DispatchPattern {
            unix: 1000,
            phone: "1".into(),
        };
        is_of(
            &EgressObject {
                key: String::new(),
                size: 1,
                etag: None,
                unix: recording,
            },
            &dispatch,
            others,
        )
    }

    #[test]
    fn a_recording_belongs_to_the_nearest_known_dispatch() {
        assert!(is_ours(1002, &[]));
        assert!(is_ours(1002, &[1005]), "the later dispatch is farther from it");
        assert!(!is_ours(1122, &[1120]), "the later dispatch is nearer");
        assert!(is_ours(1100, &[1120]), "the later dispatch is too late for it");
        assert!(!is_ours(996, &[995]), "the earlier dispatch is nearer");
        assert!(is_ours(1001, &[995]));
        assert!(
            is_ours(1002, &[1004]) && !is_ours(998, &[996]),
            "equally near: the earlier dispatch"
        );
    }
}
