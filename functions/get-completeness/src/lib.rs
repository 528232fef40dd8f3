//! `GET /reports/completeness`: the reconciler's last report.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde_json::Value;
use shared::{
    audit::{Action, Event},
    calls::{Calls, ReconcilerState},
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat,
        access::{Access, Scope},
    },
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    calls: Calls,
    daily: get_daily_report::State,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            daily: get_daily_report::State::new(env, &aws)?,
        };
        state.access.preload().await;
        Ok(state)
    }
}

/// Handles a request. The route `GET /reports/{proxy+}` also matches `/reports/daily/` with a trailing slash, which cannot have its own route in
/// template.yaml.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/reports/completeness",
        operation_id = "getCompleteness",
        tag = "Reports",
        summary = "Get the completeness report",
        description = "The report of the reconciler's last finished round: calls without a recording, recordings without a call, and the reasons. Scope: `recordings:read`.",
        responses((status = 200, description = "The report.", body = shared::reconcile::Report)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "report", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    if http::tail(&request) == Some("daily") {
        return get_daily_report::handle(&state.daily, request).await;
    }
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        request.expect_tail("completeness")?;
        request.query.only(&[])?;
        let report: Value = state
            .calls
            .reconciler_state(ReconcilerState::Report)
            .await?
            .ok_or_else(|| {
                ApiError::not_found(
                    "no_report",
                    "There is no report yet. The reconciler writes one every hour.",
                )
            })?;
        let event = Event::new(Action::ReadReport);
        state.access.disclose(&request, event, (StatusCode::OK, report)).await
    })
    .await
}
