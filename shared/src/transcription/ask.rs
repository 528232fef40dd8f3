//! What a `POST` for a transcript asks for, and how far a request takes it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::time::Instant;

use super::{
    EnqueueError, Outcome, QUEUED_VALID, Subject, Timestamps, Transcriber, TranscriptBody, answer::Show, enqueue,
    estimated_seconds,
};
use crate::{
    http::{ApiError, Call, Family},
    queue::{Job, Source},
    retry::backoff,
    time::to_seconds,
    transcripts::{Failure, Known, Taking, Transcript, Variant},
    usage::Cost,
    whisper::Options,
};

/// How long a call that is not over yet is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A lease that outlasts a request by this is the queue's worker's, not that of another request.
const WORKERS_LEASE: Duration = Duration::from_secs(30);
/// Kept back from a request's deadline, for what is not done by then to be handed to the queue.
const HANDOVER: Duration = Duration::from_secs(2);
/// From the end of a lease to when it has surely ended.
const LEASE_OVER: Duration = Duration::from_secs(5);
/// How long a recording that Twilio does not know is waited for.
const LONGEST_ABSENCE: Duration = Duration::from_secs(600);

/// The fields that every request for a transcript may have.
#[derive(Debug, Default, Deserialize)]
pub struct Wish {
    language: Option<String>,
    prompt: Option<String>,
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
    unknown: BTreeMap<String, IgnoredAny>,
}

impl Wish {
    /// The options, checked. `others` are the names of the request's further fields, for the error about an unknown one.
    pub fn options(&self, others: &str) -> Result<Options, ApiError> {
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
        Ok(Options {
            language: self.language.clone(),
            prompt: self.prompt.clone(),
            model: self.model.clone(),
            mixed: self.speakers == Some(false),
        })
    }
}

/// One request for a transcript.
pub struct Ask<'a> {
    call: &'a Call,
    family: Family,
    wish: &'a Wish,
    /// What would go into the queue.
    job: Job,
}

/// How a request for a transcript is answered.
pub enum Posted {
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

impl<'a> Ask<'a> {
    /// A request, the shape of its errors, its wishes, and what would go into the queue for it.
    pub fn new(call: &'a Call, family: Family, wish: &'a Wish, job: Job) -> Self {
        let again_since = (wish.force == Some(true)).then(Timestamp::now);
        let job = Job { again_since, ..job };
        Self {
            call,
            family,
            wish,
            job,
        }
    }

    /// The stored transcript, when that is what is wanted, and what is known otherwise.
    pub async fn stored(&self, transcriber: &Transcriber) -> Result<Result<Posted, Known>, ApiError> {
        let id = self.job.source.transcript_id(&Variant::of(&self.job.options));
        let known = transcriber.transcripts.get(&id).await?;
        let (Known::Completed(transcript) | Known::Lapsed(transcript), None) = (&known, self.job.again_since) else {
            return Ok(Err(known));
        };
        if self.wish.dry_run == Some(true) {
            let recorded = transcript.recording_duration;
            let recorded = recorded.or(transcript.audio_seconds.map(|seconds| seconds.ceil() as u64));
            return Ok(Ok(self.estimated(transcriber, recorded, None).await?));
        }
        transcriber.usage.avoided(Cost::of_stored(transcript)).await;
        Ok(Ok(Posted::Completed(transcript.clone(), true)))
    }

