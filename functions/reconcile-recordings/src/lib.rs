//! The reconciler: finds recordings that no event reported, and reports what is missing. It runs on a schedule, in steps; each run continues
//! where the last one stopped.
//!
//! A round first lists recent objects and recordings, then compares the rows of the open days with the bucket, retries failures, and continues
//! the sweeps over everything older as long as it has time. A list that can't be read or an object that can't be indexed is added to the report,
//! and the round continues.

mod bucket;
mod days;
mod retention;
mod twilio;
mod work;

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use serde::Serialize;
use shared::{
    archive::CopyQueue,
    calls::{Calls, CallsError, ReconcilerState},
    clients::{aws::Aws, bucket::RecordingsBucket, twilio::Twilio},
    config::{ConfigError, Env},
    erasure::{ErasureQueue, Retention},
    metrics::{self, Metric},
    reconcile::{Checkpoint, Days, ObjectSweep, Report, Step, Subject, TwilioSweep},
    time::utc_day,
    transcription::{AutoTranscribe, LostJobs},
    transcripts::usage::Usage,
};
use tokio::time::Instant;

/// The report covers this many days before today.
const REPORTED_DAYS: i32 = 30;
/// The maximum number of lost transcription jobs that a run sends again.
const LOST_JOBS: i32 = 500;
/// The maximum number of copies, and of deletions at Twilio, that a run sends to the queue.
const DUE_COPIES: i32 = 500;
/// The number of days before today that every round lists. Files and calls may arrive late, and folders may have dates of other time zones.
const RECENT_DAYS: i32 = 3;
/// The minimum time between the starts of two sweeps, unless there is room again for failures that were not listed.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// Time reserved before the invocation's deadline for finishing the current step.
const MARGIN: Duration = Duration::from_secs(60);
/// How often the checkpoint is written. If an invocation is killed, at most this much work is repeated.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);

/// Limits of a step and a round.
#[derive(Debug, Clone, Copy)]
pub struct RoundLimits {
    /// Keys on a page of the bucket's listing.
    pub objects: i32,
    /// Recordings on a page of Twilio's list.
    pub recordings: u64,
    /// The maximum number of pages of each sweep in a round.
    pub sweep_pages: u32,
}

impl Default for RoundLimits {
    fn default() -> Self {
        Self {
            objects: 1000,
            recordings: 1000,
            sweep_pages: 250,
        }
    }
}

/// The state that is created once and used for every run.
pub struct State {
    calls: Calls,
    bucket: Option<RecordingsBucket>,
    twilio: Twilio,
    /// Present if completed recordings are transcribed automatically.
    auto_transcribe: Option<AutoTranscribe>,
    lost_jobs: LostJobs,
    /// Present if completed recordings are copied automatically.
    copies: Option<CopyQueue>,
    /// The queue of copies, whoever asked for them.
    copy_queue: CopyQueue,
    erasures: ErasureQueue,
    retention: Retention,
    usage: Usage,
    limits: RoundLimits,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        Self::new(env, RoundLimits::default()).await
    }

    /// The same with these limits.
    pub async fn new(env: &Env, limits: RoundLimits) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            calls: Calls::from_env(env, &aws)?,
            bucket: RecordingsBucket::from_env(env, &aws)?,
            twilio: Twilio::from_env(env, &aws)?,
            auto_transcribe: AutoTranscribe::from_env(env, &aws)?,
            lost_jobs: LostJobs::from_env(env, &aws)?,
            copies: CopyQueue::automatic(env, &aws)?,
            copy_queue: CopyQueue::from_env(env, &aws)?,
            erasures: ErasureQueue::from_env(env, &aws)?,
            retention: Retention::from_env(env)?,
            usage: Usage::from_env(env, &aws)?,
            limits,
        };
        tokio::join!(state.twilio.preload(), state.calls.preload());
        Ok(state)
    }
}

/// The first day that this round lists for a source that was last read at `read`. Days since then count as recent as well.
fn first_recent(at: &Checkpoint, read: Option<Timestamp>) -> Date {
    let read = utc_day(read.unwrap_or(at.began)).min(utc_day(at.began));
    read.saturating_sub(RECENT_DAYS.days())
}

