//! Putting a recording into the queue.

use std::time::Duration;

use crate::{
    clients::{
        aws::Aws,
        queue::{Job, Queue, QueueError, RecordingId},
        twilio::RecordingSid,
        whisper::WhisperOptions,
    },
    config::{ConfigError, Env},
    transcripts::{AudioId, TranscriptId, Transcripts, TranscriptsError, Variant},
};

/// How long a queued job counts as queued. After that its message is lost, and the next request may queue it again.
pub const QUEUED_VALID: Duration = Duration::from_secs(6 * 3600);
/// Why a job could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The table.
    #[error(transparent)]
    Transcripts(#[from] TranscriptsError),
}

/// What it takes to queue recordings as soon as they are completed.
pub struct AutoTranscribe {
    queue: Queue,
    transcripts: Transcripts,
}

impl AutoTranscribe {
    /// Reads `AUTO_TRANSCRIBE` (`false` when absent); `None` when it is `false`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Option<Self>, ConfigError> {
        match env.optional("AUTO_TRANSCRIBE").unwrap_or("false") {
            "true" => Ok(Some(Self {
                queue: Queue::from_env(env, aws)?,
                transcripts: Transcripts::from_env(env, aws)?,
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
        let job = Job::new(RecordingId::Twilio(sid.clone()), WhisperOptions::default());
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

/// Puts a job into the queue, then stores that the transcript of this audio is queued, for at most `valid`. In this order: a stored state without a
/// message would wait for nobody.
pub async fn enqueue(
    queue: &Queue,
    transcripts: &Transcripts,
    job: &Job,
    audio: &AudioId,
    valid: Duration,
) -> Result<(), EnqueueError> {
    queue.send(job, Duration::ZERO).await?;
    let id = TranscriptId::new(audio, &Variant::of(&job.options));
    transcripts
        .queue(&id, valid, job.dispatch(), job.again_since.is_some())
        .await?;
    Ok(())
}
