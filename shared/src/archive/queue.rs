//! The queue of the recordings to copy.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    error::CopyError,
    settings::{ArchiveMode, ArchiveSettings},
};
use crate::{
    clients::{
        aws::Aws,
        queue::{CopyMessage, Queue},
        twilio::RecordingSid,
    },
    config::{ConfigError, Env},
    invocation,
    lifecycle::{DueList, Lifecycle},
};

/// How often a recording is tried.
pub(super) const MAX_ATTEMPTS: u32 = 6;
/// A deletion at Twilio is due again after this time, whether its message was sent or it failed.
pub(super) const DELETION_RETRY: Duration = Duration::from_secs(3600);

/// The queue of the recordings to copy, and the table that shows which messages are lost.
pub struct CopyQueue {
    queue: Queue,
    lifecycle: Lifecycle,
}

impl CopyQueue {
    /// Reads `ARCHIVE_QUEUE_URL` and `LIFECYCLE_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            queue: Queue::named(env, aws, "ARCHIVE_QUEUE_URL")?,
            lifecycle: Lifecycle::from_env(env, aws)?,
        })
    }

    /// The queue if completed recordings are copied without a request: `ARCHIVE_TWILIO` is not `off`.
    pub fn automatic(env: &Env, aws: &Aws) -> Result<Option<Self>, ConfigError> {
        match ArchiveSettings::from_env(env)?.mode {
            ArchiveMode::Off => Ok(None),
            ArchiveMode::Copy | ArchiveMode::Move => Self::from_env(env, aws).map(Some),
        }
    }

    /// Queues a recording, unless it is in the queue. The table has it before the message is sent: in the other order, the worker could have ended the copy by then. What
    /// is in the table without a message is sent again when it is overdue.
    pub async fn enqueue(&self, sid: &RecordingSid) -> Result<(), CopyError> {
        match self.lifecycle.begin_copying(sid).await? {
            true => self.send(sid, 0, Duration::ZERO).await,
            false => Ok(()),
        }
    }

    /// Queues a recording, whatever its state.
    async fn request(&self, sid: &RecordingSid) -> Result<(), CopyError> {
        self.retry(sid, 0, Duration::ZERO).await
    }

    /// Queues a recording again, after a failure.
    pub(super) async fn retry(&self, sid: &RecordingSid, attempts: u32, delay: Duration) -> Result<(), CopyError> {
        self.lifecycle.note_copying(sid).await?;
        self.send(sid, attempts, delay).await
    }

    async fn send(&self, sid: &RecordingSid, attempts: u32, delay: Duration) -> Result<(), CopyError> {
        let message = CopyMessage {
            recording_sid: sid.clone(),
            attempts,
            delete: false,
            request_id: invocation::request_id(),
        };
        let sent = self.queue.send(&message, delay).await;
        // The next request or run of the reconciler sends it, and not only when it is overdue.
        if sent.is_err()
            && let Err(error) = self.lifecycle.make_due(sid, DueList::Copy, Timestamp::now()).await
        {
            tracing::warn!(%error, "a copy whose message was not sent is due only when it is overdue");
        }
        Ok(sent?)
    }

    /// Sends what is due to the queue, at most `limit` of each kind: copies whose messages may be lost, and copied recordings to delete at Twilio.
    /// Returns the reasons why deletions failed before.
    pub async fn send_due(&self, limit: i32) -> Result<Vec<String>, CopyError> {
        let now = Timestamp::now();
        for lost in self.lifecycle.due_copies(DueList::Copy, now, limit).await? {
            self.request(&lost.sid).await?;
        }
        let mut reasons = Vec::new();
        for due in self.lifecycle.due_copies(DueList::Move, now, limit).await? {
            let message = CopyMessage {
                recording_sid: due.sid.clone(),
                attempts: 0,
                delete: true,
                request_id: invocation::request_id(),
            };
            self.queue.send(&message, Duration::ZERO).await?;
            self.lifecycle
                .make_due(&due.sid, DueList::Move, now + DELETION_RETRY)
                .await?;
            reasons.extend(due.reason);
        }
        Ok(reasons)
    }
}
