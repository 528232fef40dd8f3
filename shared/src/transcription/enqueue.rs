//! Sends transcription jobs to the queue.

use std::time::Duration;

use jiff::Timestamp;

use super::vocabulary::Vocabulary;
use crate::{
    clients::{
        aws::Aws,
        queue::{Job, Queue, QueueError, RecordingId},
        twilio::RecordingSid,
    },
    config::{ConfigError, Env},
    transcripts::{AudioId, TranscriptId, Transcripts, TranscriptsError, Variant},
};

/// How long a job counts as queued. After that its message must be lost, and the next request queues it again.
pub const QUEUED_VALID: Duration = Duration::from_secs(6 * 3600);
/// Why a job could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The message could not be sent.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The state could not be stored.
    #[error(transparent)]
    Transcripts(#[from] TranscriptsError),
}

/// Queues Twilio recordings when they are completed.
pub struct AutoTranscribe {
    queue: Queue,
    transcripts: Transcripts,
    vocabulary: Vocabulary,
}

impl AutoTranscribe {
    /// Reads `AUTO_TRANSCRIBE` (default `false`); `None` if it is `false`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Option<Self>, ConfigError> {
        match env.optional("AUTO_TRANSCRIBE").unwrap_or("false") {
            "true" => Ok(Some(Self {
                queue: Queue::from_env(env, aws)?,
                transcripts: Transcripts::from_env(env, aws)?,
                vocabulary: Vocabulary::from_env(env)?,
            })),
            "false" => Ok(None),
            _ => Err(ConfigError::Invalid {
                name: "AUTO_TRANSCRIBE",
                expected: "true or false",
            }),
        }
    }

    /// Queues a Twilio recording with the default options.
    pub async fn enqueue(&self, sid: RecordingSid) -> Result<(), EnqueueError> {
        let job = Job::new(RecordingId::Twilio(sid.clone()), self.vocabulary.default_options());
        enqueue(
            &self.queue,
            &self.transcripts,
            &job,
            &AudioId::Twilio(sid),
            QUEUED_VALID,
        )
        .await
    }
}

/// Sends a job to the queue, and then stores that the transcript of this audio is queued for at most `valid`. In the other order, a failure to
/// send would leave a queued state without a message.
pub async fn enqueue(
    queue: &Queue,
    transcripts: &Transcripts,
    job: &Job,
    audio: &AudioId,
    valid: Duration,
) -> Result<(), EnqueueError> {
    queue.send(job, Duration::ZERO).await?;
    let id = TranscriptId::new(audio, &Variant::of(&job.options));
    transcripts.queue(&id, valid, job, job.again_since.is_some()).await?;
    Ok(())
}

/// Finds jobs whose messages are lost, and sends them again.
pub struct LostJobs {
    queue: Queue,
    transcripts: Transcripts,
}

impl LostJobs {
    /// Reads `TRANSCRIPTION_QUEUE_URL` and `TRANSCRIPTS_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            queue: Queue::from_env(env, aws)?,
            transcripts: Transcripts::from_env(env, aws)?,
        })
    }

    /// Sends at most `limit` jobs again, and returns how many.
    pub async fn send_again(&self, limit: i32) -> Result<u64, EnqueueError> {
        let now = Timestamp::now();
        let quiet = self.transcripts.quiet_jobs(now, limit).await?;
        for quiet in &quiet {
            // The message first: one too many finds a transcript or a lease.
            self.queue.send(&quiet.job, Duration::ZERO).await?;
            self.transcripts.note_sent_again(quiet, now).await?;
        }
        Ok(quiet.len() as u64)
    }
}
