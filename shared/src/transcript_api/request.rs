//! The processing of a `POST` for a transcript.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::options::TranscriptOptions;
use crate::{
    clients::queue::Job,
    http::{ApiError, ApiRequest, ErrorFormat},
    retry::backoff,
    transcription::{
        EnqueueError, PipelineOutcome, QUEUED_VALID, RecordingSource, Transcriber, enqueue, estimated_seconds,
    },
    transcripts::{
        AudioId, ClaimPolicy, Failure, LEASE_OVER, Transcript, TranscriptId, TranscriptState, Variant, usage::Cost,
    },
};

/// The maximum time that a job waits for its call to end.
const MAX_CALL_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A lease that expires this long after a request's deadline belongs to the worker and not to another request.
const WORKER_LEASE_MARGIN: Duration = Duration::from_secs(30);
/// Time reserved before a request's deadline for sending an unfinished job to the queue.
const HANDOVER_MARGIN: Duration = Duration::from_secs(2);
/// The maximum time that a job waits for a recording that Twilio does not have yet.
const MAX_RECORDING_WAIT: Duration = Duration::from_secs(600);

/// A request for a transcript.
pub struct TranscriptRequest<'a> {
    request: &'a ApiRequest,
    format: ErrorFormat,
    options: &'a TranscriptOptions,
    /// The job that is sent to the queue if the request can't be completed.
    job: Job,
    audio: AudioId,
}

/// The result of looking up a stored transcript.
pub enum Stored {
    /// The stored transcript answers the request, and costs nothing. What it would have cost counts as avoided when it is sent.
    Completed(Box<Transcript>),
    /// The request asks for the price of the stored transcript.
    Estimated(RequestOutcome),
    /// The request must transcribe or wait. Contains the state of the transcript.
    Pending(TranscriptState),
}

/// The outcome of a request for a transcript.
pub enum RequestOutcome {
    /// 200 with the transcript; `true` if it was already stored and not paid for now.
    Completed(Box<Transcript>, bool),
    /// 202: the transcript will be ready later.
    Accepted {
        /// The estimated number of seconds until then.
        estimated_seconds: u64,
    },
    /// 200 with the estimated price.
    Estimated(Estimate),
}

/// The estimated price of a transcript.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Estimate {
    /// Whether the transcript is already stored, so that it costs nothing.
    cached: bool,
    /// The model that would be used.
    model: String,
    /// Length of the recording in seconds; `null` if it is not known.
    audio_seconds: Option<u64>,
    /// The maximum number of billed seconds: the whole recording including silence, on each channel that is transcribed separately. A LiveKit
    /// recording may have two channels.
    billed_seconds: Option<u64>,
    /// The price of the billed seconds in US dollars.
    cost_usd: Option<f64>,
    /// The remaining monthly budget in US dollars; `null` if there is no budget.
    budget_left_usd: Option<f64>,
}

impl<'a> TranscriptRequest<'a> {
    /// A request, the format of its errors, its options, what would go into the queue for it, and the audio that it is about.
    pub fn new(
        request: &'a ApiRequest,
        format: ErrorFormat,
        options: &'a TranscriptOptions,
        job: Job,
        audio: AudioId,
    ) -> Self {
        let again_since = (options.force == Some(true)).then(Timestamp::now);
        let job = Job { again_since, ..job };
        Self {
            request,
            format,
            options,
            job,
            audio,
        }
    }

    fn transcript_id(&self) -> TranscriptId {
        TranscriptId::new(&self.audio, &Variant::of(&self.job.options))
    }

    /// What is known of the transcript: the outcome, where it answers the request, else the state.
    pub async fn stored(&self, transcriber: &Transcriber, known: TranscriptState) -> Result<Stored, ApiError> {
        let (Some(transcript), None) = (known.stored(), self.job.again_since) else {
            return Ok(Stored::Pending(known));
        };
        if self.options.is_dry_run() {
            let recorded = transcript.recording_duration;
            let recorded = recorded.or(transcript.audio_seconds.map(|seconds| seconds.ceil() as u64));
            return Ok(Stored::Estimated(self.estimated(transcriber, recorded, None).await?));
        }
        // The invocation that stored it may have ended before the index had it. Version 0.1 did not store the call of Twilio's recordings.
        if matches!(self.audio, AudioId::Object(_)) || transcript.call_sid.is_some() {
            let call_sid = transcript.call_sid.as_deref();
            transcriber.mark_in_index(&self.audio, call_sid).await;
        }
        Ok(Stored::Completed(Box::new(transcript.clone())))
    }

