//! The worker of the queue of copies: copies Twilio's recordings into the bucket, and deletes copied ones at Twilio.
//!
//! A failure is stored, or the recording is sent to the queue again with a delay. Only if not even that is possible is the message reported as
//! failed; SQS then delivers it again and moves it to the dead-letter queue after five deliveries.

use std::time::SystemTime;

use shared::{
    archive::{Archiver, CopyError},
    batch::{self, Batch, BatchResponse},
    clients::{
        aws::Aws,
        queue::{CopyMessage, QueueError},
    },
    config::{ConfigError, Env},
};
use tokio::time::Instant;

/// The state that is created once and used for every invocation.
pub struct State {
    archiver: Archiver,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let archiver = Archiver::from_env(env, &Aws::from_env(env)?)?;
        archiver.preload().await;
        Ok(Self { archiver })
    }
}

/// Processes the messages of a batch until shortly before `deadline`.
pub async fn handle(state: &State, batch: Batch, deadline: SystemTime) -> BatchResponse {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    // The result has to be stored before the batch ends.
    let end = Instant::now() + left.saturating_sub(MARGIN);
    batch::process(&batch, deadline, async |body| process(state, &body, end).await).await
}

/// Time reserved before the invocation's deadline for storing the result.
const MARGIN: std::time::Duration = std::time::Duration::from_secs(20);

async fn process(state: &State, body: &str, deadline: Instant) -> Result<(), CopyError> {
    let message: CopyMessage = serde_json::from_str(body).map_err(QueueError::from)?;
    let result = Box::pin(state.archiver.process(&message, deadline)).await?;
    tracing::info!(recording_sid = %message.recording_sid, ?result, "message processed");
    Ok(())
}
