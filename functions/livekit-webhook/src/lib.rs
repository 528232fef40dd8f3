//! `POST /webhooks/livekit`: a LiveKit egress ended, with or without a recording.

use lambda_http::{
    Body, Request, Response,
    http::{StatusCode, header},
};
use serde_json::{Value, json};
use shared::{
    calls::{Calls, Observed, index_egress},
    clients::{
        aws::Aws,
        bucket::RecordingsBucket,
        livekit::{self, EgressEvent, FailedEgress, LiveKit},
    },
    config::{ConfigError, Env},
    http::{self, ApiError, ErrorFormat},
};

/// The result of an event.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[allow(dead_code)]
struct Indexed {
    /// Whether something was stored.
    indexed: bool,
    /// Why nothing was stored.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The state that is created once and used for every request.
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
            bucket: RecordingsBucket::from_env(env, &aws)?,
        };
        tokio::join!(state.livekit.preload(), state.calls.preload());
        Ok(state)
    }
}

/// Handles a request. LiveKit sends a webhook again until the response is a success, so success is returned only after everything is stored.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/webhooks/livekit",
        operation_id = "livekitWebhook",
        tag = "Webhooks",
        summary = "Receive a webhook from LiveKit",
        description = "Only for LiveKit. Only `egress_ended` events are processed; other events return 200 with `indexed: false`.",
        request_body(content = inline(serde_json::Map<String, Value>), content_type = "application/webhook+json", description = "LiveKit's event."),
        responses((status = 200, description = "Stored or ignored.", body = Indexed)),
        security(("livekit_token" = [])),
        extensions(("x-errors" = json!(["request", "livekit", "database", "storage"]))),
    )
)]
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
        let ignored = match event {
            EgressEvent::Stored { key, otherwise } => {
                let bucket = state.bucket.as_ref().ok_or_else(http::s3_missing)?;
                let number = otherwise.phone.clone().unwrap_or_default();
                let egress_at = otherwise.started.map(|started| (number, started.as_second()));
                match index_egress(&state.calls, bucket, &key, None, egress_at).await? {
                    Observed::Present => None,
                    Observed::Absent => record_failure(state, &otherwise).await?,
                    Observed::Ignored(ignored) => Some(ignored.reason()),
                    Observed::Erased => Some("The recording was erased, and stays so."),
                    Observed::OutsidePrefix => Some("The file is not below RECORDINGS_PREFIX."),
                }
            }
            EgressEvent::Failed(failed) => record_failure(state, &failed).await?,
            EgressEvent::Ignored(reason) => Some(reason),
        };
        let body = match ignored {
            None => json!({"indexed": true}),
            Some(reason) => {
                tracing::info!(reason, "webhook ignored");
                json!({"indexed": false, "reason": reason})
            }
        };
        Ok::<(StatusCode, Value), ApiError>((StatusCode::OK, body))
    })
    .await
}

/// Stores that there is no recording. Returns the reason if that is not possible.
async fn record_failure(state: &State, failed: &FailedEgress) -> Result<Option<&'static str>, ApiError> {
    let bucket = state.bucket.as_ref();
    let key = failed.key.as_deref();
    let name = bucket.zip(key).and_then(|(bucket, key)| bucket.name_of(key).ok());
    // Without a name that can be parsed, the recording is stored under the egress's id.
    if name.is_none() && !failed.has_id() {
        return Ok(Some("The webhook has no usable egress id."));
    }
    let is_stored = state.calls.record_failed_egress(failed, name.as_ref()).await?;
    Ok((!is_stored).then_some("Neither the file's name nor the webhook contains the phone number and the time."))
}
