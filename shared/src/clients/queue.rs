//! The SQS queue of transcriptions that outlast a request.

use std::time::Duration;

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        aws::{Aws, causes},
        bucket::RecordingRef,
        twilio::RecordingSid,
        whisper::WhisperOptions,
    },
    config::{ConfigError, Env},
    ids::DispatchId,
};

/// SQS holds a message back for at most this long.
pub const MAX_DELAY: Duration = Duration::from_secs(900);

/// Which recording: in JSON `{"recording_sid": "RE…"}` or `{"dispatch_id": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordingId {
    /// Twilio's.
    #[serde(rename = "recording_sid")]
    Twilio(RecordingSid),
    /// LiveKit's, of this dispatch.
    #[serde(rename = "dispatch_id")]
    Egress(DispatchId),
}

/// One message: a recording to transcribe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The recording.
    #[serde(flatten)]
    pub recording: RecordingId,
    /// How it is to be transcribed.
    #[serde(default)]
    pub options: WhisperOptions,
    /// Pay again for a transcript that was completed before this time.
    #[serde(default)]
    pub again_since: Option<Timestamp>,
    /// The call's recording when the job was queued, whose transcript's state says so. The worker transcribes the one that the call has then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<RecordingRef>,
    /// How often it has been tried before.
    #[serde(default)]
    pub attempts: u32,
    /// It is there in case whoever has the lease dies: to be done only if the lease has ended without a word.
    #[serde(default)]
    pub lease_check: bool,
    /// Until when to wait for a call that is not over yet; absent: not at all.
    #[serde(default)]
    pub wait_until: Option<Timestamp>,
    /// Until when to wait for a recording that Twilio does not know yet; absent: not at all.
    #[serde(default)]
    pub appears_until: Option<Timestamp>,
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

impl Job {
    /// A new job.
    pub fn new(recording: RecordingId, options: WhisperOptions) -> Self {
        Self {
            recording,
            options,
            again_since: None,
            object: None,
            attempts: 0,
            lease_check: false,
            wait_until: None,
            appears_until: None,
        }
    }
}

impl Job {
    /// The dispatch whose recording it is for; empty for a Twilio recording.
    pub fn dispatch(&self) -> &str {
        match &self.recording {
            RecordingId::Egress(dispatch) => dispatch.as_str(),
            RecordingId::Twilio(_) => "",
        }
    }
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
