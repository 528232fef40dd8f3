//! Lists the bucket: the keys of the last days in every round, and all keys in a sweep over many rounds.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use shared::{
    calls::index_object,
    clients::bucket::{BucketError, ListedRecording, RecordingsBucket},
    reconcile::{Checkpoint, IgnoredFiles, Step, Subject},
    time::utc_day,
};

use crate::{
    ReconcileError, SWEEP_EVERY, State, first_recent,
    work::{Fault, process_all},
};

/// The last round is assumed to have listed every file that was written this long before it began.
const OVERLAP: SignedDuration = SignedDuration::from_hours(6);
/// The last sweep is assumed to have listed every file that was written this long before it began.
const SWEEP_OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// Lists one page of the keys of the last days. Objects that the round before has compared are not compared again.
pub(crate) async fn recent(state: &State, at: &mut Checkpoint, after: Option<String>) -> Result<Step, ReconcileError> {
    let today = utc_day(at.began);
    let next = Step::Twilio(today, None);
    let Some(bucket) = &state.bucket else {
        return Ok(next);
    };
    let folder = |day: Date| format!("{}{}", bucket.prefix(), day.strftime("%Y/%m/%d"));
    // The end is after tomorrow's folder, which a fast clock or another time zone may have created: `0` sorts after `/`.
    let (first, end) = (
        folder(first_recent(at, at.objects_read)),
        format!("{}0", folder(today.saturating_add(1.days()))),
    );
    let page = match bucket
        .page("", Some(after.as_deref().unwrap_or(&first)), state.limits.objects)
        .await
    {
        Ok(page) => page,
        Err(error) => return report_problem(at, &error, next),
    };
    let seen = at.objects_read.map(|read| read.saturating_sub(OVERLAP).unwrap_or(read));
    let recordings = page
        .recordings
        .into_iter()
        .filter(|recording| recording.key < end)
        .collect();
    if let Err(fault) = compare(state, bucket, at, recordings, seen).await {
        return report_outage(at, fault, next);
    }
    match page.last.filter(|last| *last < end) {
        Some(last) => Ok(Step::Objects(Some(last))),
        None => {
            at.objects_read = Some(at.began);
            Ok(next)
        }
    }
}

/// Lists one page of the sweep over all keys. Returns whether the sweep can continue in this round.
pub(crate) async fn sweep(state: &State, at: &mut Checkpoint) -> Result<bool, ReconcileError> {
    let Some(bucket) = &state.bucket else {
        return Ok(false);
    };
    let is_new = at.objects.after.is_none();
    let can_retry_missed = at.objects.has_missed && at.failures.has_room();
    let is_due = |began: Timestamp| can_retry_missed || at.began.duration_since(began) >= SWEEP_EVERY;
    if is_new && !at.objects.began.is_none_or(is_due) {
        return Ok(false);
    }
    if is_new {
        let missed = std::mem::take(&mut at.objects.has_missed) || !at.objects.knows_archived;
        at.objects.knows_archived = true;
        at.objects.before = at.objects.began.filter(|_| at.objects.is_first_over && !missed);
        at.objects.began = Some(at.began);
        at.objects.ignored = IgnoredFiles::default();
    }
    let page = match bucket.page("", at.objects.after.as_deref(), state.limits.objects).await {
        Ok(page) => page,
        Err(error) => {
            if is_new {
                at.objects.began = at.objects.before;
            }
            return report_problem(at, &error, Step::Done).map(|_| false);
        }
    };
    let seen = at
        .objects
        .before
        .map(|before| before.saturating_sub(SWEEP_OVERLAP).unwrap_or(before));
    if let Err(fault) = compare(state, bucket, at, page.recordings, seen).await {
        return report_outage(at, fault, Step::Done).map(|_| false);
    }
    for (key, why) in page.ignored {
        at.objects.ignored.add(key, why);
    }
    at.objects.is_first_over |= page.last.is_none();
    at.objects.after = page.last;
    Ok(at.objects.after.is_some())
}

/// Indexes the objects of a page that were written after `seen` and are missing or out of date in the index.
async fn compare(
    state: &State,
    bucket: &RecordingsBucket,
    at: &mut Checkpoint,
    mut recordings: Vec<ListedRecording>,
    seen: Option<Timestamp>,
) -> Result<(), Fault> {
    at.report.objects += recordings.len() as u64;
    recordings.retain(|recording| {
        let is_seen = seen
            .zip(recording.info.modified)
            .is_some_and(|(seen, modified)| modified < seen);
        !is_seen && !at.failures.contains(&Subject::S3Key(recording.key.clone()))
    });
    let unknown = state.calls.out_of_date(&recordings).await?;
    at.report.objects_indexed += unknown.len() as u64;
    let items = unknown
        .into_iter()
        .map(|key| (Subject::S3Key(key.clone()), false, key))
        .collect();
    process_all(at, items, async |key: String| index(state, bucket, &key).await).await
}

/// Indexes the current state of an object.
pub(crate) async fn index(state: &State, bucket: &RecordingsBucket, key: &str) -> Result<(), Fault> {
    index_object(&state.calls, bucket, key, None).await?;
    Ok(())
}

/// Reports that the bucket could not be listed. The round continues with `next`.
fn report_problem(at: &mut Checkpoint, error: &BucketError, next: Step) -> Result<Step, ReconcileError> {
    tracing::warn!(%error, "the bucket could not be listed");
    let code = match error {
        BucketError::AccessDenied => "s3_access_denied",
        BucketError::NoSuchBucket => "s3_no_such_bucket",
        _ => "s3_unavailable",
    };
    at.report
        .problem(code, format!("The bucket could not be listed completely: {error}."));
    Ok(next)
}

/// Reports that indexing stopped after an outage. The round continues with `next`, except after an outage of the table, which ends the run.
pub(crate) fn report_outage(at: &mut Checkpoint, fault: Fault, next: Step) -> Result<Step, ReconcileError> {
    match fault {
        Fault::Calls(error) if error.is_outage() => Err(error.into()),
        fault => {
            at.report.problem(
                fault.code(),
                format!("Not everything was indexed in this round: {fault}."),
            );
            Ok(next)
        }
    }
}
