//! The walk over Twilio's list of recordings.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use shared::{
    calls::{TwilioRecording, TwilioUpdate},
    clients::twilio::{PageQuery, Recording, RecordingSid, TwilioError},
    reconcile::{Checkpoint, DayPage, Step},
};
use tokio::time::Instant;

use crate::{MARGIN, ReconcileError, State, each};

const TWILIO_PAGE: u64 = 1000;
/// The time in which Twilio has to answer for a call's number.
const NUMBER_TIMEOUT: Duration = Duration::from_secs(3);
/// So many calls of a page may stay without an answer; the others are not asked for then.
const UNANSWERED_NUMBERS: usize = 16;

/// One page of Twilio's recordings. Twilio's faults are told in the report; the bucket's recordings do not wait for Twilio.
pub(crate) async fn twilio(
    state: &State,
    at: &mut Checkpoint,
    page: Option<String>,
    end: Instant,
) -> Result<Step, ReconcileError> {
    let query = page
        .as_deref()
        .and_then(PageQuery::parse)
        .unwrap_or_else(|| PageQuery::first(TWILIO_PAGE, at.twilio_since, None));
    let deadline = end.max(Instant::now() + MARGIN / 2);
    Ok(match state.twilio.list(&query, deadline).await {
        Ok(found) => {
            index_recordings(state, at, &found.recordings).await?;
            at.twilio_page = None;
            match found.next {
                Some(next) => Step::Twilio(Some(next.as_str().to_owned())),
                None => Step::Repair(DayPage::first(at.report.to)),
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
            Step::Repair(DayPage::first(at.report.to))
        }
    })
}

async fn index_recordings(state: &State, at: &mut Checkpoint, recordings: &[Recording]) -> Result<(), ReconcileError> {
    let found = recordings.iter().map(|recording| {
        let row = TwilioRecording {
            sid: recording.sid.clone(),
            account_sid: recording.account_sid.clone(),
            status: recording.status.clone(),
            duration: recording.duration.and_then(|seconds| seconds.try_into().ok()),
            start_time: recording.start_time.or(recording.date_created),
            error_code: recording.error_code,
        };
        (recording.call_sid.clone().unwrap_or_else(|| recording.sid.clone()), row)
    });
    let updates = state.calls.twilio_updates(found.collect()).await?;
    at.report.twilio_recordings += recordings.len() as u64;
    at.report.twilio_recordings_indexed += updates.len() as u64;
    // In its first round it finds all recordings that ever were; nobody wants to pay for those.
    let auto_transcribe = state.auto_transcribe.as_ref().filter(|_| at.twilio_since.is_some());
    let unanswered = AtomicUsize::new(0);
    let failed = each(updates, async |update: TwilioUpdate| {
        if let Some(auto_transcribe) = auto_transcribe
            && update.is_completion
            && let Some(sid) = RecordingSid::parse(&update.recording.sid)
        {
            // Before it is indexed: if this fails, the next round must find the completion again.
            auto_transcribe.enqueue(sid).await?;
        }
        let phone = match update.phone {
            Some(phone) => Some(phone),
            None if unanswered.load(Ordering::Relaxed) >= UNANSWERED_NUMBERS => None,
            None => match state
                .twilio
                .number_of(&update.call_sid, Instant::now() + NUMBER_TIMEOUT)
                .await
            {
                Ok(number) => Some(number.unwrap_or_default()),
                // A call whose number can't be had is a call all the same.
                Err(error) => {
                    tracing::warn!(%error, "the call's number is not known");
                    unanswered.fetch_add(1, Ordering::Relaxed);
                    None
                }
            },
        };
        let calls = &state.calls;
        calls
            .record_twilio_recording(&update.call_sid, &update.recording, phone.as_deref(), None)
            .await?;
        Ok(())
    })
    .await?;
    at.twilio_failed |= failed > 0;
    at.report.not_indexed += failed;
    Ok(())
}
