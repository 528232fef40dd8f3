//! A run over what a requested erasure names, until its time is up or everything is erased.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tokio::time::Instant;

use super::{
    eraser::{CallTime, Erased, Eraser, Outcome, Rule},
    error::ErasureError,
    found::{PAGE, item_ids, items_of_interaction, items_of_number, list_error},
    model::{Counts, Erasure, ErasureScope, Kind, Problem, Target},
    queue::ErasureQueue,
};
use crate::{
    calls::{ListFilter, ListOrder, ListStart, ReconcilerState},
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
    /// What the erased calls were known by.
    names: Vec<String>,
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
            names: Vec::new(),
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
    pub(super) async fn remove_from_reports(&self) -> Result<(), ErasureError> {
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
