//! S3's events, by way of an SQS queue: an object appeared in the bucket, or was deleted.
//!
//! An event only says which object to ask S3 about: what `HeadObject` answers is indexed. So events may come twice, late or in any order.

mod event;

use std::time::SystemTime;

use shared::{
    batch::{self, Batch, BatchResponse},
    calls::{Calls, ResolveError, index_object},
    clients::{aws::Aws, bucket::RecordingsBucket},
    config::{ConfigError, Env},
};

use event::{EventError, ObjectEvent};

/// What every event needs, made once.
pub struct State {
    calls: Calls,
    bucket: RecordingsBucket,
}

impl State {
    /// Reads the environment.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        Ok(Self {
            calls: Calls::from_env(env, &aws)?,
            bucket: RecordingsBucket::from_env(env, &aws)?.ok_or(ConfigError::Missing("RECORDINGS_BUCKET"))?,
        })
    }
}

/// Why an event was not indexed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It never will be: what is wrong with it.
    #[error(transparent)]
    Event(#[from] EventError),
    /// It may be if it is delivered again.
    #[error(transparent)]
    Index(#[from] ResolveError),
}

/// Indexes the objects of a batch as they are now. Nothing is acknowledged before it is stored.
pub async fn handle(state: &State, batch: Batch, deadline: SystemTime) -> BatchResponse {
    batch::process(&batch, deadline, async |body| index(state, &body).await).await
}

/// Indexes what one message is about.
pub async fn index(state: &State, body: &str) -> Result<(), IndexError> {
    for event in ObjectEvent::read(body)? {
        if event.bucket != state.bucket.name() {
            tracing::warn!(bucket = event.bucket, "event of another bucket ignored");
            continue;
        }
        let observed = index_object(&state.calls, &state.bucket, &event.key, event.sequencer.as_deref()).await?;
        tracing::info!(?observed, "object processed");
    }
    Ok(())
}
