//! Transcribing one Twilio recording: under a lease, by a request or by the queue's worker.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    audio::{self, TranscribeError},
    aws::Aws,
    config::{ConfigError, Env},
    queue::{Job, Queue, QueueError},
    retry::with_retries,
    time::to_seconds,
    transcripts::{
        Claim, Failure, Known, Lease, Speech, Taking, Transcript, TranscriptId, Transcripts, TranscriptsError, Variant,
    },
    twilio::{AccountSid, Recording, RecordingSid, StatusGroup, Twilio, TwilioError},
    whisper::{Options, Segment, Whisper, Word, price_per_minute},
};

/// Tries within one invocation, the first included.
const ATTEMPTS: u32 = 3;
/// A lease outlives its invocation by this, so that nobody takes over while the result is being written.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// How long a queued job counts as queued. After that its message is lost, and the next request may queue it again.
pub const QUEUED_VALID: Duration = Duration::from_secs(6 * 3600);

/// What it takes to transcribe.
pub struct Transcriber {
    /// Twilio.
    pub twilio: Twilio,
    /// The transcription API.
    pub whisper: Whisper,
    /// The table.
    pub transcripts: Transcripts,
    /// The queue.
    pub queue: Queue,
}

/// How a try to transcribe under the lease ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a transcript, new or stored (`true`).
    Completed(Box<Transcript>, bool),
    /// Someone else is at work, at most until then.
    Busy(Timestamp),
    /// It waits in the queue.
    Queued,
    /// Time ran out before the API answered; the lease is still held and must be given back.
    OutOfTime(Lease),
    /// It failed; the lease is still held and must be given back.
    Failed(Lease, Failure),
}

impl Transcriber {
    /// Reads the environment.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            twilio: Twilio::from_env(env, aws)?,
            whisper: Whisper::from_env(env, aws)?,
            transcripts: Transcripts::from_env(env, aws)?,
            queue: Queue::from_env(env, aws)?,
        })
    }

    /// Reads the secrets ahead of the first request.
    pub async fn preload(&self) {
        tokio::join!(self.twilio.preload(), self.whisper.preload());
    }

    /// Takes the lease and transcribes a completed recording.
    pub async fn transcribe(
        &self,
        sid: &RecordingSid,
        recording: &Recording,
        options: &Options,
        taking: Taking,
        deadline: Instant,
    ) -> Result<Outcome, TranscriptsError> {
        let id = TranscriptId::twilio(sid, &Variant::of(options));
        let lease_end = Timestamp::now() + deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
        let lease = match self.transcripts.claim(&id, taking, lease_end).await? {
            Claim::Granted(lease) => lease,
            Claim::Refused(Known::Completed(transcript)) => return Ok(Outcome::Completed(transcript, true)),
            Claim::Refused(Known::InProgress { until }) => return Ok(Outcome::Busy(until)),
            Claim::Refused(Known::Queued) => return Ok(Outcome::Queued),
            // It ended between the refusal and its reading; the caller tries again.
            Claim::Refused(Known::Failed(_) | Known::Nothing) => return Ok(Outcome::Busy(Timestamp::now())),
        };
        let heard = with_retries(ATTEMPTS, deadline, || {
            audio::transcribe(&self.twilio, &self.whisper, sid, options, deadline)
        });
        let heard = match heard.await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::warn!(%error, "not transcribed");
                return Ok(match error.is_timeout() {
                    true => Outcome::OutOfTime(lease),
                    false => Outcome::Failed(lease, error.into()),
                });
            }
        };
        let model = options.model.clone().unwrap_or_else(|| self.whisper.model().to_owned());
        let seconds = heard
            .duration
            .or(recording.duration.map(|seconds| seconds as f64))
            .unwrap_or_default();
        let billed_seconds = seconds.ceil() as u64;
        let transcript = Transcript {
            speech: Speech {
                text: heard.text,
                segments: heard.segments,
                words: heard.words,
            },
            language: heard.language,
            audio_seconds: heard.duration,
            billed_seconds,
            // To the hundredth of a cent's hundredth, so that it prints as an amount.
            cost_usd: (billed_seconds as f64 / 60.0 * price_per_minute(&model) * 1e6).round() / 1e6,
            dropped_segments: heard.dropped_segments,
            model,
            completed_at: Timestamp::now(),
            recording_duration: recording.duration,
            recording_created: recording.date_created,
            call_sid: recording.call_sid.clone(),
        };
        match self.transcripts.complete(&lease, &transcript).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the lease was lost; another transcript of this recording is stored"),
            // It is paid for: the caller gets it, though the next one will pay again.
            Err(error) => tracing::error!(%error, "transcript not stored"),
        }
        Ok(Outcome::Completed(Box::new(transcript), false))
    }

    /// Puts a recording into the queue and notes that it is there. In this order: a note without a message would wait for nobody.
    pub async fn enqueue(&self, sid: &RecordingSid, job: &Job, valid: Duration) -> Result<(), EnqueueError> {
        self.queue.send(job, Duration::ZERO).await?;
        let id = TranscriptId::twilio(sid, &Variant::of(&job.options));
        self.transcripts.queue(&id, valid).await?;
        Ok(())
    }
}

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

