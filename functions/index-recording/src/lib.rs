//! Processes S3 events from an SQS queue: an object was created or deleted.
//!
//! An event only names the object. The response of `HeadObject` is indexed, so events may be delivered twice, late or in any order.

mod event;

use std::time::SystemTime;

use shared::{
    batch::{self, Batch, BatchResponse},
    calls::{Calls, ResolveError, index_object},
    clients::{aws::Aws, bucket::RecordingsBucket},
    config::{ConfigError, Env},
};

use event::{EventError, ObjectEvent};

/// The state that is created once and used for every event.
pub struct State {
    calls: Calls,
    bucket: RecordingsBucket,
}

impl State {
    /// Reads the environment, and the key of the tombstones.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            calls: Calls::from_env(env, &aws)?,
            bucket: RecordingsBucket::from_env(env, &aws)?.ok_or(ConfigError::Missing("RECORDINGS_BUCKET"))?,
        };
        state.calls.preload().await;
        Ok(state)
    }
}

/// Why an event was not indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The message is invalid. Delivering it again does not help.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The table or the bucket did not respond. Delivering the event again may help.
    #[error(transparent)]
    Index(#[from] ResolveError),
}

/// Indexes the current state of the objects in a batch. A message is acknowledged only after its objects are stored.
pub async fn handle(state: &State, batch: Batch, deadline: SystemTime) -> BatchResponse {
    batch::process(&batch, deadline, async |body| index(state, &body).await).await
}

/// Indexes the objects of one message.
pub async fn index(state: &State, body: &str) -> Result<(), IndexError> {
    for event in ObjectEvent::parse(body)? {
        if event.bucket != state.bucket.name() {
            tracing::warn!("event of another bucket ignored");
            continue;
        }
        let observed = index_object(&state.calls, &state.bucket, &event.key, event.sequencer.as_deref()).await?;
        tracing::info!(?observed, "object processed");
    }
    Ok(())
}