    /// Transcribes within the request if there is time, and otherwise sends the job to the queue. `audit` is awaited when nothing refuses the request
    /// any more, and before anything is paid for or sent.
    pub async fn transcribe_or_enqueue(
        &self,
        transcriber: &Transcriber,
        source: &RecordingSource<'_>,
        known: &TranscriptState,
        audit: impl Future<Output = Result<(), ApiError>>,
    ) -> Result<RequestOutcome, ApiError> {
        if self.options.is_dry_run() {
            return self.estimated(transcriber, source.seconds, Some(source.channels)).await;
        }
        let accepted = Ok(RequestOutcome::Accepted {
            estimated_seconds: estimated_seconds(source.seconds),
        });
        if let TranscriptState::Queued {
            dispatch, is_overdue, ..
        } = known
        {
            // The job of another call follows that call's recording, which need not stay this one.
            let is_of_other = dispatch
                .as_ref()
                .is_some_and(|dispatch| dispatch != self.job.dispatch());
            audit.await?;
            if is_of_other || self.sends_again(*is_overdue) {
                self.enqueue(transcriber, QUEUED_VALID).await?;
            }
            return accepted;
        }
        let leased_until = match known {
            TranscriptState::InProgress { until, .. } => Some(*until),
            _ => None,
        };
        if leased_until.is_none() {
            self.check_budget(transcriber, source).await?;
        }
        audit.await?;
        let time_left = self.request.deadline.saturating_duration_since(Instant::now());
        // A recording of unknown length goes to the queue, because it would have to be decoded to measure it.
        let seconds = source.seconds.map(|seconds| estimated_seconds(Some(seconds)));
        let fits = seconds.is_some_and(|seconds| Duration::from_secs(seconds) < time_left.mul_f64(0.75));
        if self.request.prefers("respond-async") || !fits {
            match leased_until {
                None => self.enqueue(transcriber, QUEUED_VALID).await?,
                Some(until) => self.send_lease_check(transcriber, until).await?,
            }
            return accepted;
        }
        match self.transcribe(transcriber, source).await? {
            Some((transcript, cached)) => Ok(RequestOutcome::Completed(Box::new(transcript), cached)),
            None => accepted,
        }
    }

    /// Whether a queued job is sent again: its message may be lost, or the request asks for a new transcript.
    fn sends_again(&self, is_overdue: bool) -> bool {
        is_overdue || self.job.again_since.is_some()
    }

    /// Queues a recording whose call has not ended (for up to a day) or that Twilio does not have yet (for up to ten minutes). `audit` is awaited
    /// before that.
    pub async fn wait(
        mut self,
        transcriber: &Transcriber,
        seconds: Option<u64>,
        known: &TranscriptState,
        audit: impl Future<Output = Result<(), ApiError>>,
    ) -> Result<RequestOutcome, ApiError> {
        if self.options.is_dry_run() {
            return self.estimated(transcriber, seconds, Some(2)).await;
        }
        audit.await?;
        let is_pending = match known {
            TranscriptState::Queued { is_overdue, .. } => !self.sends_again(*is_overdue),
            TranscriptState::InProgress { .. } => true,
            _ => false,
        };
        if !is_pending {
            let now = Timestamp::now();
            self.job.wait_until = Some(now + MAX_CALL_WAIT);
            self.job.appears_until = Some(now + MAX_RECORDING_WAIT);
            self.enqueue(transcriber, QUEUED_VALID + MAX_CALL_WAIT).await?;
        }
        Ok(RequestOutcome::Accepted {
            estimated_seconds: estimated_seconds(seconds),
        })
    }

    /// Sends a lease check that is received after the lease of another request expires, because that request may have been killed. For its own
    /// leases the worker sends lease checks itself.
    async fn send_lease_check(&self, transcriber: &Transcriber, until: Timestamp) -> Result<(), ApiError> {
        let left = until.duration_since(Timestamp::now());
        if left.is_negative() || left.unsigned_abs() > WORKER_LEASE_MARGIN * 2 {
            return Ok(());
        }
        let lease_check = Job {
            lease_check: true,
            ..self.job.clone()
        };
        let sent = transcriber
            .queue
            .send(&lease_check, left.unsigned_abs() + LEASE_OVER)
            .await;
        Ok(sent.map_err(EnqueueError::from)?)
    }

    /// The error for a transcription that failed. A model that does not exist is the caller's mistake if the request named it.
    fn failed(&self, failure: Failure) -> ApiError {
        match &self.job.options.model {
            Some(model) if failure.code == "whisper_model_not_found" => ApiError::bad_request(
                failure.code,
                format!("model must be a model of the transcription API, which does not have {model:?}."),
            ),
            _ => ApiError::not_transcribed(self.format, failure),
        }
    }

    async fn enqueue(&self, transcriber: &Transcriber, valid: Duration) -> Result<(), ApiError> {
        let Transcriber { queue, transcripts, .. } = transcriber;
        Ok(enqueue(queue, transcripts, &self.job, &self.audio, valid).await?)
    }

