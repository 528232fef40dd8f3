//! Processes the EventBridge event `interaction.updated` from an SQS queue: another system's report about a call.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{
    batch::{self, Batch, BatchResponse},
    calls::{Calls, CallsError, Interaction},
    clients::aws::Aws,
    config::{ConfigError, Env},
    log::json_error,
    phones::Phones,
};

/// The state that is created once and used for every event.
pub struct State {
    calls: Calls,
    phones: Phones,
}

impl State {
    /// Reads the environment, and the key of the tombstones.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            calls: Calls::from_env(env, &aws)?,
            phones: Phones::from_env(env)?,
        };
        state.calls.preload().await;
        Ok(state)
    }
}

/// An EventBridge event. Unknown fields in `detail` are ignored.
#[derive(Debug, Deserialize)]
struct Event {
    /// The time of the report, unless `detail` has `updated_at`.
    time: Timestamp,
    detail: Map<String, Value>,
}

/// Why an event was not indexed.
#[derive(Debug, thiserror::Error)]
enum EventError {
    /// The event is invalid. Delivering it again does not help.
    #[error("the event can't be used: {0}")]
    Invalid(String),
    /// The table did not respond. Delivering the event again may help.
    #[error(transparent)]
    Calls(#[from] CallsError),
}

/// Indexes the events of a batch. A message is acknowledged only after its event is stored; an invalid message goes to the dead-letter queue.
pub async fn handle(state: &State, batch: Batch, deadline: SystemTime) -> BatchResponse {
    batch::process(&batch, deadline, async |body| index(state, &body).await).await
}

async fn index(state: &State, body: &str) -> Result<(), EventError> {
    let event: Event = serde_json::from_str(body).map_err(|error| EventError::Invalid(json_error(&error)))?;
    let reported = Interaction::from_json(&event.detail, event.time).map_err(EventError::Invalid)?;
    let reported = reported.with_phone(|phone| state.phones.e164(phone));
    Ok(state.calls.record_interaction(&reported).await?)
}
