//! Finds what events missed, and says what is missing: on a schedule, in steps that go on where the last run had to stop.

mod report;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, ToSpan, civil::Date};
use serde::{Deserialize, Serialize};
use shared::{
    aws::Aws,
    calls::{Call, Calls, CallsError, Filter, ListError, Note, Order, Start, TwilioRecording},
    config::{ConfigError, Env},
    egress::{Egress, EgressError},
    recordings::{RecordingsError, observe},
    time::{DateInput, utc_day},
    twilio::{PageQuery, Recording, Twilio, TwilioError},
};
use tokio::time::Instant;

pub use report::Report;

/// The days, up to today, of which the report tells.
const REPORTED_DAYS: i32 = 30;
/// The days before the last run that are looked at again: files and calls may come late, and folders bear the dates of other zones.
const OVERLAP_DAYS: i32 = 3;
/// Kept back from the invocation's deadline, so that a step begun ends well.
const MARGIN: Duration = Duration::from_secs(60);
/// Things taken down at once.
const CONCURRENCY: usize = 8;
const TWILIO_PAGE: u64 = 1000;
const LIST_PAGE: usize = 1000;

/// What every run needs, made once.
pub struct State {
    calls: Calls,
    egress: Option<Egress>,
    twilio: Twilio,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            calls: Calls::from_env(env, &aws)?,
            egress: Egress::from_env(env, &aws),
            twilio: Twilio::from_env(env, &aws)?,
        };
        state.twilio.preload().await;
        Ok(state)
    }
}

