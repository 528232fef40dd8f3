//! Requests erasures, and reads how far they are.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    error::ErasureError,
    model::{Erasure, ErasureId},
};
use crate::{
    clients::{
        aws::Aws,
        queue::{ErasureMessage, Queue},
    },
    config::{ConfigError, Env},
    invocation,
    lifecycle::{DueList, Lifecycle, OVERDUE, Versioned},
};

/// The queue of erasures, and the table that has them.
pub struct ErasureQueue {
    queue: Queue,
    pub(super) lifecycle: Lifecycle,
}

impl ErasureQueue {
    /// Reads `ERASURE_QUEUE_URL` and `LIFECYCLE_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            queue: Queue::named(env, aws, "ERASURE_QUEUE_URL")?,
            lifecycle: Lifecycle::from_env(env, aws)?,
        })
    }

    /// Stores an erasure and queues it. Returns `false` if there is one with this id.
    pub async fn request(&self, erasure: &Erasure) -> Result<bool, ErasureError> {
        let mut stored = Versioned {
            value: erasure.clone(),
            version: 0,
        };
        if !self.save(&mut stored, Some(OVERDUE)).await? {
            return Ok(false);
        }
        // If this fails, the erasure is due some time later.
        self.send(&erasure.id, Duration::ZERO).await?;
        Ok(true)
    }

    /// Reads an erasure.
    pub async fn get(&self, id: &ErasureId) -> Result<Option<Erasure>, ErasureError> {
        let found = self.lifecycle.read::<Erasure>(&id.item()).await?;
        Ok(found.map(|found| found.value))
    }

    /// Whether a call with a time of its own is past it.
    pub async fn has_due_calls(&self, now: Timestamp) -> Result<bool, ErasureError> {
        Ok(!self.lifecycle.past_their_time(now, 1).await?.is_empty())
    }

    /// Sends the erasures that are due to the queue again, at most `limit`.
    pub async fn send_due(&self, limit: i32) -> Result<(), ErasureError> {
        let due = self
            .lifecycle
            .due_ids(DueList::Erasure, Timestamp::now(), limit)
            .await?;
        for id in due
            .iter()
            .filter_map(|id| ErasureId::parse(id.strip_prefix("erasure#")?))
        {
            self.send(&id, Duration::ZERO).await?;
        }
        Ok(())
    }

    pub(super) async fn send(&self, id: &ErasureId, delay: Duration) -> Result<(), ErasureError> {
        let message = ErasureMessage {
            erasure_id: id.to_string(),
            request_id: invocation::request_id(),
        };
        Ok(self.queue.send(&message, delay).await?)
    }

    /// Stores an erasure; it is due `after` this time if its message is lost. Returns `false` if another worker stored it meanwhile.
    pub(super) async fn save(
        &self,
        erasure: &mut Versioned<Erasure>,
        after: Option<Duration>,
    ) -> Result<bool, ErasureError> {
        let due = after.map(|after| (DueList::Erasure, Timestamp::now() + after));
        let item = erasure.value.id.item();
        Ok(self.lifecycle.write(&item, erasure, due).await?)
    }
}
