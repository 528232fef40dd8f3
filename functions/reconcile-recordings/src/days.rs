//! The rows of a day: what lacks its other half is paired again, what the index says is compared with the bucket, and what is missing is counted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use shared::{
    calls::{Call, DueDay, ReconcilerState},
    clients::bucket::{BucketError, RecordingsBucket},
    reconcile::{Checkpoint, Days, Step, Subject, Tally},
};
use tokio::time::Instant;

use crate::{
    ReconcileError, State,
    bucket::{self, ended},
    work::each,
    write,
};

/// Keys whose presence is asked for one by one cost as much as a page of a listing.
const HEADS_PER_LISTING: usize = 12;
/// Rows of one number that are further apart than this many seconds are not of one call.
const SAME_CALL: i64 = 360;

/// Counts the rows of the open days, and of those that were changed. The days of `done` are counted already.
pub(crate) async fn open(
    state: &State,
    at: &mut Checkpoint,
    days: &mut Days,
    mut done: Vec<Date>,
    end: Instant,
) -> Result<Step, ReconcileError> {
    let mut due = state.calls.due_days(at.began).await?;
    due.retain(|due| !done.contains(&due.day));
    for due in due {
        let tally = tally(state, at, &due).await?;
        keep(at, days, due.day, tally);
        done.push(due.day);
        if Instant::now() >= end {
            return Ok(Step::Days(done));
        }
    }
    Ok(Step::Close)
}

/// Counts the rows of closed days that were never counted, from the oldest on.
pub(crate) async fn close(
    state: &State,
    at: &mut Checkpoint,
    days: &mut Days,
    end: Instant,
) -> Result<Step, ReconcileError> {
    while let Some(due) = state.calls.next_day_to_close(at.began).await? {
        let tally = match at.report.from <= due.day {
            true => tally(state, at, &due).await?,
            false => count(state, at, &due, |_| {}).await.map(|()| Tally::default())?,
        };
        keep(at, days, due.day, tally);
        if at.report.from <= due.day {
            // The day is not counted again: an invocation that dies later must not lose it.
            write(state, ReconcilerState::Days, days).await?;
        }
        if Instant::now() >= end {
            return Ok(Step::Close);
        }
    }
    state.calls.finish_ledger_round(at.began).await?;
    Ok(Step::Retry)
}

fn keep(at: &Checkpoint, days: &mut Days, day: Date, tally: Tally) {
    if at.report.from <= day {
        days.0.insert(day, tally);
    }
}

async fn count(state: &State, at: &Checkpoint, due: &DueDay, visit: impl FnMut(&Call)) -> Result<(), ReconcileError> {
    state.calls.count_day(due, at.began, visit).await?;
    Ok(())
}

/// Counts the rows of a day; once more after those were repaired that can be.
async fn tally(state: &State, at: &mut Checkpoint, due: &DueDay) -> Result<Tally, ReconcileError> {
    let mut rows = Vec::new();
    count(state, at, due, |row| rows.push(row.clone())).await?;
    let gone = gone(state, at, &rows).await?;
    let apart = apart(&rows);
    at.report.rows_repaired += gone.len() as u64;
    if let (Some(bucket), false) = (&state.bucket, gone.is_empty()) {
        let things = gone
            .iter()
            .map(|key| (Subject::S3Key(key.clone()), false, key.clone()))
            .collect();
        if let Err(fault) = each(at, things, async |key: String| bucket::index(state, bucket, &key).await).await {
            ended(at, fault, Step::Close)?;
        }
    }
    for index in &apart {
        match state.calls.repair(&rows[*index]).await {
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => at
                .report
                .problem("not_repaired", format!("A call was not paired again: {error}.")),
            Ok(()) => {}
        }
    }
    if !(gone.is_empty() && apart.is_empty()) {
        rows.clear();
        count(state, at, due, |row| rows.push(row.clone())).await?;
    }
    let mut tally = Tally::default();
    for row in rows {
        tally.add(row);
    }
    Ok(tally)
}

/// One of each two rows that lack their other half and could be it: what arrived at the same moment may not have seen each other.
fn apart(rows: &[Call]) -> Vec<usize> {
    let mut alone: BTreeMap<&str, Vec<(i64, usize)>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let is_alone = !(row.is_playable() && row.has_dispatch());
        if let (true, Some(phone), Some(start)) = (is_alone, row.phone.as_deref(), row.start_time) {
            alone.entry(phone).or_default().push((start.as_second(), index));
        }
    }
    let mut apart = Vec::new();
    for mut of_number in alone.into_values() {
        of_number.sort_unstable();
        for pair in of_number.windows(2) {
            let [(earlier, one), (later, other)] = pair else {
                continue;
            };
            // Two recordings of LiveKit are two calls, and so are two calls without a recording.
            let is_recording = |index: &usize| rows[*index].s3_key.is_some();
            let is_call = |index: &usize| !rows[*index].is_playable();
            let are_alike = (is_recording(one) && is_recording(other)) || (is_call(one) && is_call(other));
            if later - earlier <= SAME_CALL && !are_alike {
                apart.push(*one);
            }
        }
    }
    apart
}

/// The keys that rows name and the bucket does not have.
async fn gone(state: &State, at: &mut Checkpoint, rows: &[Call]) -> Result<Vec<String>, ReconcileError> {
    let Some(bucket) = &state.bucket else {
        return Ok(Vec::new());
    };
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let keys = rows.iter().filter_map(|row| row.s3_key.as_deref());
    for key in keys.filter(|key| key.starts_with(bucket.prefix())) {
        let folder = key.rfind('/').map_or("", |slash| &key[..=slash]);
        folders.entry(folder).or_default().insert(key);
    }
    let mut gone = Vec::new();
    for (folder, mut keys) in folders {
        let folder = folder.strip_prefix(bucket.prefix()).unwrap_or_default();
        match absent(state, bucket, folder, &mut keys).await {
            Ok(()) => gone.extend(keys.into_iter().map(str::to_owned)),
            Err(error) => {
                at.report.problem(
                    "s3_unread",
                    format!("Not all rows were compared with the bucket: {error}."),
                );
                break;
            }
        }
    }
    Ok(gone)
}

/// Leaves in `keys` those that the bucket does not have. A folder with many more files than are wanted is not listed to its end.
async fn absent(
    state: &State,
    bucket: &RecordingsBucket,
    folder: &str,
    keys: &mut BTreeSet<&str>,
) -> Result<(), BucketError> {
    let mut after: Option<String> = None;
    let mut unsure = std::mem::take(keys);
    for _ in 0..=unsure.len() / HEADS_PER_LISTING {
        let page = bucket.page(folder, after.as_deref(), state.limits.objects).await?;
        for recording in &page.recordings {
            unsure.remove(recording.key.as_str());
        }
        let Some(last) = page.last else {
            keys.append(&mut unsure);
            return Ok(());
        };
        // Whatever comes before the end of the page, and is not on it, is not there.
        let later = unsure.split_off(last.as_str());
        keys.append(&mut unsure);
        unsure = later;
        after = Some(last);
    }
    for key in unsure {
        match bucket.head(key).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                keys.insert(key);
            }
            // It can't be seen, but that says nothing about its being there.
            Err(BucketError::AccessDenied) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
