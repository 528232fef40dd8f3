//! The SQS queue of transcriptions that outlast a request.

use std::time::Duration;

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    aws::{Aws, causes},
    config::{ConfigError, Env},
    dispatch::DispatchId,
    transcripts::{TranscriptId, Variant},
    twilio::RecordingSid,
    whisper::Options,
};

/// SQS holds a message back for at most this long.
const MAX_DELAY: Duration = Duration::from_secs(900);

/// Which recording: in JSON `{"recording_sid": "RE…"}` or `{"dispatch_id": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Twilio's.
    #[serde(rename = "recording_sid")]
    Twilio(RecordingSid),
    /// LiveKit's, of this dispatch.
    #[serde(rename = "dispatch_id")]
    Egress(DispatchId),
}

impl Source {
    /// The key of its transcript with these options.
    pub fn transcript_id(&self, variant: &Variant) -> TranscriptId {
        match self {
            Self::Twilio(sid) => TranscriptId::twilio(sid, variant),
            Self::Egress(id) => TranscriptId::egress(id, variant),
        }
    }
}

/// One message: a recording to transcribe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The recording.
    #[serde(flatten)]
    pub source: Source,
    /// How it is to be transcribed.
    #[serde(default)]
    pub options: Options,
    /// Pay again for a transcript that was completed before this time.
    #[serde(default)]
    pub again_since: Option<Timestamp>,
    /// How often it has been tried before.
    #[serde(default)]
    pub attempts: u32,
    /// It is there in case whoever has the lease dies: to be done only if the lease has ended without a word.
    #[serde(default)]
    pub watch: bool,
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
    pub fn new(source: Source, options: Options) -> Self {
        Self {
            source,
            options,
            again_since: None,
            attempts: 0,
            watch: false,
            wait_until: None,
            appears_until: None,
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
