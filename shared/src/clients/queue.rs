//! The SQS queues of transcriptions and copies.

use std::time::Duration;

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        aws::{Aws, cause},
        bucket::RecordingRef,
        twilio::RecordingSid,
        whisper::WhisperOptions,
    },
    config::{ConfigError, Env},
    ids::DispatchId,
    invocation,
    log::json_error,
};

/// The maximum delay of an SQS message.
pub const MAX_DELAY: Duration = Duration::from_secs(900);

/// The recording of a job: in JSON `{"recording_sid": "RE…"}` or `{"dispatch_id": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordingId {
    /// A Twilio recording.
    #[serde(rename = "recording_sid")]
    Twilio(RecordingSid),
    /// The LiveKit egress recording of this dispatch.
    #[serde(rename = "dispatch_id")]
    Egress(DispatchId),
}

/// A message of the queue: a recording to transcribe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The recording to transcribe.
    #[serde(flatten)]
    pub recording: RecordingId,
    /// The options for Whisper.
    #[serde(default)]
    pub options: WhisperOptions,
    /// Replace a transcript that was completed before this time.
    #[serde(default)]
    pub again_since: Option<Timestamp>,
    /// The call's recording when the job was queued, whose transcript's state says so. The worker transcribes the one that the call has then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<RecordingRef>,
    /// How often it has been tried before.
    #[serde(default)]
    pub attempts: u32,
    /// A second message of a job, for the case that the process that holds the lease is killed. The worker does the job only if the lease has
    /// expired without a result.
    #[serde(default)]
    pub lease_check: bool,
    /// Until when to wait for a call that has not ended; absent: do not wait.
    #[serde(default)]
    pub wait_until: Option<Timestamp>,
    /// Until when to wait for a recording that Twilio does not have yet; absent: do not wait.
    #[serde(default)]
    pub appears_until: Option<Timestamp>,
    /// The seconds that it has waited so far.
    #[serde(default)]
    pub waited: u64,
    /// The request that caused it, for the log. A message of an earlier version has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Why a job could not be sent to the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// SQS did not accept the message.
    #[error("the queue did not answer: {0}")]
    Unavailable(String),
    /// A message can't be written or read as JSON.
    #[error("the message can't be used: {0}")]
    Json(String),
}

impl From<serde_json::Error> for QueueError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(json_error(&error))
    }
}

/// A Twilio recording to copy into the bucket: a message of the queue of copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyMessage {
    /// The recording.
    pub recording_sid: RecordingSid,
    /// How often it has been tried before.
    #[serde(default)]
    pub attempts: u32,
    /// Whether the copied recording is to be deleted at Twilio.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// The request that caused it, for the log. A message of an earlier version has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// An erasure to work on: a message of the queue of erasures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureMessage {
    /// The erasure.
    pub erasure_id: String,
    /// The request that caused it, for the log. A message of an earlier version has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A queue.
pub struct Queue {
    client: Client,
    url: String,
}

impl Job {
    /// A job for the first attempt.
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
            waited: 0,
            request_id: invocation::request_id(),
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
    /// The queue of transcriptions. Reads `TRANSCRIPTION_QUEUE_URL`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Self::named(env, aws, "TRANSCRIPTION_QUEUE_URL")
    }

    /// The queue whose URL this variable has.
    pub fn named(env: &Env, aws: &Aws, variable: &'static str) -> Result<Self, ConfigError> {
        Ok(Self {
            client: aws.sqs(),
            url: env.required(variable)?.to_owned(),
        })
    }

    /// Sends a message to the queue, to be received after `delay` (at most 15 minutes).
    pub async fn send<T: Serialize>(&self, message: &T, delay: Duration) -> Result<(), QueueError> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(serde_json::to_string(message)?)
            .delay_seconds(delay.min(MAX_DELAY).as_secs() as i32)
            .send()
            .await
            .map_err(|error| QueueError::Unavailable(cause(&error)))?;
        Ok(())
    }
}
/// The number of messages in a queue, as SQS counts them: approximately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueLength {
    /// Messages that can be received now.
    pub waiting: u64,
    /// Messages that can be received later.
    pub delayed: u64,
    /// Messages that are being processed.
    pub in_progress: u64,
}

/// Asks SQS how long queues are.
pub struct QueueLengths(Client);

impl QueueLengths {
    /// The client of this deployment.
    pub fn new(aws: &Aws) -> Self {
        Self(aws.sqs())
    }

    /// The length of the queue with this URL.
    pub async fn of(&self, url: &str) -> Result<QueueLength, QueueError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InProgress,
        };
        let query = self.0.get_queue_attributes().queue_url(url);
        let query = query
            .attribute_names(Visible)
            .attribute_names(Delayed)
            .attribute_names(InProgress);
        let found = query
            .send()
            .await
            .map_err(|error| QueueError::Unavailable(cause(&error)))?;
        let number = |name: &QueueAttributeName| {
            let text = found.attributes().and_then(|attributes| attributes.get(name));
            text.and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| QueueError::Unavailable(format!("no {name}")))
        };
        Ok(QueueLength {
            waiting: number(&Visible)?,
            delayed: number(&Delayed)?,
            in_progress: number(&InProgress)?,
        })
    }
}
