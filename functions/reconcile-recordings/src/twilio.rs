//! Lists Twilio's recordings: those of the last days in every round, and all of them in a sweep over many rounds.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use shared::{
    calls::{TwilioRecording, TwilioUpdate},
    clients::twilio::{MediaPlace, PageQuery, Recording, RecordingSid, RecordingStatus, TwilioError},
    reconcile::{Checkpoint, Step, Subject, TwilioSweep},
    time::utc_day,
};
use tokio::time::Instant;

use crate::{
    MARGIN, ReconcileError, SWEEP_EVERY, State,
    bucket::report_outage,
    first_recent,
    work::{Fault, process_all},
};

/// The timeout for looking up a call's number and for checking a recording's media.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Twilio may need this long until the media of a completed recording is available.
const MEDIA_DELAY: SignedDuration = SignedDuration::from_hours(1);
/// Twilio's API finds calls of the last 13 months.
const CALLS_KEPT: SignedDuration = SignedDuration::from_hours(13 * 30 * 24);
/// Twilio keeps the metadata of deleted recordings for this many days.
const KEPT_DAYS: i32 = 40;

/// Lists one page of a day's recordings, beginning with today and going backwards. If a page can't be read, the round continues with the day
/// before; an outage ends the listing for this round.
pub(crate) async fn recent(
    state: &State,
    at: &mut Checkpoint,
    day: Date,
    page: Option<String>,
) -> Result<Step, ReconcileError> {
    let earlier = day
        .yesterday()
        .ok()
        .filter(|day| *day >= first_recent(at, at.twilio_read));
    let first = || PageQuery::on(state.limits.recordings, day).with_deleted();
    let query = page.as_deref().and_then(PageQuery::parse).unwrap_or_else(first);
    match state.twilio.list(&query, deadline()).await {
        Ok(found) => {
            at.report.twilio_complete = Some(at.twilio.is_first_over);
            let transcribe = at.has_finished;
            if let Err(fault) = compare(state, at, &found.recordings, transcribe).await {
                return report_outage(at, fault, Step::Days(Vec::new()));
            }
            // An empty page with a next page could lead to an endless loop.
            if let Some(next) = found.next.filter(|_| !found.recordings.is_empty()) {
                return Ok(Step::Twilio(day, Some(next.as_str().to_owned())));
            }
        }
        // No Twilio account is configured.
        Err(TwilioError::IncompleteSecret) => return Ok(Step::Days(Vec::new())),
        Err(error) => {
            at.report.twilio_complete = Some(at.twilio.is_first_over);
            report_problem(at, &error);
            if error.is_outage() {
                return Ok(Step::Days(Vec::new()));
            }
            let subject = Subject::TwilioDay(day);
            at.fail(subject, error.code(), error.user_message(), false, Timestamp::now());
        }
    }
    Ok(match earlier {
        Some(day) => Step::Twilio(day, None),
        None => {
            at.twilio_read = Some(at.began);
            Step::Days(Vec::new())
        }
    })
}

/// Reads one page of the sweep over all recordings. Returns whether the sweep can continue in this round.
pub(crate) async fn sweep(state: &State, at: &mut Checkpoint) -> Result<bool, ReconcileError> {
    // The recordings of the last days could not be listed, or no account is configured.
    if at.report.twilio_complete.is_none()
        || at
            .report
            .problems
            .iter()
            .any(|problem| problem.code.starts_with("twilio"))
    {
        return Ok(false);
    }
    let is_due = |began: Timestamp| at.failures.has_room() || at.began.duration_since(began) >= SWEEP_EVERY;
    if at.twilio.is_first_over && at.twilio.has_missed && at.twilio.repeated.is_none_or(is_due) {
        at.twilio = TwilioSweep {
            repeated: Some(at.began),
            deleted: std::mem::take(&mut at.twilio.deleted),
            ..TwilioSweep::default()
        };
    }
    match at.twilio.is_first_over {
        true => sweep_deleted(state, at).await,
        false => sweep_all(state, at).await,
    }
}

