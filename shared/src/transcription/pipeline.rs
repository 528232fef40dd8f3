//! The transcription of one recording under its lease, and the storing of the result.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    error::TranscribeError,
    source::RecordingSource,
    vocabulary::{needs_customer_name, with_customer_name},
    work::{PART, Transcriber, Work},
};
use crate::{
    clients::whisper::WhisperOptions,
    retry::{RetryBudget, backoff},
    transcripts::{
        AudioId, ClaimPolicy, ClaimResult, Failure, Lease, Transcript, TranscriptId, TranscriptState, TranscriptsError,
        Variant, usage::Cost,
    },
};

/// Attempts to store a transcript, the first included.
const ATTEMPTS: u32 = 3;
/// The retries that all parts of a recording share within one invocation.
const RETRIES: u32 = 30;
/// The lease expires this long after the invocation's deadline, so that no other worker claims it while the result is being stored.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// A transcript that is stored does not wait longer for its mark in the index.
const MARKING: Duration = Duration::from_secs(3);

/// The outcome of an attempt to transcribe.
#[derive(Debug)]
pub enum PipelineOutcome {
    /// A transcript; `true` if it was already stored.
    Completed(Box<Transcript>, bool),
    /// Another process holds the lease, at most until this time.
    Busy(Timestamp),
    /// A job for it waits in the queue.
    Queued,
    /// The deadline was reached. `true` if parts were stored before. The caller still holds the lease and must release it.
    OutOfTime(Lease, bool),
    /// The attempt failed. `true` if parts were stored before. The caller still holds the lease and must release it.
    Failed(Lease, Failure, bool),
}

impl Transcriber {
    /// Claims the lease and transcribes the recording.
    pub async fn transcribe(
        &self,
        source: &RecordingSource<'_>,
        options: &WhisperOptions,
        policy: ClaimPolicy,
        deadline: Instant,
    ) -> Result<PipelineOutcome, TranscriptsError> {
        let id = TranscriptId::new(&source.audio, &Variant::of(options));
        let lease_end = Timestamp::now() + deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
        let lease = match self.transcripts.claim(&id, policy, lease_end).await? {
            ClaimResult::Granted(lease) => lease,
            ClaimResult::Refused(TranscriptState::Completed(transcript) | TranscriptState::Stale(transcript)) => {
                self.mark_in_index(&source.audio, source.call_sid.as_deref()).await;
                return Ok(PipelineOutcome::Completed(transcript, true));
            }
            ClaimResult::Refused(TranscriptState::InProgress { until, .. }) => return Ok(PipelineOutcome::Busy(until)),
            ClaimResult::Refused(TranscriptState::Queued { .. }) => return Ok(PipelineOutcome::Queued),
            // The lease ended after the claim was refused; the caller retries.
            ClaimResult::Refused(TranscriptState::Failed(_) | TranscriptState::Absent) => {
                return Ok(PipelineOutcome::Busy(Timestamp::now()));
            }
        };
        let options = &self.with_customer_name(source, options).await;
        let work = Work {
            source,
            options,
            deadline,
            retries: RetryBudget::new(RETRIES),
        };
        // On the heap: as part of this future it would not fit into the stack of a small thread.
        let (transcribed, added) = Box::pin(self.transcribe_audio(&lease, &work)).await;
        let transcribed = match transcribed {
            Ok(transcribed) => transcribed,
            Err(error) => {
                tracing::warn!(%error, "not transcribed");
                return Ok(match error {
                    TranscribeError::LeaseLost => PipelineOutcome::Busy(Timestamp::now()),
                    error if error.is_timeout() => PipelineOutcome::OutOfTime(lease, added),
                    error => PipelineOutcome::Failed(lease, error.into(), added),
                });
            }
        };
        let model = work.model(self).to_owned();
        let transcript = Transcript {
            speech: transcribed.speech,
            language: transcribed.language,
            audio_seconds: transcribed.audio_seconds,
            billed_seconds: transcribed.billed_seconds,
            cost_usd: Cost::of(transcribed.billed_seconds as f64, self.whisper.price_per_minute(&model)).usd(),
            dropped_segments: transcribed.dropped_segments,
            speakers: transcribed.speakers,
            coverage: transcribed.coverage,
            peaks: transcribed.peaks,
            model,
            completed_at: Timestamp::now(),
            recording_duration: source.seconds,
            recording_created: source.created,
            call_sid: source.call_sid.clone(),
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.transcripts.complete(&lease, &transcript).await {
                Ok(true) => break,
                Ok(false) => {
                    tracing::warn!("the lease was lost; another transcript of this recording is stored");
                    break;
                }
                Err(error) if tries < ATTEMPTS => {
                    tracing::warn!(%error, "transcript not stored yet");
                    tokio::time::sleep(backoff(tries)).await;
                }
                // The transcript is paid for, so the caller gets it although it is not stored and the next request will pay again.
                Err(error) => {
                    tracing::error!(%error, "transcript not stored");
                    return Ok(PipelineOutcome::Completed(Box::new(transcript), false));
                }
            }
        }
        self.mark_in_index(&source.audio, source.call_sid.as_deref()).await;
        Ok(PipelineOutcome::Completed(Box::new(transcript), false))
    }

    /// The options with the customer's name in their prompt. A transcript without the name is better than none, so a failure is only logged.
    async fn with_customer_name(&self, source: &RecordingSource<'_>, options: &WhisperOptions) -> WhisperOptions {
        if !needs_customer_name(options) {
            return options.clone();
        }
        let name = match (&source.customer_name, &source.call_sid) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(call_sid)) => self
                .calls
                .customer_of_twilio_call(call_sid)
                .await
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "the customer's name is not in the prompt");
                    None
                }),
            (None, None) => None,
        };
        with_customer_name(options, name.as_deref())
    }

    /// Marks the recording as transcribed in the index, unless it is already. A failure is only logged, because the transcript is stored; the
    /// next request for it marks it.
    pub async fn mark_in_index(&self, audio: &AudioId, call_sid: Option<&str>) {
        let marking = async {
            match audio {
                AudioId::Object(recording) => self.calls.mark_object_transcribed(recording).await,
                AudioId::Twilio(sid) => {
                    let call = call_sid.unwrap_or(sid.as_str());
                    self.calls.mark_twilio_transcribed(call, sid.as_str()).await
                }
            }
        };
        let error = match tokio::time::timeout(MARKING, marking).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the calls table was too slow".to_owned(),
        };
        tracing::warn!(error, "the index does not show that the call has a transcript");
    }
}

/// The estimated duration of a transcription in seconds. The API processes about 20 seconds of speech per second; the parts of a long recording
/// are transcribed concurrently.
pub fn estimated_seconds(recorded: Option<u64>) -> u64 {
    let recorded = recorded.unwrap_or_default();
    let part = PART.as_secs();
    match recorded <= part {
        true => 3 + recorded / 20,
        false => 3 + part / 20 + (recorded - part) / 200,
    }
}