    /// Transcribes if that fits into the request, and queues the recording if not.
    pub async fn fulfil(
        self,
        transcriber: &Transcriber,
        subject: &Subject<'_>,
        known: &Known,
    ) -> Result<Posted, ApiError> {
        if self.wish.dry_run == Some(true) {
            return self
                .estimated(transcriber, subject.seconds, Some(subject.channels))
                .await;
        }
        let accepted = Ok(Posted::Accepted {
            estimated_seconds: estimated_seconds(subject.seconds),
        });
        if matches!(known, Known::Queued(_)) {
            return accepted;
        }
        let at_work = match known {
            Known::InProgress { until, .. } => Some(*until),
            _ => None,
        };
        if at_work.is_none() {
            self.check_budget(transcriber, subject).await?;
        }
        let time_left = self.call.deadline.saturating_duration_since(Instant::now());
        // Without a known length it is not begun here: it would be decoded to be measured.
        let seconds = subject.seconds.map(|seconds| estimated_seconds(Some(seconds)));
        let fits = seconds.is_some_and(|seconds| Duration::from_secs(seconds) < time_left.mul_f64(0.75));
        if self.call.prefers("respond-async") || !fits {
            match at_work {
                None => self.enqueue(transcriber, QUEUED_VALID).await?,
                Some(until) => self.watch(transcriber, until).await?,
            }
            return accepted;
        }
        match self.transcribe(transcriber, subject).await? {
            Some((transcript, cached)) => Ok(Posted::Completed(Box::new(transcript), cached)),
            None => accepted,
        }
    }

    /// Queues a recording whose call is not over, or that Twilio does not know yet: for a day, and for ten minutes.
    pub async fn wait(
        mut self,
        transcriber: &Transcriber,
        seconds: Option<u64>,
        known: &Known,
    ) -> Result<Posted, ApiError> {
        if self.wish.dry_run == Some(true) {
            return self.estimated(transcriber, seconds, Some(2)).await;
        }
        if !matches!(known, Known::Queued(_) | Known::InProgress { .. }) {
            let now = Timestamp::now();
            self.job.wait_until = Some(now + LONGEST_WAIT);
            self.job.appears_until = Some(now + LONGEST_ABSENCE);
            self.enqueue(transcriber, QUEUED_VALID + LONGEST_WAIT).await?;
        }
        Ok(Posted::Accepted {
            estimated_seconds: estimated_seconds(seconds),
        })
    }

