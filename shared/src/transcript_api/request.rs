//! What a `POST` for a transcript asks for, and how far a request takes it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::time::Instant;

use crate::{
    clients::{queue::Job, whisper::WhisperOptions},
    http::{ApiError, ApiRequest, ErrorFormat},
    retry::backoff,
    transcription::{EnqueueError, Outcome, QUEUED_VALID, RecordingSource, Transcriber, enqueue, estimated_seconds},
    transcripts::{ClaimPolicy, LEASE_OVER, Transcript, TranscriptId, TranscriptState, Variant, usage::Cost},
};

/// How long a job waits for the end of its call.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A lease that outlasts a request by this is the queue's worker's, not that of another request.
const WORKERS_LEASE: Duration = Duration::from_secs(30);
/// Kept back from a request's deadline, for what is not done by then to be handed to the queue.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long a job waits for a recording that Twilio does not know yet.
const LONGEST_ABSENCE: Duration = Duration::from_secs(600);

/// How much of the times an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// Of stretches of speech.
    Segment,
    /// Of words as well.
    Word,
}

/// The fields that every request for a transcript may have.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TranscriptOptions {
    /// ISO 639-1 code of the language. Without it the model detects the language.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z]{2}$", example = "en"))]
    language: Option<String>,
    /// Text that guides the model, such as names that occur in the call.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 1000))]
    prompt: Option<String>,
    /// Transcription model. Without it, the deployment's.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^[A-Za-z0-9_./:-]{1,100}$", example = "whisper-1")
    )]
    model: Option<String>,
    /// What the answer shows.
    pub timestamps: Option<Timestamps>,
    /// Whether two channels are told apart, which they are unless this is `false`.
    speakers: Option<bool>,
    /// Pay again, for a new transcript.
    force: Option<bool>,
    /// Say what it would cost, and do nothing.
    dry_run: Option<bool>,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    unknown: BTreeMap<String, IgnoredAny>,
}

impl TranscriptOptions {
    /// What the API is asked for, checked. `others` are the names of the request's further fields, for the error about an unknown one.
    pub fn options(&self, others: &str) -> Result<WhisperOptions, ApiError> {
        let refused = |sentence: &str| ApiError::bad_request("invalid_parameter", sentence);
        if let Some(name) = self.unknown.keys().next() {
            let name: String = name.chars().take(64).collect();
            return Err(ApiError::bad_request(
                "invalid_body",
                format!(
                    "The body can't be used: unknown field {name:?}, expected one of {others}language, prompt, model, timestamps, speakers, \
                 force, dry_run."
                ),
            ));
        }
        let is_code = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
        if self.language.as_deref().is_some_and(|language| !is_code(language)) {
            return Err(refused(
                "language must be an ISO 639-1 code of two lower-case letters, such as en.",
            ));
        }
        let is_prompt = |text: &str| (1..=1000).contains(&text.chars().count());
        if self.prompt.as_deref().is_some_and(|prompt| !is_prompt(prompt)) {
            return Err(refused("prompt must have 1 to 1000 characters."));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        let is_model = |text: &str| (1..=100).contains(&text.len()) && text.bytes().all(allowed);
        if self.model.as_deref().is_some_and(|model| !is_model(model)) {
            return Err(refused(
                "model must be the name of a transcription model, such as whisper-1.",
            ));
        }
        Ok(WhisperOptions {
            language: self.language.clone(),
            prompt: self.prompt.clone(),
            model: self.model.clone(),
            mixed: self.speakers == Some(false),
        })
    }
}

/// One request for a transcript.
pub struct TranscriptRequest<'a> {
    request: &'a ApiRequest,
    format: ErrorFormat,
    options: &'a TranscriptOptions,
    /// What would go into the queue.
    job: Job,
}

/// What the table has for a request.
pub enum Stored {
    /// The outcome of the request.
    Answers(RequestOutcome),
    /// The state of a transcript that the request has to be transcribed for, or to wait for.
    Pending(TranscriptState),
}

/// How a request for a transcript is answered.
pub enum RequestOutcome {
    /// 200: with the transcript; `true` when nothing was paid for it now.
    Completed(Box<Transcript>, bool),
    /// 202: later.
    Accepted {
        /// Seconds until then, about.
        estimated_seconds: u64,
    },
    /// 200: with what it would cost.
    Estimated(Estimate),
}

/// What a transcript would cost.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Estimate {
    /// Whether it is stored already, and would cost nothing.
    cached: bool,
    /// The model that would transcribe.
    model: String,
    /// Length of the recording in seconds; `null` while it is not known.
    audio_seconds: Option<u64>,
    /// The most that would be paid for: all of it, silence included, on each channel that is transcribed on its own. A call over LiveKit may have
    /// two.
    billed_seconds: Option<u64>,
    /// Its price in US dollars.
    cost_usd: Option<f64>,
    /// What is left of the month's budget; `null` without a budget.
    budget_left_usd: Option<f64>,
}

