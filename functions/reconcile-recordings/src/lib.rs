//! Finds what events missed, and says what is missing: on a schedule, in steps that go on where the last run had to stop.

mod report;

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, stream};
use jiff::{Timestamp, ToSpan, civil::Date};
use serde::{Deserialize, Serialize};
use shared::{clients::{aws::Aws, bucket::{Egress, BucketError}, queue::{Job, Queue, Source}, twilio::{PageQuery, Recording, RecordingSid, Twilio, TwilioError}}, calls::{Call, Calls, CallsError, Cursor, Filter, ListError, ReconcilerState, Order, Start, TwilioUpdate, TwilioRecording, resolve::{ResolveError, observe}}, config::{ConfigError, Env}, time::{DateInput, utc_day}, transcription::{EnqueueError, QUEUED_VALID, auto_transcribe, enqueue}, transcripts::Transcripts};
use tokio::time::Instant;

pub use report::Report;

/// The days, up to today, of which the report tells.
const REPORTED_DAYS: i32 = 30;
/// The days before the last round that are looked at again: files and calls may come late, and folders bear the dates of other zones.
const OVERLAP_DAYS: i32 = 3;
/// Kept back from the invocation's deadline, so that a step begun ends well.
const MARGIN: Duration = Duration::from_secs(60);
/// If an invocation dies, the steps of at most this time are done again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);
/// Things taken down at once.
const CONCURRENCY: usize = 8;
const TWILIO_PAGE: u64 = 1000;
/// A call's number may be asked for for so long, and this many of a page in vain.
const NUMBER_TIMEOUT: Duration = Duration::from_secs(3);
const NUMBERS_IN_VAIN: usize = 16;
const LIST_PAGE: usize = 1000;

/// What every run needs, made once.
pub struct State {
    calls: Calls,
    egress: Option<Egress>,
    twilio: Twilio,
    /// Present when completed recordings are transcribed by themselves.
    transcribing: Option<(Queue, Transcripts)>,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            calls: Calls::from_env(env, &aws)?,
            egress: Egress::from_env(env, &aws),
            twilio: Twilio::from_env(env, &aws)?,
            transcribing: auto_transcribe(env, &aws)?,
        };
        state.twilio.preload().await;
        Ok(state)
    }
}

/// Why a run ended before its time. The next one goes on from the last checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The index.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// A list of the index.
    #[error(transparent)]
    List(#[from] ListError),
    /// The bucket.
    #[error(transparent)]
    Egress(#[from] BucketError),
    /// The bucket or the index.
    #[error(transparent)]
    Recordings(#[from] ResolveError),
    /// The queue.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
}

/// Where a run goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Checkpoint {
    step: Step,
    /// When this round began.
    began: Timestamp,
    /// From which day on keys and Twilio's recordings are looked at; `None`: all of them.
    objects_since: Option<Date>,
    twilio_since: Option<Date>,
    /// Some objects could not be taken down: the next round looks at them again.
    objects_failed: bool,
    /// The same for Twilio's recordings; and the page where that happened, if it can be asked for again.
    twilio_failed: bool,
    twilio_page: Option<String>,
    report: Report,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Step {
    /// The bucket's keys after this one.
    Objects(Option<String>),
    /// A page of Twilio's list.
    Twilio(Option<String>),
    /// Rows that may lack their other half are paired anew.
    Settle(Place),
    /// Rows are compared with the bucket and counted.
    Count(Place),
    Done,
}

/// A page of the rows of a day: first those that can be played, then those that are `missing`. From the newest day to the oldest.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    day: Date,
    missing: bool,
    after: Option<Cursor>,
}

impl Place {
    fn first(day: Date) -> Self {
        Self {
            day,
            missing: false,
            after: None,
        }
    }

    /// The page after this one, which ended at `next`; `None` after the last one of `oldest`.
    fn next(self, next: Option<Cursor>, oldest: Date) -> Option<Self> {
        match (next, self.missing) {
            (Some(after), _) => Some(Self {
                after: Some(after),
                ..self
            }),
            (None, false) => Some(Self {
                missing: true,
                after: None,
                ..self
            }),
            (None, true) => {
                let day = self.day.yesterday().ok()?;
                (day >= oldest).then(|| Self::first(day))
            }
        }
    }
}

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Whether a round was finished and its report written; otherwise the next run goes on.
    pub finished: bool,
}

/// The keys of the folders that were read last, for the rows of one day.
#[derive(Default)]
struct Folders {
    day: Option<Date>,
    keys: HashMap<String, HashSet<String>>,
}