    /// Has the queue look after a lease until which someone else is at work: whoever has it may die. The worker does so by itself.
    async fn watch(&self, transcriber: &Transcriber, until: Timestamp) -> Result<(), ApiError> {
        let left = until.duration_since(Timestamp::now());
        if left.is_negative() || left.unsigned_abs() > WORKERS_LEASE * 2 {
            return Ok(());
        }
        let watch = Job {
            watch: true,
            ..self.job.clone()
        };
        let sent = transcriber.queue.send(&watch, left.unsigned_abs() + LEASE_OVER).await;
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
        subject: &Subject<'_>,
    ) -> Result<Option<(Transcript, bool)>, ApiError> {
        let (call, job) = (self.call, &self.job);
        // So that what is not done in time can be handed over in time.
        let deadline = call.deadline - HANDOVER;
        let id = job.source.transcript_id(&Variant::of(&job.options));
        let taking = Taking {
            queued: false,
            completed: job.again_since.is_some(),
        };
        let mut waits = 0;
        loop {
            let tried = transcriber.transcribe(subject, &job.options, taking, deadline);
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
                    return Err(not_transcribed(self.family, failure));
                }
                Outcome::Busy(until) => {
                    waits += 1;
                    let pause = backoff(waits);
                    let time_left = call.deadline.saturating_duration_since(Instant::now());
                    // The queue's worker has leases that no request can wait for.
                    let is_workers = until > Timestamp::now() + time_left + WORKERS_LEASE;
                    if pause >= time_left || is_workers {
                        self.watch(transcriber, until).await?;
                        return Ok(None);
                    }
                    tokio::time::sleep(pause).await;
                    match (transcriber.transcripts.get(&id).await?, job.again_since) {
                        // Whoever was at it has paid since this request came: that is new enough.
                        (Known::Completed(transcript), Some(since)) if transcript.is_of(since) => {
                            return Ok(Some((*transcript, true)));
                        }
                        // What failed for good just now would fail again.
                        (Known::Failed(failure), _) if !failure.retryable => {
                            return Err(not_transcribed(self.family, failure));
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
    ) -> Result<Posted, ApiError> {
        let options = &self.job.options;
        let model = options.model.as_deref().unwrap_or(transcriber.whisper.model());
        let cost = match channels {
            None => Some(Cost::default()),
            Some(channels) => {
                let heard = if options.mixed { 1 } else { channels };
                seconds.map(|seconds| Cost::of(seconds as f64 * f64::from(heard), model))
            }
        };
        let month = transcriber.usage.this_month().await?;
        Ok(Posted::Estimated(Estimate {
            cached: channels.is_none(),
            model: model.to_owned(),
            audio_seconds: seconds,
            billed_seconds: cost.map(|cost| cost.seconds),
            cost_usd: cost.map(Cost::usd),
            budget_left_usd: month.budget_left_usd,
        }))
    }

    /// Refuses at once what the budget can't hold, instead of by a job that fails later.
    async fn check_budget(&self, transcriber: &Transcriber, subject: &Subject<'_>) -> Result<(), ApiError> {
        if !transcriber.usage.has_budget() {
            return Ok(());
        }
        let options = &self.job.options;
        let model = options.model.as_deref().unwrap_or(transcriber.whisper.model());
        let cost = Cost::of(subject.seconds.unwrap_or_default() as f64, model).usd();
        let month = transcriber.usage.this_month().await?;
        match month.budget_left_usd {
            Some(left) if left < cost || left <= 0.0 => {
                // Perhaps it is this very recording that somebody is paying for.
                let id = self.job.source.transcript_id(&Variant::of(options));
                if !matches!(
                    transcriber.transcripts.get(&id).await?,
                    Known::Nothing | Known::Failed(_)
                ) {
                    return Ok(());
                }
                let budget = month.budget_usd.unwrap_or_default();
                let details = format!(
                    "The transcript would cost about ${cost:.4}; ${left:.4} of this month's budget of ${budget:.2} is left."
                );
                Err(over_budget(self.family, &details))
            }
            _ => Ok(()),
        }
    }
}

/// What a `POST` is answered with besides what names the recording.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The transcript.
    Completed(Box<TranscriptBody>),
    /// Where to look for it.
    Accepted {
        /// The recording.
        #[serde(flatten)]
        source: Source,
        /// `processing`.
        status: &'static str,
        /// Where its state is.
        status_url: String,
        /// Until it is there.
        estimated_seconds: u64,
    },
    /// What it would cost.
    Estimated {
        /// The recording.
        #[serde(flatten)]
        source: Source,
        /// `estimate`.
        status: &'static str,
        /// Its price.
        #[serde(flatten)]
        estimate: Estimate,
        /// When it was estimated.
        timestamp: String,
    },
}

impl Answer {
    /// The answer for this recording. `show` and `body` make the body of a finished transcript.
    pub fn new(
        source: Source,
        variant: &Variant,
        posted: Posted,
        body: impl FnOnce(Transcript, Show) -> TranscriptBody,
        show: Show,
    ) -> Self {
        match posted {
            Posted::Completed(transcript, cached) => {
                Self::Completed(Box::new(body(*transcript, Show { cached, ..show })))
            }
            Posted::Accepted { estimated_seconds } => Self::Accepted {
                status: "processing",
                status_url: super::status_url(&source, variant),
                estimated_seconds,
                source,
            },
            Posted::Estimated(estimate) => Self::Estimated {
                source,
                status: "estimate",
                estimate,
                timestamp: to_seconds(Timestamp::now()),
            },
        }
    }
}

/// The documented 500 for everything that keeps a recording from being transcribed, and 402 for the budget.
pub fn not_transcribed(family: Family, failure: Failure) -> ApiError {
    if failure.code == "budget_exceeded" {
        return over_budget(family, &format!("{}.", failure.message));
    }
    let sentence = format!("Transcription failed: {}", failure.message);
    let answer = match family {
        Family::Twilio => ApiError::internal(failure.code, "Unexpected error occurred").details(sentence),
        Family::Recordings => ApiError::internal(failure.code, sentence),
    };
    answer.transient(failure.retryable, failure.retry_after)
}

fn over_budget(family: Family, details: &str) -> ApiError {
    let message = "Monthly transcription budget exceeded";
    let status = lambda_http::http::StatusCode::PAYMENT_REQUIRED;
    match family {
        Family::Twilio => ApiError::new(status, "budget_exceeded", message).details(details),
        Family::Recordings => ApiError::new(status, "budget_exceeded", format!("{message}. {details}")),
    }
}