/// Reads one page of a month. The sweep goes from the newest month to the oldest.
async fn sweep_all(state: &State, at: &mut Checkpoint) -> Result<bool, ReconcileError> {
    let until = at.twilio.until.unwrap_or_else(|| utc_day(at.began));
    let first = || PageQuery::first(state.limits.recordings, Some(until.first_of_month()), Some(until)).with_deleted();
    let query = at
        .twilio
        .page
        .as_deref()
        .and_then(PageQuery::parse)
        .unwrap_or_else(first);
    let subject = Subject::TwilioMonth(until);
    let next = match state.twilio.list(&query, deadline()).await {
        Ok(found) => {
            let transcribe = at.twilio.repeated.is_some();
            if let Err(fault) = compare(state, at, &found.recordings, transcribe).await {
                return report_outage(at, fault, Step::Done).map(|_| false);
            }
            let next = found.next.filter(|_| !found.recordings.is_empty());
            if next.is_none() {
                at.failures.remove(&subject);
            }
            next
        }
        Err(error) if error.is_outage() => {
            report_problem(at, &error);
            return Ok(false);
        }
        // Twilio may have forgotten the page token. The month is then read again from its first page, once. A month that still can't be read
        // stays on the list of failures.
        Err(error) => {
            report_problem(at, &error);
            if at.twilio.page.take().is_some() && !at.failures.contains(&subject) {
                at.fail(subject, error.code(), error.user_message(), false, Timestamp::now());
                return Ok(false);
            }
            at.fail(subject, error.code(), error.user_message(), false, Timestamp::now());
            None
        }
    };
    at.twilio.until = Some(until);
    at.twilio.page = next.map(|next| next.as_str().to_owned());
    if at.twilio.page.is_none() {
        let earlier = until.first_of_month().yesterday().ok();
        at.twilio.until = earlier;
        at.twilio.is_first_over = match earlier {
            Some(day) => is_empty_before(state, day).await,
            None => true,
        };
        at.report.twilio_complete = Some(at.twilio.is_first_over);
    }
    Ok(true)
}

/// Whether Twilio has no recording up to the end of `day`. After an error the sweep continues with the next month.
async fn is_empty_before(state: &State, day: Date) -> bool {
    let query = PageQuery::first(1, None, Some(day)).with_deleted();
    let found = state.twilio.list(&query, deadline()).await;
    found.is_ok_and(|page| page.recordings.is_empty())
}

/// Once a day, lists the deleted recordings of the last weeks.
async fn sweep_deleted(state: &State, at: &mut Checkpoint) -> Result<bool, ReconcileError> {
    let sweep = &mut at.twilio.deleted;
    let is_due = |began: Timestamp| at.began.duration_since(began) >= SignedDuration::from_hours(24);
    if sweep.page.is_none() && !sweep.began.is_none_or(is_due) {
        return Ok(false);
    }
    if sweep.page.is_none() {
        sweep.began = Some(at.began);
    }
    let since = utc_day(at.began).saturating_sub(KEPT_DAYS.days());
    let first = || PageQuery::first(state.limits.recordings, Some(since), None).with_deleted();
    let query = sweep
        .page
        .take()
        .as_deref()
        .and_then(PageQuery::parse)
        .unwrap_or_else(first);
    match state.twilio.list(&query, deadline()).await {
        Ok(mut found) => {
            let next = found.next.take().filter(|_| !found.recordings.is_empty());
            found
                .recordings
                .retain(|recording| recording.status.as_str() == "deleted");
            if let Err(fault) = compare(state, at, &found.recordings, false).await {
                return report_outage(at, fault, Step::Done).map(|_| false);
            }
            at.twilio.deleted.page = next.map(|next| next.as_str().to_owned());
            Ok(at.twilio.deleted.page.is_some())
        }
        Err(error) => {
            if error.is_outage() {
                at.twilio.deleted.page = Some(query.as_str().to_owned());
            }
            report_problem(at, &error);
            Ok(false)
        }
    }
}

/// Indexes the recordings that are missing or out of date in the index.
async fn compare(state: &State, at: &mut Checkpoint, found: &[Recording], transcribe: bool) -> Result<(), Fault> {
    at.report.twilio_recordings += found.len() as u64;
    let rows = found
        .iter()
        .map(|recording| (recording.call().to_owned(), TwilioRecording::from(recording)))
        .collect();
    let mut updates = state.calls.twilio_updates(rows).await?;
    updates.retain(|update| {
        let is_only_unverified = !update.is_new && update.phone.is_some();
        let is_failing = at
            .failures
            .contains(&Subject::RecordingSid(update.recording.sid.clone()));
        let is_too_early = is_only_unverified && is_recent(&update.recording);
        !(is_failing || is_too_early)
    });
    at.report.twilio_recordings_indexed += updates.len() as u64;
    let is_external = |sid: &str| {
        let recording = found.iter().find(|recording| recording.sid == sid);
        recording.is_some_and(|recording| state.twilio.media_place(recording) != MediaPlace::Twilio)
    };
    let items = updates.into_iter().map(|update| {
        let subject = Subject::RecordingSid(update.recording.sid.clone());
        let is_external = is_external(&update.recording.sid);
        (subject, transcribe, (update, is_external, transcribe))
    });
    let items = items.collect();
    process_all(at, items, async |(update, is_external, transcribe)| {
        index(state, update, is_external, transcribe).await
    })
    .await
}