/// Works until a round is finished or `deadline` is near.
pub async fn handle(state: &State, deadline: SystemTime) -> Result<Outcome, Fault> {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let end = Instant::now() + left.saturating_sub(MARGIN);
    let mut at = match state.calls.reconciler_state::<Checkpoint>(ReconcilerState::Checkpoint).await? {
        Some(at) if !matches!(at.step, Step::Done) => at,
        last => next_round(last, state.egress.is_none()),
    };
    let (mut folders, mut written) = (Folders::default(), Instant::now());
    loop {
        at.step = match at.step.clone() {
            Step::Objects(after) => objects(state, &mut at, after).await?,
            Step::Twilio(page) => twilio(state, &mut at, page, end).await?,
            Step::Settle(place) => settle(state, &mut at, place).await?,
            Step::Count(place) => count(state, &mut at, place, &mut folders).await?,
            Step::Done => {
                at.report.generated_at = Some(Timestamp::now());
                state.calls.save_reconciler_state(ReconcilerState::Report, &at.report).await?;
                at.report = Report::new(at.report.from, at.report.to);
                state.calls.save_reconciler_state(ReconcilerState::Checkpoint, &at).await?;
                tracing::info!("round finished");
                return Ok(Outcome { finished: true });
            }
        };
        let is_over = !matches!(at.step, Step::Done) && Instant::now() >= end;
        if is_over || written.elapsed() >= CHECKPOINT_EVERY {
            state.calls.save_reconciler_state(ReconcilerState::Checkpoint, &at).await?;
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
async fn each<T, F: Future<Output = Result<(), Fault>>>(
    things: impl IntoIterator<Item = T>,
    mut act: impl FnMut(T) -> F,
) -> Result<u64, Fault> {
    let acts: Vec<F> = things.into_iter().map(&mut act).collect();
    let count = acts.len();
    let done: Vec<Result<(), Fault>> = stream::iter(acts).buffer_unordered(CONCURRENCY).collect().await;
    let mut faults: Vec<Fault> = done.into_iter().filter_map(Result::err).collect();
    for error in &faults {
        tracing::warn!(%error, "not taken down; the next round tries again");
    }
    match faults.pop() {
        Some(fault) if count > 1 && faults.len() + 1 == count => Err(fault),
        Some(_) => Ok(faults.len() as u64 + 1),
        None => Ok(0),
    }
}

/// One page of the bucket's keys.
async fn objects(state: &State, at: &mut Checkpoint, after: Option<String>) -> Result<Step, Fault> {
    let first_of_twilio = Step::Twilio(at.twilio_page.clone());
    let Some(egress) = &state.egress else {
        return Ok(first_of_twilio);
    };
    let since = at
        .objects_since
        .map(|day| format!("{}{}", egress.prefix(), day.strftime("%Y/%m/%d")));
    let page = egress.page("", after.or(since).as_deref()).await?;
    let unknown = state.calls.out_of_date(&page.recordings).await?;
    at.report.objects += page.recordings.len() as u64;
    at.report.objects_indexed += unknown.len() as u64;
    let failed = each(&unknown, async |key| {
        observe(&state.calls, egress, key, None).await?;
        Ok(())
    })
    .await?;
    at.objects_failed |= failed > 0;
    at.report.not_indexed += failed;
    Ok(match page.last {
        Some(last) => Step::Objects(Some(last)),
        None => first_of_twilio,
    })
}

/// One page of Twilio's recordings. Twilio's faults are told in the report; the bucket's recordings do not wait for Twilio.
async fn twilio(state: &State, at: &mut Checkpoint, page: Option<String>, end: Instant) -> Result<Step, Fault> {
    let query = page
        .as_deref()
        .and_then(PageQuery::parse)
        .unwrap_or_else(|| PageQuery::first(TWILIO_PAGE, at.twilio_since, None));
    let deadline = end.max(Instant::now() + MARGIN / 2);
    Ok(match state.twilio.list(&query, deadline).await {
        Ok(found) => {
            take_down(state, at, &found.recordings).await?;
            at.twilio_page = None;
            match found.next {
                Some(next) => Step::Twilio(Some(next.as_str().to_owned())),
                None => Step::Settle(Place::first(at.report.to)),
            }
        }
        Err(error) => {
            if !matches!(error, TwilioError::IncompleteSecret) {
                tracing::warn!(%error, "Twilio's recordings not read");
            }
            at.report
                .problems
                .push(format!("Twilio's recordings were not read: {}.", error.user_message()));
            at.twilio_failed = true;
            at.twilio_page = page.filter(|_| error.is_transient());
            Step::Settle(Place::first(at.report.to))
        }
    })
}

async fn take_down(state: &State, at: &mut Checkpoint, recordings: &[Recording]) -> Result<(), Fault> {
    let found = recordings.iter().map(|recording| {
        let row = TwilioRecording {
            sid: recording.sid.clone(),
            account_sid: recording.account_sid.clone(),
            status: recording.status.as_str().to_owned(),
            duration: recording.duration.and_then(|seconds| seconds.try_into().ok()),
            start_time: recording.start_time.or(recording.date_created),
            error_code: recording.error_code,
        };
        (recording.call_sid.clone().unwrap_or_else(|| recording.sid.clone()), row)
    });
    let news = state.calls.twilio_updates(found.collect()).await?;
    at.report.twilio_recordings += recordings.len() as u64;
    at.report.twilio_recordings_indexed += news.len() as u64;
    // In its first round it finds all recordings that ever were; nobody wants to pay for those.
    let transcribing = state.transcribing.as_ref().filter(|_| at.twilio_since.is_some());
    let in_vain = AtomicUsize::new(0);
    let failed = each(news, async |news: TwilioUpdate| {
        if let Some((queue, transcripts)) = transcribing
            && news.is_completion
            && let Some(sid) = RecordingSid::parse(&news.recording.sid)
        {
            // Before it is taken down, so that this is not forgotten.
            let job = Job::new(Source::Twilio(sid), Default::default());
            enqueue(queue, transcripts, &job, QUEUED_VALID).await?;
        }
        let phone = match news.phone {
            Some(phone) => Some(phone),
            None if in_vain.load(Ordering::Relaxed) >= NUMBERS_IN_VAIN => None,
            None => match state
                .twilio
                .number_of(&news.call_sid, Instant::now() + NUMBER_TIMEOUT)
                .await
            {
                Ok(number) => Some(number.unwrap_or_default()),
                // A call whose number can't be had is a call all the same.
                Err(error) => {
                    tracing::warn!(%error, "the call's number is not known");
                    in_vain.fetch_add(1, Ordering::Relaxed);
                    None
                }
            },
        };
        let calls = &state.calls;
        calls
            .record_twilio_recording(&news.call_sid, &news.recording, phone.as_deref(), None)
            .await?;
        Ok(())
    })
    .await?;
    at.twilio_failed |= failed > 0;
    at.report.not_indexed += failed;
    Ok(())
}

/// Pairs anew a page of rows that are without their other half, as far as they are recent: what arrived at the same moment may have missed each
/// other.
async fn settle(state: &State, at: &mut Checkpoint, place: Place) -> Result<Step, Fault> {
    let (rows, next) = rows(&state.calls, &place).await?;
    let alone = rows.iter().filter(|call| !(call.is_playable() && call.has_dispatch()));
    let failed = each(alone, async |call| Ok(state.calls.repair(call).await?)).await?;
    at.report.not_indexed += failed;
    let oldest = at.objects_since.unwrap_or(at.report.from).max(at.report.from);
    Ok(match place.next(next, oldest) {
        Some(place) => Step::Settle(place),
        None => Step::Count(Place::first(at.report.to)),
    })
}

/// Counts a page of rows. Those whose file is gone are mended, and come again among those without a recording.
async fn count(state: &State, at: &mut Checkpoint, place: Place, folders: &mut Folders) -> Result<Step, Fault> {
    let (rows, next) = rows(&state.calls, &place).await?;
    let mut gone = Vec::new();
    for call in rows {
        match (&call.s3_key, &state.egress) {
            (Some(key), Some(egress)) if !folders.have(egress, place.day, key).await? => gone.push(key.clone()),
            _ => at.report.add(call),
        }
    }
    if let Some(egress) = &state.egress {
        at.report.rows_repaired += gone.len() as u64;
        let failed = each(&gone, async |key| {
            observe(&state.calls, egress, key, None).await?;
            Ok(())
        });
        at.report.not_indexed += failed.await?;
    }
    Ok(place.next(next, at.report.from).map_or(Step::Done, Step::Count))
}

impl Folders {
    /// Whether the bucket has this key, which a row of `day` names.
    async fn have(&mut self, egress: &Egress, day: Date, key: &str) -> Result<bool, Fault> {
        if self.day != Some(day) {
            *self = Self {
                day: Some(day),
                keys: HashMap::new(),
            };
        }
        let name = key.strip_prefix(egress.prefix()).unwrap_or(key);
        let folder = name.rfind('/').map_or("", |slash| &name[..=slash]);
        if !self.keys.contains_key(folder) {
            let (mut keys, mut after) = (HashSet::new(), None);
            loop {
                let page = egress.page(folder, after.as_deref()).await?;
                keys.extend(page.recordings.into_iter().map(|recording| recording.key));
                after = page.last;
                if after.is_none() {
                    break;
                }
            }
            self.keys.insert(folder.to_owned(), keys);
        }
        Ok(self.keys[folder].contains(key))
    }
}

/// A page of calls, and where it ended if there are more.
async fn rows(calls: &Calls, place: &Place) -> Result<(Vec<Call>, Option<Cursor>), Fault> {
    let filter = Filter {
        missing: place.missing,
        started_after: Some(DateInput::Day(place.day).start()),
        started_before: Some(DateInput::Day(place.day).end()),
        ..Filter::default()
    };
    let start = place.after.clone().map_or(Start::Offset(0), Start::After);
    let page = calls.list(&filter, Order::Newest, start, LIST_PAGE).await?;
    Ok((page.calls, page.next))
}
