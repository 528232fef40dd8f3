//! The worker of the queue of erasures.

use std::time::{Duration, SystemTime};

use shared::{
    batch::{self, Batch, BatchResponse},
    clients::{
        aws::Aws,
        queue::{ErasureMessage, QueueError},
    },
    config::{ConfigError, Env},
    erasure::{ErasureError, ErasureWorker},
};
use tokio::time::Instant;

/// Time reserved before the invocation's deadline for finishing the calls in progress and storing the result.
const MARGIN: Duration = Duration::from_secs(60);

/// The state that is created once and used for every invocation.
pub struct State {
    worker: ErasureWorker,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let worker = ErasureWorker::from_env(env, &Aws::from_env(env)?)?;
        worker.preload().await;
        Ok(Self { worker })
    }
}

/// Processes the messages of a batch until shortly before `deadline`.
pub async fn handle(state: &State, batch: Batch, deadline: SystemTime) -> BatchResponse {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let end = Instant::now() + left.saturating_sub(MARGIN);
    batch::process(&batch, deadline, async |body| process(state, &body, end).await).await
}

async fn process(state: &State, body: &str, deadline: Instant) -> Result<(), ErasureError> {
    let message: ErasureMessage = serde_json::from_str(body).map_err(QueueError::from)?;
    Box::pin(state.worker.process(&message, deadline)).await
}
