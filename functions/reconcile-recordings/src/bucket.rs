//! The walks over the bucket's keys: those of the last days in every round, all others over many rounds.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use shared::{
    calls::index_object,
    clients::bucket::{BucketError, ListedRecording, RecordingsBucket},
    reconcile::{Checkpoint, IgnoredFiles, Step, Subject},
    time::utc_day,
};

use crate::{
    ReconcileError, State, first_recent,
    work::{Fault, each},
};

/// A file that was written so long before the last round was seen by it.
const OVERLAP: SignedDuration = SignedDuration::from_hours(6);
/// A file that was written so long before the last walk over everything began was seen by it.
const SWEEP_OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// A walk over everything begins at most this often.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// One page of the bucket's keys of the last days. Objects that the round before this one has seen are not compared again.
pub(crate) async fn recent(state: &State, at: &mut Checkpoint, after: Option<String>) -> Result<Step, ReconcileError> {
    let today = utc_day(at.began);
    let next = Step::Twilio(today, None);
    let Some(bucket) = &state.bucket else {
        return Ok(next);
    };
    let folder = |day: Date| format!("{}{}", bucket.prefix(), day.strftime("%Y/%m/%d"));
    // Behind the folder of tomorrow, which a clock that is fast or another zone may have begun: `0` comes after `/`.
    let (first, end) = (
        folder(first_recent(at, at.objects_read)),
        format!("{}0", folder(today.saturating_add(1.days()))),
    );
    let page = match bucket
        .page("", Some(after.as_deref().unwrap_or(&first)), state.limits.objects)
        .await
    {
        Ok(page) => page,
        Err(error) => return unread(at, &error, next),
    };
    let seen = at.objects_read.map(|read| read.saturating_sub(OVERLAP).unwrap_or(read));
    let recordings = page
        .recordings
        .into_iter()
        .filter(|recording| recording.key < end)
        .collect();
    if let Err(fault) = compare(state, bucket, at, recordings, seen).await {
        return ended(at, fault, next);
    }
    match page.last.filter(|last| *last < end) {
        Some(last) => Ok(Step::Objects(Some(last))),
        None => {
            at.objects_read = Some(at.began);
            Ok(next)
        }
    }
}

/// One page of the walk over all keys; whether there is more to do in this round.
pub(crate) async fn sweep(state: &State, at: &mut Checkpoint) -> Result<bool, ReconcileError> {
    let Some(bucket) = &state.bucket else {
        return Ok(false);
    };
    let is_between = at.objects.after.is_none();
    let is_due = |began: Timestamp| at.began.duration_since(began) >= SWEEP_EVERY;
    if is_between && !at.objects.began.is_none_or(is_due) || !at.failures.has_room() {
        return Ok(false);
    }
    if is_between {
        at.objects.before = at.objects.began.filter(|_| at.objects.is_first_over);
        at.objects.began = Some(at.began);
        at.objects.ignored = IgnoredFiles::default();
    }
    let page = match bucket.page("", at.objects.after.as_deref(), state.limits.objects).await {
        Ok(page) => page,
        Err(error) => {
            if is_between {
                at.objects.began = at.objects.before;
            }
            return unread(at, &error, Step::Done).map(|_| false);
        }
    };
    let seen = at
        .objects
        .before
        .map(|before| before.saturating_sub(SWEEP_OVERLAP).unwrap_or(before));
    if let Err(fault) = compare(state, bucket, at, page.recordings, seen).await {
        return ended(at, fault, Step::Done).map(|_| false);
    }
    for (key, why) in page.ignored {
        at.objects.ignored.add(key, why);
    }
    at.objects.is_first_over |= page.last.is_none();
    at.objects.after = page.last;
    Ok(at.objects.after.is_some())
}

/// Indexes those objects of a page that the index does not have as they are, of those that were written after `seen`.
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
    let things = unknown
        .into_iter()
        .map(|key| (Subject::S3Key(key.clone()), false, key))
        .collect();
    each(at, things, async |key: String| index(state, bucket, &key).await).await
}

/// Indexes one object as it is now.
pub(crate) async fn index(state: &State, bucket: &RecordingsBucket, key: &str) -> Result<(), Fault> {
    index_object(&state.calls, bucket, key, None).await?;
    Ok(())
}

/// The bucket's recordings are not read in this round; everything else is.
fn unread(at: &mut Checkpoint, error: &BucketError, next: Step) -> Result<Step, ReconcileError> {
    tracing::warn!(%error, "the bucket's keys not read");
    let code = match error {
        BucketError::AccessDenied => "s3_access_denied",
        BucketError::NoSuchBucket => "s3_no_such_bucket",
        _ => "s3_unavailable",
    };
    at.report
        .problem(code, format!("The bucket's keys were not all read: {error}."));
    Ok(next)
}

/// The same after an object was not read. A database that does not answer ends the run.
pub(crate) fn ended(at: &mut Checkpoint, fault: Fault, next: Step) -> Result<Step, ReconcileError> {
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