/// Retries a recording that failed.
pub(crate) async fn retry(state: &State, sid: &str, transcribe: bool) -> Result<(), Fault> {
    let Some(sid) = RecordingSid::parse(sid) else {
        return Ok(());
    };
    let found = match state.twilio.recording(&sid, deadline()).await {
        Err(TwilioError::NotFound) => return Ok(()),
        found => found?,
    };
    let rows = vec![(found.call().to_owned(), TwilioRecording::from(&found))];
    let is_external = state.twilio.media_place(&found) != MediaPlace::Twilio;
    for update in state.calls.twilio_updates(rows).await? {
        index(state, update, is_external, transcribe).await?;
    }
    Ok(())
}

/// Reads the complete list of days that could not be read before.
pub(crate) async fn retry_days(state: &State, first: Date, last: Date) -> Result<(), Fault> {
    let mut query = PageQuery::first(state.limits.recordings, Some(first), Some(last)).with_deleted();
    loop {
        let page = state.twilio.list(&query, deadline()).await?;
        let rows = page
            .recordings
            .iter()
            .map(|recording| (recording.call().to_owned(), TwilioRecording::from(recording)))
            .collect();
        for update in state.calls.twilio_updates(rows).await? {
            let found = page
                .recordings
                .iter()
                .find(|recording| recording.sid == update.recording.sid);
            let is_external = found.is_some_and(|found| state.twilio.media_place(found) != MediaPlace::Twilio);
            index(state, update, is_external, false).await?;
        }
        match page.next.filter(|_| !page.recordings.is_empty()) {
            Some(next) => query = next,
            None => return Ok(()),
        }
    }
}

/// Indexes a recording after looking up its call's number and checking its media.
async fn index(state: &State, update: TwilioUpdate, is_external: bool, transcribe: bool) -> Result<(), Fault> {
    let TwilioUpdate {
        mut recording,
        call_sid,
        ..
    } = update;
    let mut is_verified = update.is_verified || is_external;
    if !is_verified && !is_recent(&recording) {
        let account = state.twilio.account_sid().await?;
        let deadline = Instant::now() + LOOKUP_TIMEOUT;
        match state.twilio.probe_media(&account, &recording.sid, deadline).await? {
            404 | 410 => recording.status = RecordingStatus::new("deleted"),
            429 => return Err(TwilioError::RateLimited(None).into()),
            status @ (401 | 403) => return Err(TwilioError::Unauthorized(status).into()),
            status if status >= 500 => return Err(TwilioError::Server(status, None).into()),
            _ => is_verified = true,
        }
    }
    // Before it is indexed: if this fails, the next try must find the completion again.
    if transcribe
        && update.is_completion
        && recording.is_completed()
        && let Some(sid) = RecordingSid::parse(&recording.sid)
    {
        if let Some(auto_transcribe) = &state.auto_transcribe {
            auto_transcribe.enqueue(sid.clone()).await?;
        }
        if let Some(copies) = &state.copies {
            copies.enqueue(&sid).await?;
        }
    }
    let (phone, fault) = match update.phone {
        Some(phone) => (Some(phone), None),
        None => match state.twilio.number_of(&call_sid, Instant::now() + LOOKUP_TIMEOUT).await {
            Ok(number) => (Some(number.unwrap_or_default()), None),
            // Twilio no longer has the call, so its number stays unknown.
            Err(TwilioError::NotFound) if is_archived(&recording) => (Some(String::new()), None),
            Err(TwilioError::NotFound) => (None, Some(Fault::CallNotFound)),
            Err(error) => (None, Some(error.into())),
        },
    };
    // The recording is stored even if the number could not be looked up.
    let calls = &state.calls;
    calls
        .record_found_twilio_recording(
            &call_sid,
            &recording,
            phone.as_deref(),
            is_verified && recording.is_completed(),
        )
        .await?;
    fault.map_or(Ok(()), Err)
}

/// Whether the recording is so recent that its media may not be available yet.
fn is_recent(recording: &TwilioRecording) -> bool {
    let length = SignedDuration::from_secs(recording.duration.unwrap_or_default());
    let is_recent = |start: Timestamp| Timestamp::now().duration_since(start) < MEDIA_DELAY.saturating_add(length);
    recording.start_time.is_some_and(is_recent)
}

/// Whether Twilio may have archived the recording's call, which its API no longer finds then.
fn is_archived(recording: &TwilioRecording) -> bool {
    let is_old = |start: Timestamp| Timestamp::now().duration_since(start) > CALLS_KEPT;
    recording.start_time.is_some_and(is_old)
}

fn deadline() -> Instant {
    Instant::now() + MARGIN / 2
}

/// Reports that Twilio's recordings could not be listed. The round continues with other steps.
fn report_problem(at: &mut Checkpoint, error: &TwilioError) {
    tracing::warn!(%error, "Twilio's recordings could not be listed");
    at.report.problem(
        error.code(),
        format!(
            "Twilio's recordings could not be listed completely: {}.",
            error.user_message()
        ),
    );
}