    /// Transcribes the recording. Returns the transcript and whether another process made it, or `None` if it will be ready later.
    async fn transcribe(
        &self,
        transcriber: &Transcriber,
        source: &RecordingSource<'_>,
    ) -> Result<Option<(Transcript, bool)>, ApiError> {
        let job = &self.job;
        // Leaves time to send an unfinished job to the queue.
        let deadline = self.request.deadline - HANDOVER_MARGIN;
        let id = self.transcript_id();
        let policy = ClaimPolicy {
            queued: false,
            completed: job.again_since.is_some(),
        };
        let mut waits = 0;
        loop {
            let outcome = transcriber.transcribe(source, &job.options, policy, deadline);
            match outcome.await? {
                PipelineOutcome::Completed(transcript, cached) => {
                    if cached {
                        transcriber.usage.count_avoided(Cost::of_stored(&transcript)).await;
                    }
                    return Ok(Some((*transcript, cached)));
                }
                PipelineOutcome::Queued => return Ok(None),
                PipelineOutcome::OutOfTime(lease, _) => {
                    // The worker has more time. If the job can't be sent, the lease expires and the next request starts again.
                    let sent = transcriber.queue.send(job, Duration::ZERO).await;
                    sent.map_err(EnqueueError::from)?;
                    transcriber.transcripts.requeue(&lease, job, QUEUED_VALID).await?;
                    return Ok(None);
                }
                PipelineOutcome::Failed(lease, failure, _) => {
                    if let Err(error) = transcriber.transcripts.fail(&lease, &failure).await {
                        tracing::warn!(%error, "the lease could not be released; it will expire");
                    }
                    return Err(self.failed(failure));
                }
                PipelineOutcome::Busy(until) => {
                    waits += 1;
                    let pause = backoff(waits);
                    let time_left = self.request.deadline.saturating_duration_since(Instant::now());
                    // The lease belongs to the worker and lasts longer than a request can wait.
                    let is_worker_lease = until > Timestamp::now() + time_left + WORKER_LEASE_MARGIN;
                    if pause >= time_left || is_worker_lease {
                        self.send_lease_check(transcriber, until).await?;
                        return Ok(None);
                    }
                    tokio::time::sleep(pause).await;
                    match (transcriber.transcripts.get(&id).await?, job.again_since) {
                        // Another process completed a paid transcript after this request arrived, so it is new enough.
                        (TranscriptState::Completed(transcript), Some(since))
                            if transcript.is_completed_since(since) =>
                        {
                            return Ok(Some((*transcript, true)));
                        }
                        // A permanent failure would occur again.
                        (TranscriptState::Failed(failure), _) if !failure.retryable => {
                            return Err(self.failed(failure));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Estimates the price for a recording of this length and number of channels. `channels` is `None` for a stored transcript, which costs
    /// nothing.
    async fn estimated(
        &self,
        transcriber: &Transcriber,
        seconds: Option<u64>,
        channels: Option<u32>,
    ) -> Result<RequestOutcome, ApiError> {
        let options = &self.job.options;
        let model = options.model.as_deref().unwrap_or(transcriber.whisper.model());
        let price = transcriber.whisper.price_per_minute(model);
        let cost = match channels {
            None => Some(Cost::default()),
            Some(channels) => {
                let billed_channels = if options.mixed { 1 } else { channels };
                seconds.map(|seconds| Cost::of(seconds as f64 * f64::from(billed_channels), price))
            }
        };
        let month = transcriber.usage.current_month().await?;
        Ok(RequestOutcome::Estimated(Estimate {
            cached: channels.is_none(),
            model: model.to_owned(),
            audio_seconds: seconds,
            billed_seconds: cost.map(|cost| cost.seconds),
            cost_usd: cost.map(Cost::usd),
            budget_left_usd: month.budget_left_usd,
        }))
    }

    /// Rejects a request that exceeds the budget immediately, so that its job does not fail later.
    async fn check_budget(&self, transcriber: &Transcriber, source: &RecordingSource<'_>) -> Result<(), ApiError> {
        if !transcriber.usage.has_budget() {
            return Ok(());
        }
        let options = &self.job.options;
        let model = options.model.as_deref().unwrap_or(transcriber.whisper.model());
        let price = transcriber.whisper.price_per_minute(model);
        let cost = Cost::of(source.seconds.unwrap_or_default() as f64, price).usd();
        let month = transcriber.usage.current_month().await?;
        match month.budget_left_usd {
            Some(left) if left < cost || left <= 0.0 => {
                // Another request may have reserved the price for the same recording.
                let id = self.transcript_id();
                if !matches!(
                    transcriber.transcripts.get(&id).await?,
                    TranscriptState::Absent | TranscriptState::Failed(_)
                ) {
                    return Ok(());
                }
                let budget = month.budget_usd.unwrap_or_default();
                let details = format!(
                    "The transcript would cost about ${cost:.4}; ${left:.4} of this month's budget of ${budget} is left."
                );
                Err(ApiError::over_budget(self.format, &details))
            }
            _ => Ok(()),
        }
    }
}
