//! Requests the erasure of what is past its time, once a day, and reports what became of it.

use jiff::Timestamp;
use shared::{
    erasure::{Erasure, ErasureError, ErasureId},
    reconcile::{Checkpoint, RetentionReport},
    time::utc_day,
};

use crate::State;

/// The maximum number of erasures that a run sends to the queue again.
const DUE_ERASURES: i32 = 100;

/// Sends erasures that are due to their queue, and requests that of today. A failure is added to the report, and the round continues.
pub(crate) async fn erase_what_is_due(state: &State, at: &mut Checkpoint) {
    if let Err(error) = try_erase(state, at).await {
        tracing::warn!(%error, "erasures could not be queued");
        let reason = format!("Erasures that are due could not be queued: {error}.");
        at.report.problem("erasures_not_sent", reason);
    }
}

async fn try_erase(state: &State, at: &mut Checkpoint) -> Result<(), ErasureError> {
    let (now, today) = (Timestamp::now(), utc_day(Timestamp::now()));
    state.erasures.send_due(DUE_ERASURES).await?;
    let is_set = state.retention.days.is_some() || state.retention.transcript_days.is_some();
    if at.retention_day == Some(today) || !(is_set || state.erasures.has_due_calls(now).await?) {
        return Ok(());
    }
    state.erasures.request(&state.retention.erasure(now)).await?;
    at.retention_day = Some(today);
    Ok(())
}

/// What became of the last erasure of what is past its time.
pub(crate) async fn report(state: &State, at: &Checkpoint) -> Option<RetentionReport> {
    let id = ErasureId::of_retention(at.retention_day?);
    let erasure = state.erasures.get(&id).await;
    let erasure = erasure
        .inspect_err(|error| tracing::warn!(%error, "an erasure could not be read"))
        .ok()??;
    Some(of(&erasure))
}

fn of(erasure: &Erasure) -> RetentionReport {
    let (held, failed): (Vec<_>, Vec<_>) = erasure.problems.iter().partition(|problem| problem.is_hold());
    let mut reasons: Vec<String> = failed.iter().map(|problem| problem.reason.clone()).collect();
    reasons.sort();
    reasons.dedup();
    reasons.truncate(20);
    RetentionReport {
        erasure_id: erasure.id.to_string(),
        erased: erasure.calls,
        held: held.len() as u64,
        not_erased: failed.len() as u64,
        reasons,
    }
}
