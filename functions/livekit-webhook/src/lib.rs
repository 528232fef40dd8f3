//! `POST /webhooks/livekit`: a recording ended, well or not.

use lambda_http::{
    Body, Request, Response,
    http::{StatusCode, header},
};
use serde_json::{Value, json};
use shared::{clients::{aws::Aws, bucket, livekit::{self, LiveKit, LiveKitError}}, calls::{Calls, Observed, resolve::observe}, config::{ConfigError, Env}, http::{self, ApiError, ErrorFormat}};

/// What every request needs, made once.
pub struct State {
    livekit: LiveKit,
    calls: Calls,
    egress: Option<egress::Egress>,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            livekit: LiveKit::from_env(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            egress: egress::Egress::from_env(env, &aws),
        };
        state.livekit.preload().await;
        Ok(state)
    }
}

/// Answers one request. LiveKit sends a webhook again until the answer is a success, which it is only once everything is stored.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |call| async move {
        call.expect_tail("livekit")?;
        let token = call
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|token| token.to_str().ok());
        let body = call.body()?;
        state
            .livekit
            .verify(token.unwrap_or_default(), body)
            .await
            .map_err(refused)?;
        let event = livekit::read(body)
            .ok_or_else(|| ApiError::bad_request("invalid_json", "The body must be a JSON object."))?;
        let indexed = match event {
            livekit::Egress::Stored { key, otherwise } => {
                let egress = state.egress.as_ref().ok_or_else(http::s3_missing)?;
                match observe(&state.calls, egress, &key, None).await? {
                    Observed::Present => true,
                    Observed::Absent => state.calls.record_failed_egress(&otherwise).await?,
                    Observed::NoRecording => false,
                }
            }
            livekit::Egress::Failed(failed) => state.calls.record_failed_egress(&failed).await?,
            livekit::Egress::Other => false,
        };
        Ok::<(StatusCode, Value), ApiError>((StatusCode::OK, json!({"indexed": indexed})))
    })
    .await
}

fn refused(error: LiveKitError) -> ApiError {
    match error {
        LiveKitError::Unauthorized(_) => ApiError::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A webhook must carry LiveKit's token for this body in its Authorization header.",
        ),
        LiveKitError::Secret(shared::clients::secrets::SecretError::Unavailable(..)) => ApiError::unavailable(
            "livekit_secret_unavailable",
            "Webhooks can't be checked right now. Try again shortly.",
        ),
        LiveKitError::Secret(_) | LiveKitError::IncompleteSecret => ApiError::internal(
            "livekit_not_configured",
            "This deployment has no usable LiveKit key configured.",
        ),
    }
    .caused_by(error)
}
