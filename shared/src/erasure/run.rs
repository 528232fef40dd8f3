//! Works on a requested erasure until its time is up or everything is erased.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use tokio::time::Instant;

use super::{
    eraser::{CallTime, Erased, Eraser, Outcome, Rule},
    error::ErasureError,
    model::{Counts, Erasure, ErasureId, ErasureScope, Kind, Problem, Target},
    queue::ErasureQueue,
    receipt::{ReceiptSeed, receipt},
};
use crate::{
    calls::{Call, Calls, ListError, ListFilter, ListOrder, ListStart, ReconcilerState},
    clients::{
        aws::Aws,
        queue::{ErasureMessage, MAX_DELAY},
        secrets::Secret,
    },
    config::{ConfigError, Env},
    lifecycle::{OVERDUE, Versioned},
    reconcile::{Checkpoint, Days, Report, Subject},
    time::utc_day,
};

/// Calls that are erased at the same time.
const CONCURRENCY: usize = 8;
/// Calls on a page, after which the progress is stored.
const PAGE: usize = 100;
/// Calls with a time of their own that one erasure reads.
const OWN_TIMES: i32 = 1000;
/// The pause before the second attempt, which doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause before the next attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// When a call that is held or locked is looked at again.
const HELD_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// An erasure of what is past its time, of which something is left, ends after this time: that of the next day has taken over.
const TAKEN_OVER: SignedDuration = SignedDuration::from_hours(20);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    OutOfTime,
    /// Another worker works on the same erasure.
    Overtaken,
}

/// The worker of the queue of erasures.
pub struct ErasureWorker {
    eraser: Eraser,
    queue: ErasureQueue,
    seed: Secret<ReceiptSeed>,
    /// The days that log lines are kept, which a receipt says.
    log_days: i64,
}

impl ErasureWorker {
    /// Reads the environment.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let log_days = env.optional("LOG_RETENTION_DAYS").unwrap_or("30").parse();
        Ok(Self {
            eraser: Eraser::from_env(env, aws)?,
            queue: ErasureQueue::from_env(env, aws)?,
            seed: Secret::new(aws.secrets_manager(), env.required("RECEIPT_SECRET")?),
            log_days: log_days.map_err(|_| ConfigError::Invalid {
                name: "LOG_RETENTION_DAYS",
                expected: "a number of days",
            })?,
        })
    }

    /// Reads the secrets before the first message.
    pub async fn preload(&self) {
        tokio::join!(self.eraser.preload(), self.seed.preload());
    }

    /// Works on the erasure of a message. An error means that the message must be delivered again.
    pub async fn process(&self, message: &ErasureMessage, deadline: Instant) -> Result<(), ErasureError> {
        let Some(id) = ErasureId::parse(&message.erasure_id) else {
            return Err(ErasureError::Invalid("the message names no erasure".to_owned()));
        };
        let lifecycle = &self.queue.lifecycle;
        let Some(erasure) = lifecycle.read::<Erasure>(&id.item()).await? else {
            return Ok(());
        };
        let Some(target) = erasure.value.target.clone().filter(|_| !erasure.value.is_done()) else {
            return Ok(());
        };
        let mut run = Run {
            eraser: &self.eraser,
            queue: &self.queue,
            erasure,
            names: Vec::new(),
            tried: HashSet::new(),
            deadline,
        };
        run.erasure.value.problems.clear();
        let end = run.erase_target(&target).await;
        run.remove_from_reports().await?;
        match end? {
            End::Overtaken => Ok(()),
            End::OutOfTime => {
                run.queue.save(&mut run.erasure, Some(OVERDUE)).await?;
                self.queue.send(&id, Duration::ZERO).await
            }
            End::Complete if is_over(&run.erasure.value, &target) => self.finish(run.erasure).await,
            End::Complete => {
                let pause = pause(&run.erasure.value);
                run.erasure.value.attempts += 1;
                if self.queue.save(&mut run.erasure, Some(pause)).await? && pause <= MAX_DELAY {
                    self.queue.send(&id, pause).await?;
                }
                Ok(())
            }
        }
    }

    /// Stores the receipt in place of what was to be erased.
    async fn finish(&self, mut erasure: Versioned<Erasure>) -> Result<(), ErasureError> {
        let now = Timestamp::now();
        let seed = self.seed.get().await?;
        let done = &mut erasure.value;
        done.attempts += 1;
        done.receipt = Some(receipt(done, now, (self.log_days, self.eraser.audit.days()), &seed)?);
        done.completed_at = Some(now);
        done.target = None;
        done.reason = None;
        tracing::info!(erasure_id = %done.id, calls = done.calls, "erasure done");
        self.queue.save(&mut erasure, None).await?;
        Ok(())
    }
}