impl<'a> TranscriptRequest<'a> {
    /// A request, the format of its errors, its options, and what would go into the queue for it.
    pub fn new(request: &'a ApiRequest, format: ErrorFormat, options: &'a TranscriptOptions, job: Job) -> Self {
        let again_since = (options.force == Some(true)).then(Timestamp::now);
        let job = Job { again_since, ..job };
        Self {
            request,
            format,
            options,
            job,
        }
    }

    fn transcript_id(&self) -> TranscriptId {
        TranscriptId::new(&self.job.recording, &Variant::of(&self.job.options))
    }

    /// What the table has: the outcome, where it answers the request, else the state.
    pub async fn stored(&self, transcriber: &Transcriber) -> Result<Stored, ApiError> {
        let id = self.transcript_id();
        let known = transcriber.transcripts.get(&id).await?;
        let (TranscriptState::Completed(transcript) | TranscriptState::Stale(transcript), None) =
            (&known, self.job.again_since)
        else {
            return Ok(Stored::Pending(known));
        };
        if self.options.dry_run == Some(true) {
            let recorded = transcript.recording_duration;
            let recorded = recorded.or(transcript.audio_seconds.map(|seconds| seconds.ceil() as u64));
            return Ok(Stored::Answers(self.estimated(transcriber, recorded, None).await?));
        }
        transcriber.usage.avoided(Cost::of_stored(transcript)).await;
        Ok(Stored::Answers(RequestOutcome::Completed(transcript.clone(), true)))
    }

