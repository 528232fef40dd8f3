//! Finds what events missed, and reports what is missing: on a schedule, in steps, each run going on where the last one stopped.

mod bucket;
mod twilio;
mod verification;

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use jiff::{Timestamp, ToSpan, civil::Date};
use serde::Serialize;
use shared::{
    calls::{Calls, CallsError, ListError, ReconcilerState, ResolveError},
    clients::{
        aws::Aws,
        bucket::{BucketError, RecordingsBucket},
        twilio::Twilio,
    },
    config::{ConfigError, Env},
    reconcile::{Checkpoint, Report, Step},
    time::utc_day,
    transcription::{AutoTranscribe, EnqueueError},
};
use tokio::time::Instant;
use verification::Folders;

/// The days, up to today, that the report is about.
const REPORTED_DAYS: i32 = 30;
/// The days before the last round that are read again: files and calls may come late, and folders bear the dates of other zones.
const OVERLAP_DAYS: i32 = 3;
/// Kept back from the invocation's deadline, so that a step begun ends well.
const MARGIN: Duration = Duration::from_secs(60);
/// If an invocation dies, the steps of at most this time are done again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);
/// Things indexed at once.
const CONCURRENCY: usize = 8;

/// What every run needs, made once.
pub struct State {
    calls: Calls,
    bucket: Option<RecordingsBucket>,
    twilio: Twilio,
    /// Present when completed recordings are transcribed by themselves.
    auto_transcribe: Option<AutoTranscribe>,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            calls: Calls::from_env(env, &aws)?,
            bucket: RecordingsBucket::from_env(env, &aws),
            twilio: Twilio::from_env(env, &aws)?,
            auto_transcribe: AutoTranscribe::from_env(env, &aws)?,
        };
        state.twilio.preload().await;
        Ok(state)
    }
}

/// Why a run ended before its time. The next one goes on from the last checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The index.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// A list of the index.
    #[error(transparent)]
    List(#[from] ListError),
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The bucket or the index.
    #[error(transparent)]
    Index(#[from] ResolveError),
    /// The queue.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
}

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Whether a round was finished and its report written; otherwise the next run goes on.
    pub finished: bool,
}

/// Works until a round is finished or `deadline` is near.
pub async fn handle(state: &State, deadline: SystemTime) -> Result<Outcome, ReconcileError> {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let end = Instant::now() + left.saturating_sub(MARGIN);
    let mut at = match state
        .calls
        .reconciler_state::<Checkpoint>(ReconcilerState::Checkpoint)
        .await?
    {
        Some(at) if !matches!(at.step, Step::Done) => at,
        last => next_round(last, state.bucket.is_none()),
    };
    let (mut folders, mut written) = (Folders::default(), Instant::now());
    loop {
        at.step = match at.step.clone() {
            Step::Objects(after) => bucket::objects(state, &mut at, after).await?,
            Step::Twilio(page) => twilio::twilio(state, &mut at, page, end).await?,
            Step::Repair(page) => verification::repair(state, &mut at, page).await?,
            Step::Count(page) => verification::count(state, &mut at, page, &mut folders).await?,
            Step::Done => {
                at.report.generated_at = Some(Timestamp::now());
                state
                    .calls
                    .save_reconciler_state(ReconcilerState::Report, &at.report)
                    .await?;
                let next = Report::new(at.report.from, at.report.to);
                let report = std::mem::replace(&mut at.report, next);
                state
                    .calls
                    .save_reconciler_state(ReconcilerState::Checkpoint, &at)
                    .await?;
                tracing::info!(
                    objects = report.objects,
                    objects_indexed = report.objects_indexed,
                    twilio_recordings = report.twilio_recordings,
                    twilio_recordings_indexed = report.twilio_recordings_indexed,
                    rows_repaired = report.rows_repaired,
                    not_indexed = report.not_indexed,
                    "round finished"
                );
                return Ok(Outcome { finished: true });
            }
        };
        let is_over = !matches!(at.step, Step::Done) && Instant::now() >= end;
        if is_over || written.elapsed() >= CHECKPOINT_EVERY {
            state
                .calls
                .save_reconciler_state(ReconcilerState::Checkpoint, &at)
                .await?;
            written = Instant::now();
        }
        if is_over {
            return Ok(Outcome { finished: false });
        }
    }
}

fn next_round(last: Option<Checkpoint>, without_bucket: bool) -> Checkpoint {
    let began = Timestamp::now();
    let first = utc_day(began).checked_sub(REPORTED_DAYS.days()).unwrap_or(Date::MIN);
    let overlap = |last: &Checkpoint| utc_day(last.began).checked_sub(OVERLAP_DAYS.days()).ok();
    // What failed last time is looked at again.
    let objects_since = last.as_ref().and_then(|last| match last.objects_failed {
        true => last.objects_since.map(|since| since.max(first)),
        false => overlap(last),
    });
    let twilio_since = last.as_ref().and_then(|last| match last.twilio_failed {
        true => last.twilio_since,
        false => overlap(last),
    });
    Checkpoint {
        step: match without_bucket {
            true => Step::Twilio(last.as_ref().and_then(|last| last.twilio_page.clone())),
            false => Step::Objects(None),
        },
        began,
        objects_since,
        twilio_since,
        objects_failed: false,
        twilio_failed: false,
        twilio_page: last.and_then(|last| last.twilio_page),
        report: Report::new(first, utc_day(began)),
    }
}

/// Does the same with many things at once. One that fails is passed over, and counted; that all of several fail is an outage.
async fn each<T, F: Future<Output = Result<(), ReconcileError>>>(
    things: impl IntoIterator<Item = T>,
    mut act: impl FnMut(T) -> F,
) -> Result<u64, ReconcileError> {
    let acts: Vec<F> = things.into_iter().map(&mut act).collect();
    let count = acts.len();
    let done: Vec<Result<(), ReconcileError>> = stream::iter(acts).buffer_unordered(CONCURRENCY).collect().await;
    let mut faults: Vec<ReconcileError> = done.into_iter().filter_map(Result::err).collect();
    for error in &faults {
        tracing::warn!(%error, "not indexed; the next round tries again");
    }
    match faults.pop() {
        Some(fault) if count > 1 && faults.len() + 1 == count => Err(fault),
        Some(_) => Ok(faults.len() as u64 + 1),
        None => Ok(0),
    }
}
