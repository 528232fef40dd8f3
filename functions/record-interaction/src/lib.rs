//! What others know of interactions: the EventBridge event `interaction.updated`, and `POST /interactions`.

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{http::{access::{Access, Scope}, self, ApiError, ErrorFormat}, clients::aws::Aws, calls::{Calls, CallsError, Interaction}, config::{ConfigError, Env}};

/// What every event and request needs, made once.
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

/// An EventBridge event. What `detail` has besides the documented fields is passed over.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// Counts as the time of the report when `detail` has no `updated_at`.
    time: Timestamp,
    detail: Map<String, Value>,
}

/// Why an event was not taken down.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It will never be: what is wrong with it.
    #[error("the event can't be used: {0}")]
    Invalid(String),
    /// It may be if it is delivered again.
    #[error(transparent)]
    Calls(#[from] CallsError),
}

/// Takes down one event. An error makes Lambda deliver it again, and set it aside after two more tries.
pub async fn record(state: &State, event: Event) -> Result<(), EventError> {
    let reported = Interaction::from_json(&event.detail, event.time).map_err(EventError::Invalid)?;
    Ok(state.calls.record_interaction(&reported).await?)
}

#[derive(Serialize)]
struct Recorded {
    interaction_id: Option<String>,
    dispatch_id: Option<String>,
    updated_at: Timestamp,
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |call| async move {
        state.access.check(&call, Scope::RecordingsWrite).await?;
        call.query.only(&[])?;
        let object: Map<String, Value> = call.json()?;
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