/// Why a run ended early. The next run continues from the last checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A request to the calls table failed.
    #[error(transparent)]
    Calls(#[from] CallsError),
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct RoundProgress {
    /// Whether the round finished and its report was written. If not, the next run continues it.
    pub finished: bool,
}

/// Runs until the round has finished or shortly before `deadline`.
pub async fn handle(state: &State, deadline: SystemTime) -> Result<RoundProgress, ReconcileError> {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let end = Instant::now() + left.saturating_sub(MARGIN);
    let mut at = match read::<Checkpoint>(state, ReconcilerState::Checkpoint).await? {
        Some(at) if at.step != Step::Done => at,
        last => next_round(last),
    };
    match state.lost_jobs.send_again(LOST_JOBS).await {
        Ok(sent) => at.report.jobs_sent_again += sent,
        Err(error) => {
            tracing::warn!(%error, "lost transcription jobs could not be sent again");
            let reason = format!("Lost transcription jobs could not be sent again: {error}.");
            at.report.problem("jobs_not_sent", reason);
        }
    }
    match state.copy_queue.send_due(DUE_COPIES).await {
        Ok(reasons) => {
            for reason in reasons {
                let sentence = format!("Copied recordings are not deleted at Twilio yet: {reason}");
                at.report.problem("twilio_not_deleted", sentence);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "due copies could not be sent to the queue");
            let reason = format!("Copies that are due could not be queued: {error}.");
            at.report.problem("copies_not_sent", reason);
        }
    }
    retention::erase_what_is_due(state, &mut at).await;
    let mut days: Days = read(state, ReconcilerState::Days).await?.unwrap_or_default();
    let stored_days = days.clone();
    let mut written = Instant::now();
    loop {
        let is_late = Instant::now() >= end;
        at.step = match at.step.clone() {
            Step::Objects(after) => bucket::recent(state, &mut at, after).await?,
            Step::Twilio(day, page) => twilio::recent(state, &mut at, day, page).await?,
            Step::Days(done) => days::open(state, &mut at, &mut days, done, end).await?,
            Step::Close if is_late => Step::Retry,
            Step::Close => days::close(state, &mut at, &mut days, end).await?,
            Step::Retry => retry(state, &mut at).await?,
            Step::Sweep(0) => Step::Done,
            Step::Sweep(_) if is_late => Step::Done,
            Step::Sweep(pages) => {
                let objects = bucket::sweep(state, &mut at).await?;
                let recordings = twilio::sweep(state, &mut at).await?;
                match objects || recordings {
                    true => Step::Sweep(pages - 1),
                    false => Step::Done,
                }
            }
            Step::Done => {
                finish(state, &mut at, days, &stored_days).await?;
                return Ok(RoundProgress { finished: true });
            }
        };
        let is_over = at.step != Step::Done && Instant::now() >= end;
        if is_over || Instant::now().duration_since(written) >= CHECKPOINT_EVERY {
            if days != stored_days {
                days.together(at.report.from);
                write(state, ReconcilerState::Days, &days).await?;
            }
            write(state, ReconcilerState::Checkpoint, &at).await?;
            written = Instant::now();
        }
        if is_over {
            return Ok(RoundProgress { finished: false });
        }
    }
}

/// Writes the report and marks the round as finished.
async fn finish(state: &State, at: &mut Checkpoint, mut days: Days, stored: &Days) -> Result<(), ReconcileError> {
    let all = days.together(at.report.from);
    if days != *stored {
        write(state, ReconcilerState::Days, &days).await?;
    }
    at.report.retention = retention::report(state, at).await;
    at.report.ignored = at.objects.ignored.clone();
    at.report.bucket_complete = state.bucket.as_ref().map(|_| at.objects.is_first_over);
    at.report.complete(all, at.failures.entries());
    write(state, ReconcilerState::Report, &at.report).await?;
    let next = Report::new(at.report.from, at.report.to);
    let report = std::mem::replace(&mut at.report, next);
    at.has_finished = true;
    metrics::set(Metric::NotIndexed, report.not_indexed as f64);
    // Reading the month's usage notes the used part of the budget.
    if state.usage.has_budget()
        && let Err(error) = state.usage.current_month().await
    {
        tracing::warn!(%error, "the used part of the budget is not known");
    }
    write(state, ReconcilerState::Checkpoint, at).await?;
    tracing::info!(
        objects = report.objects,
        objects_indexed = report.objects_indexed,
        ignored = report.ignored.total,
        twilio_recordings = report.twilio_recordings,
        twilio_recordings_indexed = report.twilio_recordings_indexed,
        rows_repaired = report.rows_repaired,
        failures = report.not_indexed,
        problems = report.problems.len(),
        "round finished"
    );
    Ok(())
}

/// Retries the failures that are due.
async fn retry(state: &State, at: &mut Checkpoint) -> Result<Step, ReconcileError> {
    let due = at.failures.due(at.began);
    let items = due.into_iter().map(|failure| {
        let transcribe = failure.transcribe;
        (failure.subject.clone(), transcribe, failure)
    });
    let items = items.collect();
    let tried = work::process_all(at, items, async |failure| match (&failure.subject, &state.bucket) {
        (Subject::S3Key(key), Some(bucket)) => bucket::index(state, bucket, key).await,
        (Subject::RecordingSid(sid), _) => twilio::retry(state, sid, failure.transcribe).await,
        (Subject::TwilioDay(day), _) => twilio::retry_days(state, *day, *day).await,
        (Subject::TwilioMonth(last), _) => twilio::retry_days(state, last.first_of_month(), *last).await,
        // The bucket is no longer configured.
        (Subject::S3Key(_), None) => Ok(()),
    });
    let sweep = Step::Sweep(state.limits.sweep_pages);
    match tried.await {
        Ok(()) => Ok(sweep),
        Err(fault) => bucket::report_outage(at, fault, sweep),
    }
}

fn next_round(last: Option<Checkpoint>) -> Checkpoint {
    let began = Timestamp::now();
    let first = utc_day(began).checked_sub(REPORTED_DAYS.days()).unwrap_or(Date::MIN);
    let report = Report::new(first, utc_day(began));
    match last {
        Some(last) => Checkpoint {
            step: Step::Objects(None),
            began,
            report,
            ..last
        },
        None => Checkpoint {
            step: Step::Objects(None),
            began,
            objects_read: None,
            twilio_read: None,
            has_finished: false,
            retention_day: None,
            objects: ObjectSweep::default(),
            twilio: TwilioSweep::default(),
            failures: Default::default(),
            report,
        },
    }
}

async fn read<T: serde::de::DeserializeOwned>(state: &State, kind: ReconcilerState) -> Result<Option<T>, CallsError> {
    state.calls.reconciler_state(kind).await
}

async fn write<T: Serialize>(state: &State, kind: ReconcilerState, value: &T) -> Result<(), CallsError> {
    state.calls.save_reconciler_state(kind, value).await
}
