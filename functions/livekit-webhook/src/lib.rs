//! `POST /webhooks/livekit`: a recording ended, well or not.

use lambda_http::{
    Body, Request, Response,
    http::{StatusCode, header},
};
use serde_json::{Value, json};
use shared::{
    calls::{Calls, Observed, index_object},
    clients::{
        aws::Aws,
        bucket::RecordingsBucket,
        livekit::{self, EgressEvent, LiveKit},
    },
    config::{ConfigError, Env},
    http::{self, ApiError, ErrorFormat},
};

/// What every request needs, made once.
pub struct State {
    livekit: LiveKit,
    calls: Calls,
    bucket: Option<RecordingsBucket>,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            livekit: LiveKit::from_env(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            bucket: RecordingsBucket::from_env(env, &aws),
        };
        state.livekit.preload().await;
        Ok(state)
    }
}

/// Answers one request. LiveKit sends a webhook again until the answer is a success, which it is only once everything is stored.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        request.expect_tail("livekit")?;
        let token = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|token| token.to_str().ok());
        let body = request.body()?;
        state.livekit.verify(token.unwrap_or_default(), body).await?;
        let event = livekit::read(body)
            .ok_or_else(|| ApiError::bad_request("invalid_json", "The body must be a JSON object."))?;
        let indexed = match event {
            EgressEvent::Stored { key, otherwise } => {
                let bucket = state.bucket.as_ref().ok_or_else(http::s3_missing)?;
                match index_object(&state.calls, bucket, &key, None).await? {
                    Observed::Present => true,
                    Observed::Absent => state.calls.record_failed_egress(&otherwise).await?,
                    Observed::NoRecording => false,
                }
            }
            EgressEvent::Failed(failed) => state.calls.record_failed_egress(&failed).await?,
            EgressEvent::Other => false,
        };
        Ok::<(StatusCode, Value), ApiError>((StatusCode::OK, json!({"indexed": indexed})))
    })
    .await
}
