//! The SQS queue of transcriptions that outlast a request.

use std::time::Duration;

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    aws::{Aws, causes},
    config::{ConfigError, Env},
    whisper::Options,
};

/// SQS holds a message back for at most this long.
const MAX_DELAY: Duration = Duration::from_secs(900);

/// One message: a recording to transcribe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The recording.
    pub recording_sid: String,
    /// How it is to be transcribed.
    #[serde(default)]
    pub options: Options,
    /// Pay again for a transcript that was completed before this time.
    #[serde(default)]
    pub again_since: Option<Timestamp>,
    /// How often it has been tried before.
    #[serde(default)]
    pub attempts: u32,
    /// Until when to wait for a call that is not over yet; absent: not at all.
    #[serde(default)]
    pub wait_until: Option<Timestamp>,
}

/// Why a job could not be put into the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// SQS did not take it.
    #[error("the transcription queue did not answer: {0}")]
    Unavailable(String),
    /// It can't be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The transcription queue.
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// Reads `TRANSCRIPTION_QUEUE_URL`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            client: aws.sqs(),
            url: env.required("TRANSCRIPTION_QUEUE_URL")?.to_owned(),
        })
    }

    /// Puts a job into the queue, to be received after `delay` (15 minutes at most).
    pub async fn send(&self, job: &Job, delay: Duration) -> Result<(), QueueError> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(serde_json::to_string(job)?)
            .delay_seconds(delay.min(MAX_DELAY).as_secs() as i32)
            .send()
            .await
            .map_err(|error| QueueError::Unavailable(causes(&error)))?;
        Ok(())
    }
}