/// What keeps a recording from being transcribed now; `None` when nothing does.
pub fn obstacle(recording: &Recording, twilio: &Twilio) -> Option<Failure> {
    let status = recording.status.as_str();
    let group = StatusGroup::of(status);
    let failure = |code: &str, message: String, retryable| Failure {
        code: code.into(),
        message,
        retryable,
        retry_after: None,
    };
    if group != StatusGroup::Completed {
        let message = format!("Recording not completed (status={status})");
        return Some(failure(
            "recording_not_completed",
            message,
            group == StatusGroup::InProgress,
        ));
    }
    if recording.encryption_details.is_some() {
        let message = "The recording is encrypted with a key that only its owner has";
        return Some(failure("recording_encrypted", message.into(), false));
    }
    if recording.external_media(twilio).is_some() {
        let message = "Twilio does not have the audio; the recording is in external storage";
        return Some(failure("recording_stored_externally", message.into(), false));
    }
    None
}

/// Seconds that a transcription is expected to take: the API hears some 20 seconds of speech in one.
pub fn estimated_seconds(recording: &Recording) -> u64 {
    3 + recording.duration.unwrap_or_default() / 20
}

impl From<TranscribeError> for Failure {
    fn from(error: TranscribeError) -> Self {
        Self {
            code: error.code().into(),
            message: error.sentence().into(),
            retryable: error.is_transient(),
            retry_after: error.retry_after(),
        }
    }
}

impl From<TwilioError> for Failure {
    fn from(error: TwilioError) -> Self {
        Self {
            code: error.code().into(),
            message: error.sentence().into(),
            retryable: error.is_transient(),
            retry_after: error.retry_after(),
        }
    }
}

/// How much of the times an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// Of stretches of speech.
    Segment,
    /// Of words as well.
    Word,
}

/// The documented answer, a finished transcript, with what it cost.
#[derive(Debug, Serialize)]
pub struct TranscriptBody {
    recording_sid: String,
    audio_url: String,
    transcript: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_details: Option<RecordingDetails>,
    status: &'static str,
    timestamp: String,
    cached: bool,
    language: Option<String>,
    model: String,
    no_speech: bool,
    dropped_segments: usize,
    audio_seconds: Option<f64>,
    billed_seconds: u64,
    cost_usd: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Vec<Segment>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<Vec<Word>>,
}

#[derive(Debug, Serialize)]
struct RecordingDetails {
    status: &'static str,
    duration: Option<u64>,
    date_created: Option<String>,
    call_sid: Option<String>,
}

/// What an answer is to show besides the text.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    /// `recording_details`, given where the recording was named by its SID.
    pub details: bool,
    /// `segments`, and `words`.
    pub timestamps: Option<Timestamps>,
    /// Whether nothing was paid for this answer.
    pub cached: bool,
}

impl TranscriptBody {
    /// The answer for this recording.
    pub fn new(twilio: &Twilio, account: &AccountSid, sid: &RecordingSid, transcript: Transcript, show: Show) -> Self {
        let recording_details = RecordingDetails {
            status: "completed",
            duration: transcript.recording_duration,
            date_created: transcript.recording_created.map(to_seconds),
            call_sid: transcript.call_sid,
        };
        let speech = transcript.speech;
        Self {
            recording_sid: sid.to_string(),
            audio_url: twilio.media_url(account, sid.as_str()),
            no_speech: speech.text.is_empty(),
            transcript: speech.text,
            recording_details: show.details.then_some(recording_details),
            status: "completed",
            timestamp: to_seconds(transcript.completed_at),
            cached: show.cached,
            language: transcript.language,
            model: transcript.model,
            dropped_segments: transcript.dropped_segments,
            audio_seconds: transcript.audio_seconds,
            billed_seconds: transcript.billed_seconds,
            cost_usd: transcript.cost_usd,
            segments: show.timestamps.map(|_| speech.segments),
            words: show
                .timestamps
                .filter(|shown| *shown == Timestamps::Word)
                .map(|_| speech.words),
        }
    }
}

/// Where the state of a recording's transcript can be read, relative to the API's base URL.
pub fn status_url(sid: &RecordingSid, variant: &Variant) -> String {
    match variant.as_str() {
        "default" => format!("/api/twilio/transcript/{sid}"),
        variant => format!("/api/twilio/transcript/{sid}?variant={variant}"),
    }
}
