//! The EventBridge event `interaction.updated`, by way of an SQS queue: what another system knows of a call.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{
    batch::{self, Batch, BatchResponse},
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
struct Event {
    /// Counts as the time of the report when `detail` has no `updated_at`.
    time: Timestamp,
    detail: Map<String, Value>,
}

/// Why an event was not indexed.
#[derive(Debug, thiserror::Error)]
enum EventError {
    /// It will never be: what is wrong with it.
    #[error("the event can't be used: {0}")]
    Invalid(String),
    /// It may be if it is delivered again.
    #[error(transparent)]
    Calls(#[from] CallsError),
}

/// Indexes the events of a batch. Nothing is acknowledged before it is stored; a message that is no usable event goes to the dead-letter queue.
pub async fn handle(state: &State, batch: Batch, deadline: SystemTime) -> BatchResponse {
    batch::process(&batch, deadline, async |body| index(state, &body).await).await
}

async fn index(state: &State, body: &str) -> Result<(), EventError> {
    let event: Event = serde_json::from_str(body).map_err(|error| EventError::Invalid(error.to_string()))?;
    let reported = Interaction::from_json(&event.detail, event.time).map_err(EventError::Invalid)?;
    Ok(state.calls.record_interaction(&reported).await?)
}