/// Whether nothing is left to do.
fn is_over(erasure: &Erasure, target: &Target) -> bool {
    let is_taken_over = || Timestamp::now().duration_since(erasure.requested_at) > TAKEN_OVER;
    erasure.problems.is_empty() || matches!(target, Target::Expired { .. }) && is_taken_over()
}

/// The pause before the next attempt: until the first lock ends, a day if everything that is left is held, and otherwise growing.
fn pause(erasure: &Erasure) -> Duration {
    let growing = FIRST_PAUSE
        .saturating_mul(1 << erasure.attempts.min(10))
        .min(LONGEST_PAUSE);
    let now = Timestamp::now();
    let of_problem = |problem: &Problem| match (problem.kind, problem.until) {
        (None, _) => HELD_PAUSE,
        (Some(_), Some(until)) => until.duration_since(now).unsigned_abs().clamp(FIRST_PAUSE, HELD_PAUSE),
        (Some(_), None) => growing,
    };
    erasure.problems.iter().map(of_problem).min().unwrap_or(growing)
}

struct Run<'a> {
    eraser: &'a Eraser,
    queue: &'a ErasureQueue,
    erasure: Versioned<Erasure>,
    /// What the erased calls were known by.
    names: Vec<String>,
    /// The calls that this run has tried.
    tried: HashSet<String>,
    deadline: Instant,
}

