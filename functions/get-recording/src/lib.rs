//! `GET /recordings/{dispatch_id}`: presigned URLs for playing and downloading a call's recording.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    calls::Resolver,
    clients::{
        aws::Aws,
        presign::{MAX_EXPIRES_IN, Presign},
    },
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
        recording_not_found,
    },
    ids::DispatchId,
    time::to_millis,
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    storage: Option<Storage>,
    transcripts: get_egress_transcript::State,
}

struct Storage {
    resolver: Resolver,
    presign: Presign,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let storage = match (Resolver::from_env(env, &aws)?, Presign::from_env(env, &aws)) {
            (Some(resolver), Some(presign)) => Some(Storage { resolver, presign }),
            _ => None,
        };
        let state = Self {
            access: Access::for_recordings(env, &aws)?,
            storage,
            transcripts: get_egress_transcript::State::new(env, &aws)?,
        };
        tokio::join!(state.access.preload(), async {
            if let Some(storage) = &state.storage {
                storage.presign.preload().await;
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

/// Handles a request. The route `GET /recordings/{proxy+}` also matches `/recordings/{dispatch_id}/transcript/` with a trailing slash. A
/// separate greedy route below `{dispatch_id}` might also match `/recordings/{dispatch_id}/`, which belongs to this function.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    if http::tail(&request).is_some_and(|tail| tail.ends_with("/transcript")) {
        return get_egress_transcript::handle(&state.transcripts, request).await;
    }
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        let text = request.last_segment("dispatch_id")?;
        let id = DispatchId::parse(&text).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&["expires_in"])?;
        let expires_in = request.query.integer("expires_in", 3600, 1..=MAX_EXPIRES_IN)?;
        let storage = state.storage.as_ref().ok_or_else(http::s3_missing)?;
        let key = storage.resolver.find(&id).await?.ok_or_else(recording_not_found)?;
        let presigner = storage.presign.presigner(expires_in).await?;
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