    /// Transcribes if that fits into the request, and queues the recording if not.
    pub async fn transcribe_or_enqueue(
        self,
        transcriber: &Transcriber,
        source: &RecordingSource<'_>,
        known: &TranscriptState,
    ) -> Result<RequestOutcome, ApiError> {
        if self.options.dry_run == Some(true) {
            return self.estimated(transcriber, source.seconds, Some(source.channels)).await;
        }
        let accepted = Ok(RequestOutcome::Accepted {
            estimated_seconds: estimated_seconds(source.seconds),
        });
        if matches!(known, TranscriptState::Queued(_)) {
            return accepted;
        }
        let at_work = match known {
            TranscriptState::InProgress { until, .. } => Some(*until),
            _ => None,
        };
        if at_work.is_none() {
            self.check_budget(transcriber, source).await?;
        }
        let time_left = self.request.deadline.saturating_duration_since(Instant::now());
        // Without a known length it is not begun here: it would be decoded to be measured.
        let seconds = source.seconds.map(|seconds| estimated_seconds(Some(seconds)));
        let fits = seconds.is_some_and(|seconds| Duration::from_secs(seconds) < time_left.mul_f64(0.75));
        if self.request.prefers("respond-async") || !fits {
            match at_work {
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

    /// Queues a recording whose call is not over, or that Twilio does not know yet: for a day, and for ten minutes.
    pub async fn wait(
        mut self,
        transcriber: &Transcriber,
        seconds: Option<u64>,
        known: &TranscriptState,
    ) -> Result<RequestOutcome, ApiError> {
        if self.options.dry_run == Some(true) {
            return self.estimated(transcriber, seconds, Some(2)).await;
        }
        if !matches!(known, TranscriptState::Queued(_) | TranscriptState::InProgress { .. }) {
            let now = Timestamp::now();
            self.job.wait_until = Some(now + LONGEST_WAIT);
            self.job.appears_until = Some(now + LONGEST_ABSENCE);
            self.enqueue(transcriber, QUEUED_VALID + LONGEST_WAIT).await?;
        }
        Ok(RequestOutcome::Accepted {
            estimated_seconds: estimated_seconds(seconds),
        })
    }

    /// Has the queue check the lease of another request when it has ended: its holder may have died. The worker sends such a message itself.
    async fn send_lease_check(&self, transcriber: &Transcriber, until: Timestamp) -> Result<(), ApiError> {
        let left = until.duration_since(Timestamp::now());
        if left.is_negative() || left.unsigned_abs() > WORKERS_LEASE * 2 {
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

    async fn enqueue(&self, transcriber: &Transcriber, valid: Duration) -> Result<(), ApiError> {
        let Transcriber { queue, transcripts, .. } = transcriber;
        Ok(enqueue(queue, transcripts, &self.job, valid).await?)
    }

    /// The transcript (`true`: made for someone else), or `None` when it will be ready later.
    async fn transcribe(
        &self,
        transcriber: &Transcriber,
        source: &RecordingSource<'_>,
    ) -> Result<Option<(Transcript, bool)>, ApiError> {
        let job = &self.job;
        // So that what is not done in time can be handed over in time.
        let deadline = self.request.deadline - HANDOVER;
        let id = self.transcript_id();
        let policy = ClaimPolicy {
            queued: false,
            completed: job.again_since.is_some(),
        };
        let mut waits = 0;
        loop {
            let tried = transcriber.transcribe(source, &job.options, policy, deadline);
            match tried.await? {
                Outcome::Completed(transcript, cached) => {
                    if cached {
                        transcriber.usage.avoided(Cost::of_stored(&transcript)).await;
                    }
                    return Ok(Some((*transcript, cached)));
                }
                Outcome::Queued => return Ok(None),
                Outcome::OutOfTime(lease, _) => {
                    // The queue's worker has more time. If it can't be told, the lease ends by itself and the next request starts over.
                    let sent = transcriber.queue.send(job, Duration::ZERO).await;
                    sent.map_err(EnqueueError::from)?;
                    transcriber.transcripts.requeue(&lease, QUEUED_VALID).await?;
                    return Ok(None);
                }
                Outcome::Failed(lease, failure, _) => {
                    if let Err(error) = transcriber.transcripts.fail(&lease, &failure).await {
                        tracing::warn!(%error, "lease not given back; it ends by itself");
                    }
                    return Err(ApiError::not_transcribed(self.format, failure));
                }
                Outcome::Busy(until) => {
                    waits += 1;
                    let pause = backoff(waits);
                    let time_left = self.request.deadline.saturating_duration_since(Instant::now());
                    // The queue's worker has leases that no request can wait for.
                    let is_workers = until > Timestamp::now() + time_left + WORKERS_LEASE;
                    if pause >= time_left || is_workers {
                        self.send_lease_check(transcriber, until).await?;
                        return Ok(None);
                    }
                    tokio::time::sleep(pause).await;
                    match (transcriber.transcripts.get(&id).await?, job.again_since) {
                        // Whoever was at it has paid since this request came: that is new enough.
                        (TranscriptState::Completed(transcript), Some(since)) if transcript.is_of(since) => {
                            return Ok(Some((*transcript, true)));
                        }
                        // What failed for good just now would fail again.
                        (TranscriptState::Failed(failure), _) if !failure.retryable => {
                            return Err(ApiError::not_transcribed(self.format, failure));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// What a recording of so many seconds and channels would cost; without channels, because it is stored, nothing.
    async fn estimated(
        &self,
        transcriber: &Transcriber,
        seconds: Option<u64>,
        channels: Option<u32>,
    ) -> Result<RequestOutcome, ApiError> {
        let options = &self.job.options;
        let model = options.model.as_deref().unwrap_or(transcriber.whisper.model());
        let cost = match channels {
            None => Some(Cost::default()),
            Some(channels) => {
                let billed_channels = if options.mixed { 1 } else { channels };
                seconds.map(|seconds| Cost::of(seconds as f64 * f64::from(billed_channels), model))
            }
        };
        let month = transcriber.usage.this_month().await?;
        Ok(RequestOutcome::Estimated(Estimate {
            cached: channels.is_none(),
            model: model.to_owned(),
            audio_seconds: seconds,
            billed_seconds: cost.map(|cost| cost.seconds),
            cost_usd: cost.map(Cost::usd),
            budget_left_usd: month.budget_left_usd,
        }))
    }

    /// Refuses at once what the budget can't hold, instead of by a job that fails later.
    async fn check_budget(&self, transcriber: &Transcriber, source: &RecordingSource<'_>) -> Result<(), ApiError> {
        if !transcriber.usage.has_budget() {
            return Ok(());
        }
        let options = &self.job.options;
        let model = options.model.as_deref().unwrap_or(transcriber.whisper.model());
        let cost = Cost::of(source.seconds.unwrap_or_default() as f64, model).usd();
        let month = transcriber.usage.this_month().await?;
        match month.budget_left_usd {
            Some(left) if left < cost || left <= 0.0 => {
                // Perhaps it is this very recording that somebody is paying for.
                let id = self.transcript_id();
                if !matches!(
                    transcriber.transcripts.get(&id).await?,
                    TranscriptState::Absent | TranscriptState::Failed(_)
                ) {
                    return Ok(());
                }
                let budget = month.budget_usd.unwrap_or_default();
                let details = format!(
                    "The transcript would cost about ${cost:.4}; ${left:.4} of this month's budget of ${budget:.2} is left."
                );
                Err(ApiError::over_budget(self.format, &details))
            }
            _ => Ok(()),
        }
    }
}
