//! `GET /api/twilio/usage/`: the cost of this month's transcriptions, and what stored transcripts and unbilled audio saved.

use lambda_http::{Body, Request, Response, http::StatusCode};
use shared::{
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
    },
    transcripts::usage::Usage,
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    usage: Usage,
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
            access: Access::required(env, aws)?,
            usage: Usage::from_env(env, aws)?,
        })
    }
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/api/twilio/usage",
        operation_id = "getUsage",
        tag = "Twilio",
        summary = "Get this month's costs",
        description = "The cost of transcription in the current UTC month, for recordings of both sources. Scope: `twilio:transcribe`.",
        responses((status = 200, description = "The month's usage.", body = shared::transcripts::usage::MonthUsage)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Twilio, request, |request| async move {
        state.access.check(&request, Scope::TwilioTranscribe).await?;
        request.expect_tail("usage")?;
        request.query.only(&[])?;
        Ok((StatusCode::OK, state.usage.current_month().await?))
    })
    .await
}
