//! Checks the rows of a day: pairs calls without a recording again, compares the rows with the bucket, and counts what is missing.

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
    bucket::{self, report_outage},
    work::process_all,
    write,
};

/// This many `HeadObject` requests cost as much as one page of a listing.
const HEADS_PER_LISTING: usize = 12;
/// Rows of one number that are further apart than this many seconds belong to different calls.
const SAME_CALL: i64 = 360;

/// Counts the open and the marked days, except those in `done`, until `end`.
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
        store(at, days, due.day, tally);
        done.push(due.day);
        if Instant::now() >= end {
            return Ok(Step::Days(done));
        }
    }
    Ok(Step::Close)
}

/// Counts closed days that were never counted, oldest first, until `end`.
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
        store(at, days, due.day, tally);
        if at.report.from <= due.day {
            // The day will not be counted again, so its result must be stored even if this invocation is killed later.
            write(state, ReconcilerState::Days, days).await?;
        }
        if Instant::now() >= end {
            return Ok(Step::Close);
        }
    }
    state.calls.finish_ledger_round(at.began).await?;
    Ok(Step::Retry)
}

fn store(at: &Checkpoint, days: &mut Days, day: Date, tally: Tally) {
    if at.report.from <= day {
        days.0.insert(day, tally);
    }
}

async fn count(state: &State, at: &Checkpoint, due: &DueDay, visit: impl FnMut(&Call)) -> Result<(), ReconcileError> {
    state.calls.count_day(due, at.began, visit).await?;
    Ok(())
}

/// Counts the rows of a day. If rows were repaired, the day is counted again.
async fn tally(state: &State, at: &mut Checkpoint, due: &DueDay) -> Result<Tally, ReconcileError> {
    let mut rows = Vec::new();
    count(state, at, due, |row| rows.push(row.clone())).await?;
    let missing_keys = missing_keys(state, at, &rows).await?;
    let unpaired = unpaired(&rows);
    at.report.rows_repaired += missing_keys.len() as u64;
    if let (Some(bucket), false) = (&state.bucket, missing_keys.is_empty()) {
        let items = missing_keys
            .iter()
            .map(|key| (Subject::S3Key(key.clone()), false, key.clone()))
            .collect();
        if let Err(fault) = process_all(at, items, async |key: String| bucket::index(state, bucket, &key).await).await {
            report_outage(at, fault, Step::Close)?;
        }
    }
    for index in &unpaired {
        match state.calls.repair(&rows[*index]).await {
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => at
                .report
                .problem("not_repaired", format!("A call was not paired again: {error}.")),
            Ok(()) => {}
        }
    }
    if !(missing_keys.is_empty() && unpaired.is_empty()) {
        rows.clear();
        count(state, at, due, |row| rows.push(row.clone())).await?;
    }
    let mut tally = Tally::default();
    for row in rows {
        tally.add(row);
    }
    Ok(tally)
}

/// Finds pairs of incomplete rows that may belong to the same call, and returns one row of each pair. Concurrent writes can miss each other and
/// leave such rows.
fn unpaired(rows: &[Call]) -> Vec<usize> {
    let mut incomplete: BTreeMap<&str, Vec<(i64, usize)>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let is_incomplete = !(row.is_playable() && row.has_dispatch());
        if let (true, Some(phone), Some(start)) = (is_incomplete, row.phone.as_deref(), row.start_time) {
            incomplete.entry(phone).or_default().push((start.as_second(), index));
        }
    }
    let mut unpaired = Vec::new();
    for mut of_number in incomplete.into_values() {
        of_number.sort_unstable();
        for pair in of_number.windows(2) {
            let [(earlier, earlier_row), (later, later_row)] = pair else {
                continue;
            };
            // Two LiveKit recordings belong to two calls, and so do two calls without a recording.
            let is_recording = |index: &usize| rows[*index].s3_key.is_some();
            let is_call = |index: &usize| !rows[*index].is_playable();
            let are_alike =
                (is_recording(earlier_row) && is_recording(later_row)) || (is_call(earlier_row) && is_call(later_row));
            if later - earlier <= SAME_CALL && !are_alike {
                unpaired.push(*earlier_row);
            }
        }
    }
    unpaired
}

/// The keys in rows whose objects no longer exist in the bucket.
async fn missing_keys(state: &State, at: &mut Checkpoint, rows: &[Call]) -> Result<Vec<String>, ReconcileError> {
    let Some(bucket) = &state.bucket else {
        return Ok(Vec::new());
    };
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let keys = rows.iter().filter_map(|row| row.s3_key.as_deref());
    for key in keys.filter(|key| key.starts_with(bucket.prefix())) {
        let folder = key.rfind('/').map_or("", |slash| &key[..=slash]);
        folders.entry(folder).or_default().insert(key);
    }
    let mut missing_keys = Vec::new();
    for (folder, mut keys) in folders {
        let folder = folder.strip_prefix(bucket.prefix()).unwrap_or_default();
        match absent(state, bucket, folder, &mut keys).await {
            Ok(()) => missing_keys.extend(keys.into_iter().map(str::to_owned)),
            Err(error) => {
                at.report.problem(
                    "s3_unread",
                    format!("Not all rows were compared with the bucket: {error}."),
                );
                break;
            }
        }
    }
    Ok(missing_keys)
}

/// Removes the keys of existing objects from `keys`. If a folder has many more files than `keys`, the listing stops early and the remaining keys
/// are checked one by one.
async fn absent(
    state: &State,
    bucket: &RecordingsBucket,
    folder: &str,
    keys: &mut BTreeSet<&str>,
) -> Result<(), BucketError> {
    let mut after: Option<String> = None;
    let mut unknown = std::mem::take(keys);
    for _ in 0..=unknown.len() / HEADS_PER_LISTING {
        let page = bucket.page(folder, after.as_deref(), state.limits.objects).await?;
        for recording in &page.recordings {
            unknown.remove(recording.key.as_str());
        }
        let Some(last) = page.last else {
            keys.append(&mut unknown);
            return Ok(());
        };
        // A key that sorts before the end of the page and is not on it does not exist.
        let later = unknown.split_off(last.as_str());
        keys.append(&mut unknown);
        unknown = later;
        after = Some(last);
    }
    for key in unknown {
        match bucket.head(key).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                keys.insert(key);
            }
            // Without access the object may still exist.
            Err(BucketError::AccessDenied) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
