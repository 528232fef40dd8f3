//! The transcription of one recording under its lease, and the storing of the result.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    error::TranscribeError,
    source::RecordingSource,
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
/// Retries of all parts of a recording together, within one invocation.
const RETRIES: u32 = 30;
/// A lease outlives its invocation by this, so that nobody takes over while the result is being written.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// How a try to transcribe under the lease ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a transcript, new or stored (`true`).
    Completed(Box<Transcript>, bool),
    /// Someone else is at work, at most until then.
    Busy(Timestamp),
    /// It waits in the queue.
    Queued,
    /// Time ran out, perhaps after some parts (`true`); the lease is still held and must be given back.
    OutOfTime(Lease, bool),
    /// It failed, perhaps after some parts (`true`); the lease is still held and must be given back.
    Failed(Lease, Failure, bool),
}

impl Transcriber {
    /// Takes the lease and transcribes.
    pub async fn transcribe(
        &self,
        source: &RecordingSource<'_>,
        options: &WhisperOptions,
        policy: ClaimPolicy,
        deadline: Instant,
    ) -> Result<Outcome, TranscriptsError> {
        let id = TranscriptId::new(&source.audio, &Variant::of(options));
        let lease_end = Timestamp::now() + deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
        let lease = match self.transcripts.claim(&id, policy, lease_end).await? {
            ClaimResult::Granted(lease) => lease,
            ClaimResult::Refused(TranscriptState::Completed(transcript) | TranscriptState::Stale(transcript)) => {
                self.mark_in_index(source).await;
                return Ok(Outcome::Completed(transcript, true));
            }
            ClaimResult::Refused(TranscriptState::InProgress { until, .. }) => return Ok(Outcome::Busy(until)),
            ClaimResult::Refused(TranscriptState::Queued { .. }) => return Ok(Outcome::Queued),
            // It ended between the refusal and its reading; the caller tries again.
            ClaimResult::Refused(TranscriptState::Failed(_) | TranscriptState::Absent) => {
                return Ok(Outcome::Busy(Timestamp::now()));
            }
        };
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
                    TranscribeError::LeaseLost => Outcome::Busy(Timestamp::now()),
                    error if error.is_timeout() => Outcome::OutOfTime(lease, added),
                    error => Outcome::Failed(lease, error.into(), added),
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
                // It is paid for: the caller gets it, though the next one will pay again.
                Err(error) => {
                    tracing::error!(%error, "transcript not stored");
                    return Ok(Outcome::Completed(Box::new(transcript), false));
                }
            }
        }
        self.mark_in_index(source).await;
        Ok(Outcome::Completed(Box::new(transcript), false))
    }

    /// Shows in the index that there is a transcript, which does not depend on it.
    async fn mark_in_index(&self, source: &RecordingSource<'_>) {
        let marked = match &source.audio {
            AudioId::Object(recording) => self.calls.mark_object_transcribed(recording).await,
            AudioId::Twilio(sid) => {
                let call = source.call_sid.as_deref().unwrap_or(sid.as_str());
                self.calls.mark_twilio_transcribed(call, sid.as_str()).await
            }
        };
        if let Err(error) = marked {
            tracing::warn!(%error, "the index does not show that the call has a transcript");
        }
    }
}

/// Seconds that a transcription is expected to take. The API hears some 20 seconds of speech in one; the parts of a long recording go side
/// by side, after it has been read.
pub fn estimated_seconds(recorded: Option<u64>) -> u64 {
    let recorded = recorded.unwrap_or_default();
    let part = PART.as_secs();
    match recorded <= part {
        true => 3 + recorded / 20,
        false => 3 + part / 20 + (recorded - part) / 200,
    }
}