impl Run<'_> {
    async fn erase_target(&mut self, target: &Target) -> Result<End, ErasureError> {
        let calls = &self.eraser.calls;
        let before = self.erasure.value.before;
        let everything = Rule {
            scope: ErasureScope::Everything,
            time: CallTime::Ignored,
        };
        match target {
            Target::Call(id) => {
                let item = calls.item_of(id).await?;
                self.erase_all(item.into_iter().collect(), everything).await
            }
            Target::Interaction(id) => {
                let items = items_of_interaction(calls, id).await?;
                self.erase_all(items, everything).await
            }
            Target::Phone(digits) => {
                let items = items_of_number(calls, digits, before).await?;
                self.erase_all(items, everything).await
            }
            Target::Expired {
                calls_before,
                transcripts_before,
            } => self.erase_expired(*calls_before, *transcripts_before).await,
        }
    }

    async fn erase_expired(
        &mut self,
        calls_before: Option<Timestamp>,
        transcripts_before: Option<Timestamp>,
    ) -> Result<End, ErasureError> {
        let rule = |scope, time| Rule { scope, time };
        let everything = rule(ErasureScope::Everything, CallTime::Later);
        let transcripts = rule(ErasureScope::Transcripts, CallTime::Later);
        let own = self.past_their_own_time().await?;
        let mut end = self
            .erase_all(own, rule(ErasureScope::Everything, CallTime::Passed))
            .await?;
        for missing in [false, true] {
            if let (Some(before), End::Complete) = (calls_before, end) {
                let filter = ListFilter {
                    missing,
                    started_before: Some(before),
                    ..ListFilter::default()
                };
                end = self.erase_list(&filter, everything).await?;
            }
        }
        for day in self.days_with_transcripts(calls_before, transcripts_before).await? {
            if end == End::Complete {
                let start = day.to_zoned(TimeZone::UTC).map(|start| start.timestamp()).ok();
                let next = day.tomorrow().ok().and_then(|next| next.to_zoned(TimeZone::UTC).ok());
                let filter = ListFilter {
                    started_after: start,
                    started_before: next.map(|next| next.timestamp()).min(transcripts_before),
                    has_transcript: Some(true),
                    ..ListFilter::default()
                };
                end = self.erase_list(&filter, transcripts).await?;
            }
        }
        Ok(end)
    }

    /// The calls whose own time has passed. The times of other calls are put right.
    async fn past_their_own_time(&self) -> Result<Vec<String>, ErasureError> {
        let (calls, lifecycle, now) = (&self.eraser.calls, &self.eraser.lifecycle, Timestamp::now());
        let mut passed = Vec::new();
        for item in lifecycle.past_their_time(now, OWN_TIMES).await? {
            let call = calls.contents(&item).await?.map(|contents| contents.call);
            match call.map(|call| (call.retain_until, call.hold)) {
                Some((Some(until), _)) if until > now => lifecycle.retain(&item, until).await?,
                Some((Some(_), hold)) => {
                    if hold.is_some() {
                        // Otherwise held calls would stay at the top of the list.
                        lifecycle.retain(&item, now + HELD_PAUSE).await?;
                    }
                    passed.push(item);
                }
                Some((None, _)) | None => lifecycle.end_retaining(&item, now).await?,
            }
        }
        Ok(passed)
    }

    /// The days before `until` on which a call that can be played has a transcript, as the ledger knows them. No other day is read.
    async fn days_with_transcripts(
        &self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Vec<Date>, ErasureError> {
        let Some(until) = until else { return Ok(Vec::new()) };
        let calls = &self.eraser.calls;
        let first = match from {
            Some(from) => Some(from),
            None => {
                let all = ListFilter::default();
                let oldest = calls.list(&all, ListOrder::Oldest, ListStart::Offset(0), 1).await;
                oldest
                    .map_err(list_error)?
                    .calls
                    .first()
                    .and_then(|call| call.start_time)
            }
        };
        let Some(first) = first.filter(|first| *first < until) else {
            return Ok(Vec::new());
        };
        let days = calls.ledger_days(utc_day(first), utc_day(until)).await?;
        Ok(days
            .iter()
            .filter(|day| day.transcripts > 0)
            .map(|day| day.day)
            .collect())
    }

    async fn erase_list(&mut self, filter: &ListFilter, rule: Rule) -> Result<End, ErasureError> {
        let mut start = ListStart::Offset(0);
        loop {
            let page = self.eraser.calls.list(filter, ListOrder::Oldest, start, PAGE);
            let page = page.await.map_err(list_error)?;
            let end = self.erase_all(item_ids(page.calls), rule).await?;
            match (page.next, end) {
                (Some(next), End::Complete) => start = ListStart::After(next),
                (_, end) => return Ok(end),
            }
        }
    }

    /// Erases these calls, and stores the progress from time to time.
    async fn erase_all(&mut self, items: Vec<String>, rule: Rule) -> Result<End, ErasureError> {
        let (eraser, deadline) = (self.eraser, self.deadline);
        for page in items.chunks(PAGE) {
            if Instant::now() >= deadline {
                return Ok(End::OutOfTime);
            }
            // A call that is found by several of its items is erased once.
            let mut roots = eraser.calls.roots(page).await?;
            roots.retain(|root| self.tried.insert(root.clone()));
            let calls: Vec<_> = roots
                .into_iter()
                .map(|item| erase_call(eraser, item, rule, deadline))
                .collect();
            let outcomes: Vec<_> = stream::iter(calls).buffer_unordered(CONCURRENCY).collect().await;
            let mut audited = Vec::new();
            for (item, (mut erased, outcome)) in outcomes {
                audited.append(&mut erased.audited);
                self.note(&item, erased, outcome);
            }
            // Requests that had found a call before its erasure may have written their items after it.
            let late = eraser.audit.erase(&audited).await?;
            if late > 0 {
                let counts = Counts::from([(Kind::AuditItems, late)]);
                self.erasure.value.add(&counts, Vec::new());
            }
            if !self.queue.save(&mut self.erasure, Some(OVERDUE)).await? {
                return Ok(End::Overtaken);
            }
        }
        Ok(End::Complete)
    }

    fn note(&mut self, item: &str, erased: Erased, outcome: Outcome) {
        let erasure = &mut self.erasure.value;
        let is_something = !erased.counts.is_empty();
        erasure.add(&erased.counts, erased.versions);
        self.names.extend(erased.names);
        match outcome {
            Outcome::Erased => erasure.calls += u64::from(is_something),
            Outcome::Incomplete(problems) => {
                for problem in problems {
                    erasure.add_problem(problem);
                }
            }
            Outcome::Held(hold) => erasure.add_problem(Problem {
                item: item.to_owned(),
                kind: None,
                code: "recording_held".to_owned(),
                reason: hold.reason,
                until: None,
            }),
            Outcome::Kept | Outcome::Absent => {}
        }
    }

    /// Removes the erased calls from the reconciler's report, which lists calls without a recording and recordings without a call.
    async fn remove_from_reports(&self) -> Result<(), ErasureError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let calls = &self.eraser.calls;
        let is_erased = |name: &str| self.names.iter().any(|erased| erased == name);
        if let Some(mut days) = calls.reconciler_state::<Days>(ReconcilerState::Days).await?
            && days.forget(is_erased)
        {
            calls.save_reconciler_state(ReconcilerState::Days, &days).await?;
        }
        if let Some(mut report) = calls.reconciler_state::<Report>(ReconcilerState::Report).await?
            && report.forget(is_erased)
        {
            calls.save_reconciler_state(ReconcilerState::Report, &report).await?;
        }
        if let Some(mut at) = calls
            .reconciler_state::<Checkpoint>(ReconcilerState::Checkpoint)
            .await?
        {
            let known = at.failures.entries().len();
            for name in &self.names {
                at.failures.remove(&Subject::S3Key(name.clone()));
            }
            if at.report.forget(is_erased) || at.failures.entries().len() < known {
                calls.save_reconciler_state(ReconcilerState::Checkpoint, &at).await?;
            }
        }
        Ok(())
    }
}

