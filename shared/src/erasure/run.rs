//! A run over what a requested erasure names, until its time is up or everything is erased.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tokio::time::Instant;

use super::{
    eraser::{CallTime, Erased, Eraser, Outcome, Rule, TRIES, call_changed, names},
    error::ErasureError,
    found::{PAGE, item_ids, items_of_interaction, items_of_number, list_error},
    model::{Counts, Erasure, ErasureScope, Kind, Problem, Target, Traces},
    queue::ErasureQueue,
};
use crate::{
    calls::{CallContents, ListFilter, ListOrder, ListStart, ReconcilerState},
    lifecycle::{OVERDUE, Versioned},
    reconcile::{Checkpoint, Days, Report, Subject},
    time::utc_day,
};

/// Calls that are erased at the same time.
const CONCURRENCY: usize = 8;
/// Calls with a time of their own that one erasure reads.
const OWN_TIMES: i32 = 1000;
/// When a call that is held or locked is looked at again.
pub(super) const HELD_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    OutOfTime,
    /// Another worker works on the same erasure.
    Overtaken,
}

/// A run over an erasure.
pub(super) struct Run<'a> {
    eraser: &'a Eraser,
    pub(super) queue: &'a ErasureQueue,
    pub(super) erasure: Versioned<Erasure>,
    /// The calls that this run has tried.
    tried: HashSet<String>,
    deadline: Instant,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        eraser: &'a Eraser,
        queue: &'a ErasureQueue,
        erasure: Versioned<Erasure>,
        deadline: Instant,
    ) -> Self {
        Self {
            eraser,
            queue,
            erasure,
            tried: HashSet::new(),
            deadline,
        }
    }

    pub(super) async fn erase_target(&mut self, target: &Target) -> Result<End, ErasureError> {
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
            for _ in 0..TRIES {
                let calls: Vec<_> = roots
                    .drain(..)
                    .map(|item| erase_call(eraser, item, rule, deadline))
                    .collect();
                let mut outcomes = stream::iter(calls).buffer_unordered(CONCURRENCY);
                let mut ready = Vec::new();
                while let Some((item, (erased, outcome))) = outcomes.next().await {
                    ready.extend(self.note(&item, erased, outcome));
                }
                drop(outcomes);
                if ready.is_empty() {
                    break;
                }
                self.keep_traces(&ready).await?;
                if !self.queue.save(&mut self.erasure, Some(OVERDUE)).await? {
                    return Ok(End::Overtaken);
                }
                roots = self.remove(&ready).await;
            }
            for item in roots {
                self.erasure.value.add_problem(call_changed(&item));
            }
            if !self.queue.save(&mut self.erasure, Some(OVERDUE)).await? {
                return Ok(End::Overtaken);
            }
        }
        Ok(End::Complete)
    }

    /// Removes calls from the index. Returns those that were changed meanwhile.
    async fn remove(&mut self, ready: &[CallContents]) -> Vec<String> {
        let calls: Vec<_> = ready
            .iter()
            .map(|contents| remove_call(self.eraser, contents))
            .collect();
        let removed: Vec<_> = stream::iter(calls).buffer_unordered(CONCURRENCY).collect().await;
        let mut changed = Vec::new();
        for (item, removed) in removed {
            let mut erased = Erased::default();
            match removed {
                Ok(true) => {
                    erased.add(Kind::Calls, 1);
                    self.note(item, erased, Outcome::Erased);
                }
                Ok(false) => changed.push(item.to_owned()),
                Err(problem) => {
                    self.note(item, erased, Outcome::Incomplete(vec![problem]));
                }
            }
        }
        changed
    }

    /// Keeps what these calls are known by, so that it is known after an interruption, too.
    async fn keep_traces(&mut self, ready: &[CallContents]) -> Result<(), ErasureError> {
        if self.erasure.value.traces.is_full() {
            self.clear_traces().await?;
            self.erasure.value.traces = Traces::default();
        }
        let traces = &mut self.erasure.value.traces;
        for contents in ready {
            traces.reported.extend(names(contents));
            traces.audited.extend(contents.audited.iter().cloned());
        }
        Ok(())
    }

    /// Adds what was erased of a call. Returns the call if the index still has it.
    fn note(&mut self, item: &str, erased: Erased, outcome: Outcome) -> Option<CallContents> {
        let erasure = &mut self.erasure.value;
        let is_something = !erased.counts.is_empty();
        erasure.add(&erased.counts, erased.versions);
        match outcome {
            Outcome::Ready(contents) => return Some(*contents),
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
        None
    }

    /// Removes what the erased calls were known by from reports and from items of the audit that were written meanwhile.
    pub(super) async fn clear_traces(&mut self) -> Result<(), ErasureError> {
        if self.erasure.value.traces.is_empty() {
            return Ok(());
        }
        self.remove_from_reports().await?;
        let audited: Vec<String> = self.erasure.value.traces.audited.iter().cloned().collect();
        let late = self.eraser.audit.erase(&audited).await?;
        if late > 0 {
            let counts = Counts::from([(Kind::AuditItems, late)]);
            self.erasure.value.add(&counts, Vec::new());
        }
        Ok(())
    }

    /// Removes the erased calls from the reconciler's report, which lists calls without a recording and recordings without a call.
    async fn remove_from_reports(&self) -> Result<(), ErasureError> {
        let calls = &self.eraser.calls;
        let names = &self.erasure.value.traces.reported;
        let is_erased = |name: &str| names.contains(name);
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
            for name in names {
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

async fn remove_call<'a>(eraser: &Eraser, contents: &'a CallContents) -> (&'a str, Result<bool, Problem>) {
    (&contents.call.item, eraser.remove(contents).await)
}