/// Why a run ended before its time. The next one goes on from the last step.
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
    Egress(#[from] EgressError),
    /// The bucket or the index.
    #[error(transparent)]
    Recordings(#[from] RecordingsError),
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
    twilio_failed: bool,
    report: Report,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Step {
    /// The bucket's keys after this one.
    Objects(Option<String>),
    /// A page of Twilio's list.
    Twilio(Option<String>),
    /// The rows of this day.
    Day(Date),
    Done,
}

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Whether a round was finished and its report written; otherwise the next run goes on.
    pub finished: bool,
}

/// Works until a round is finished or `deadline` is near.
pub async fn handle(state: &State, deadline: SystemTime) -> Result<Outcome, Fault> {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let end = Instant::now() + left.saturating_sub(MARGIN);
    let mut at = match state.calls.note::<Checkpoint>(Note::Checkpoint).await? {
        Some(at) if !matches!(at.step, Step::Done) => at,
        last => next_round(last, state.egress.is_none()),
    };
    loop {
        match at.step.clone() {
            Step::Objects(after) => objects(state, &mut at, after).await?,
            Step::Twilio(page) => twilio(state, &mut at, page, end).await?,
            Step::Day(day) => {
                // What is older has been settled by the rounds before.
                let settling = at.objects_since.is_none_or(|since| day >= since);
                one_day(state, day, settling, &mut at.report).await?;
                at.step = match day < utc_day(at.began) {
                    true => Step::Day(day.tomorrow().unwrap_or(Date::MAX)),
                    false => Step::Done,
                };
            }
            Step::Done => {
                at.report.generated_at = Some(Timestamp::now());
                state.calls.set_note(Note::Report, &at.report).await?;
                state.calls.set_note(Note::Checkpoint, &at).await?;
                tracing::info!("round finished");
                return Ok(Outcome { finished: true });
            }
        }
        if !matches!(at.step, Step::Done) {
            state.calls.set_note(Note::Checkpoint, &at).await?;
            if Instant::now() >= end {
                return Ok(Outcome { finished: false });
            }
        }
    }
}

fn next_round(last: Option<Checkpoint>, without_bucket: bool) -> Checkpoint {
    let began = Timestamp::now();
    let since = |day: Timestamp| utc_day(day).checked_sub(OVERLAP_DAYS.days()).ok();
    let twilio_since = match &last {
        // What Twilio did not tell last time is asked for again.
        Some(last) if last.twilio_failed => last.twilio_since,
        last => last.as_ref().and_then(|last| since(last.began)),
    };
    let first = utc_day(began).checked_sub(REPORTED_DAYS.days()).unwrap_or(Date::MIN);
    Checkpoint {
        step: match without_bucket {
            true => Step::Twilio(None),
            false => Step::Objects(None),
        },
        began,
        objects_since: last.as_ref().and_then(|last| since(last.began)),
        twilio_since,
        twilio_failed: false,
        report: Report::new(first, utc_day(began)),
    }
}

/// One page of the bucket's keys.
async fn objects(state: &State, at: &mut Checkpoint, after: Option<String>) -> Result<(), Fault> {
    let Some(egress) = &state.egress else {
        at.step = Step::Twilio(None);
        return Ok(());
    };
    let since = at
        .objects_since
        .map(|day| format!("{}{}", egress.prefix(), day.strftime("%Y/%m/%d")));
    let page = egress.page("", after.or(since).as_deref()).await?;
    let unknown = state.calls.unlike(&page.recordings).await?;
    at.report.objects += page.recordings.len() as u64;
    at.report.objects_taken_down += unknown.len() as u64;
    stream::iter(unknown)
        .map(Ok::<_, Fault>)
        .try_for_each_concurrent(CONCURRENCY, |key| async move {
            observe(&state.calls, egress, &key, None).await?;
            Ok(())
        })
        .await?;
    at.step = match page.last {
        Some(last) => Step::Objects(Some(last)),
        None => Step::Twilio(None),
    };
    Ok(())
}

/// One page of Twilio's recordings. Twilio's faults are told in the report; the bucket's recordings do not wait for Twilio.
async fn twilio(state: &State, at: &mut Checkpoint, page: Option<String>, end: Instant) -> Result<(), Fault> {
    let query = page
        .as_deref()
        .and_then(PageQuery::parse)
        .unwrap_or_else(|| PageQuery::first(TWILIO_PAGE, at.twilio_since, None));
    let first = Step::Day(at.report.from);
    match state.twilio.list(&query, end.max(Instant::now() + MARGIN / 2)).await {
        Ok(page) => {
            let taken_down = take_down(state, &page.recordings).await?;
            at.report.twilio_recordings += page.recordings.len() as u64;
            at.report.twilio_recordings_taken_down += taken_down;
            at.step = page
                .next
                .map_or(first, |next| Step::Twilio(Some(next.as_str().to_owned())));
        }
        Err(error) => {
            if !matches!(error, TwilioError::IncompleteSecret) {
                tracing::warn!(%error, "Twilio's recordings not read");
            }
            at.report
                .problems
                .push(format!("Twilio's recordings were not read: {}.", error.sentence()));
            at.twilio_failed = true;
            at.step = first;
        }
    }
    Ok(())
}

async fn take_down(state: &State, recordings: &[Recording]) -> Result<u64, Fault> {
    let found = recordings.iter().filter_map(|recording| {
        let call_sid = recording.call_sid.clone()?;
        let row = TwilioRecording {
            sid: recording.sid.clone(),
            account_sid: recording.account_sid.clone(),
            status: recording.status.as_str().to_owned(),
            duration: recording.duration.and_then(|seconds| seconds.try_into().ok()),
            start_time: recording.start_time.or(recording.date_created),
            error_code: recording.error_code,
        };
        Some((call_sid, row))
    });
    let news = state.calls.new_to_twilio(found.collect()).await?;
    let count = news.len() as u64;
    stream::iter(news)
        .map(Ok::<_, Fault>)
        .try_for_each_concurrent(CONCURRENCY, |(call_sid, recording, phone)| async move {
            let phone = match phone {
                Some(phone) => Some(phone),
                // A call whose number can't be had is a call all the same.
                None => state
                    .twilio
                    .number_of(&call_sid, Instant::now() + Duration::from_secs(10))
                    .await
                    .unwrap_or_default(),
            };
            let calls = &state.calls;
            Ok(calls
                .recorded_by_twilio(&call_sid, &recording, phone.as_deref(), None)
                .await?)
        })
        .await?;
    Ok(count)
}

/// Mends the rows of one day where they differ from the bucket or, if `settling`, are without the other half; then counts them.
async fn one_day(state: &State, day: Date, settling: bool, report: &mut Report) -> Result<(), Fault> {
    let mut folders: HashMap<String, HashSet<String>> = HashMap::new();
    let mut found = rows(&state.calls, day).await?;
    let mut changed = false;
    for call in &found {
        if let (Some(key), Some(egress)) = (&call.s3_key, &state.egress) {
            let folder = key
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder)
                .trim_start_matches(egress.prefix());
            if !folders.contains_key(folder) {
                folders.insert(folder.to_owned(), keys(egress, folder).await?);
            }
            if !folders[folder].contains(key) {
                observe(&state.calls, egress, key, None).await?;
                report.rows_mended += 1;
                changed = true;
            }
        }
        if settling && !(call.is_reported() && call.is_playable()) {
            state.calls.settle(call).await?;
            changed = true;
        }
    }
    if changed {
        found = rows(&state.calls, day).await?;
    }
    for call in found {
        report.add(call);
    }
    Ok(())
}

/// The keys of all recordings in a folder.
async fn keys(egress: &Egress, folder: &str) -> Result<HashSet<String>, Fault> {
    let (mut keys, mut after) = (HashSet::new(), None);
    loop {
        let page = egress.page(&format!("{folder}/"), after.as_deref()).await?;
        keys.extend(page.recordings.into_iter().map(|recording| recording.key));
        after = page.last;
        if after.is_none() {
            return Ok(keys);
        }
    }
}

/// All calls that began on this day, with and without a recording.
async fn rows(calls: &Calls, day: Date) -> Result<Vec<Call>, Fault> {
    let mut rows = Vec::new();
    for missing in [false, true] {
        let filter = Filter {
            missing,
            started_after: Some(DateInput::Day(day).start()),
            started_before: Some(DateInput::Day(day).end()),
            ..Filter::default()
        };
        let mut start = Start::Offset(0);
        loop {
            let page = calls.list(&filter, Order::Oldest, start, LIST_PAGE).await?;
            rows.extend(page.calls);
            match page.next {
                Some(next) => start = Start::After(next),
                None => break,
            }
        }
    }
    Ok(rows)
}
