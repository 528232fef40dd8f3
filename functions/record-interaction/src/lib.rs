//! `POST /interactions`: another system's report about a call.

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::{
    calls::{Calls, Interaction},
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
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
        };
        state.access.preload().await;
        Ok(state)
    }
}

#[derive(Serialize)]
struct Recorded {
    interaction_id: Option<String>,
    dispatch_id: Option<String>,
    updated_at: Timestamp,
}

/// Handles a request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsWrite).await?;
        request.query.only(&[])?;
        let object: Map<String, Value> = request.json()?;
        let invalid = |message: String| ApiError::bad_request("invalid_interaction", message);
        if let Some(name) = Interaction::unknown(&object) {
            let name: String = name.chars().take(64).collect();
            return Err(invalid(format!("{name:?} is not a field of an interaction.")));
        }
        let reported = Interaction::from_json(&object, Timestamp::now()).map_err(invalid)?;
        state.calls.record_interaction(&reported).await?;
        let recorded = Recorded {
            interaction_id: reported.interaction_id,
            dispatch_id: reported.dispatch_id.map(|id| id.to_string()),
            updated_at: reported.at,
        };
        Ok((StatusCode::OK, recorded))
    })
    .await
}