async fn erase_call(eraser: &Eraser, item: String, rule: Rule, deadline: Instant) -> (String, (Erased, Outcome)) {
    let outcome = eraser.erase(&item, rule, deadline).await;
    (item, outcome)
}

fn item_ids(calls: Vec<Call>) -> Vec<String> {
    calls.into_iter().map(|call| call.item).collect()
}

fn list_error(error: ListError) -> ErasureError {
    match error {
        ListError::Calls(error) => error.into(),
        ListError::OffsetTooDeep => ErasureError::Invalid(error.to_string()),
    }
}

/// The items of the calls of an interaction.
pub(super) async fn items_of_interaction(calls: &Calls, id: &str) -> Result<Vec<String>, ErasureError> {
    let mut items = vec![Calls::item_of_interaction(id)];
    for missing in [false, true] {
        let filter = ListFilter {
            missing,
            interaction_id: Some(id.to_owned()),
            ..ListFilter::default()
        };
        items.extend(listed(calls, &filter).await?);
    }
    Ok(items)
}

/// The items of the calls of a phone number, some of them twice: those that are listed under it, and those that are known by it in another way.
pub(super) async fn items_of_number(
    calls: &Calls,
    digits: &str,
    before: Option<Timestamp>,
) -> Result<Vec<String>, ErasureError> {
    let mut items = Vec::new();
    for missing in [false, true] {
        let filter = ListFilter {
            missing,
            phone: Some(digits.to_owned()),
            started_before: before,
            ..ListFilter::default()
        };
        items.extend(listed(calls, &filter).await?);
    }
    items.extend(calls.items_of_number(digits, before).await?);
    Ok(items)
}

async fn listed(calls: &Calls, filter: &ListFilter) -> Result<Vec<String>, ErasureError> {
    let (mut items, mut start) = (Vec::new(), ListStart::Offset(0));
    loop {
        let page = calls
            .list(filter, ListOrder::Oldest, start, PAGE)
            .await
            .map_err(list_error)?;
        items.extend(item_ids(page.calls));
        match page.next {
            Some(next) => start = ListStart::After(next),
            None => return Ok(items),
        }
    }
}
