//! The EventBridge event `interaction.updated`: what another system knows of a call.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{
    calls::{Calls, CallsError, Interaction},
    clients::aws::Aws,
    config::{ConfigError, Env},
};

/// What every event needs, made once.
pub struct State {
    calls: Calls,
}

impl State {
    /// Reads the environment.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        Ok(Self {
            calls: Calls::from_env(env, &aws)?,
        })
    }
}

/// An EventBridge event. What `detail` has besides the documented fields is ignored.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// Counts as the time of the report when `detail` has no `updated_at`.
    time: Timestamp,
    detail: Map<String, Value>,
}

/// Why an event was not indexed.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It will never be: what is wrong with it.
    #[error("the event can't be used: {0}")]
    Invalid(String),
    /// It may be if it is delivered again.
    #[error(transparent)]
    Calls(#[from] CallsError),
}

/// Indexes one event. An error makes Lambda deliver it again, and send it to the dead-letter queue after two more tries.
pub async fn handle(state: &State, event: Event) -> Result<(), EventError> {
    let reported = Interaction::from_json(&event.detail, event.time).map_err(EventError::Invalid)?;
    Ok(state.calls.record_interaction(&reported).await?)
}
