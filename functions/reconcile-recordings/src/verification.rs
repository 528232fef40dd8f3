//! The walk over the index's rows: what lacks its other half is paired again, and what the index says is compared with the bucket.

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;
use shared::{
    calls::{Call, Calls, Cursor, ListFilter, ListOrder, ListStart, index_object},
    clients::bucket::RecordingsBucket,
    reconcile::{Checkpoint, DayPage, Step},
    time::DateInput,
};

use crate::{ReconcileError, State, each};

const LIST_PAGE: usize = 1000;

/// The keys of the folders that were read last, for the rows of one day.
#[derive(Default)]
pub(crate) struct Folders {
    day: Option<Date>,
    keys: HashMap<String, HashSet<String>>,
}

/// Pairs anew a page of rows that are without their other half, as far as they are recent: what arrived at the same moment may have missed each
/// other.
pub(crate) async fn repair(state: &State, at: &mut Checkpoint, place: DayPage) -> Result<Step, ReconcileError> {
    let (rows, next) = rows(&state.calls, &place).await?;
    let alone = rows.iter().filter(|call| !(call.is_playable() && call.has_dispatch()));
    let failed = each(alone, async |call| Ok(state.calls.repair(call).await?)).await?;
    at.report.not_indexed += failed;
    let oldest = at.objects_since.unwrap_or(at.report.from).max(at.report.from);
    Ok(match place.next(next, oldest) {
        Some(place) => Step::Repair(place),
        None => Step::Count(DayPage::first(at.report.to)),
    })
}

/// Counts a page of rows. Those whose file is gone are mended, and come again among those without a recording.
pub(crate) async fn count(
    state: &State,
    at: &mut Checkpoint,
    place: DayPage,
    folders: &mut Folders,
) -> Result<Step, ReconcileError> {
    let (rows, next) = rows(&state.calls, &place).await?;
    let mut gone = Vec::new();
    for call in rows {
        match (&call.s3_key, &state.bucket) {
            (Some(key), Some(bucket)) if !folders.have(bucket, place.day, key).await? => gone.push(key.clone()),
            _ => at.report.add(call),
        }
    }
    if let Some(bucket) = &state.bucket {
        at.report.rows_repaired += gone.len() as u64;
        let failed = each(&gone, async |key| {
            index_object(&state.calls, bucket, key, None).await?;
            Ok(())
        });
        at.report.not_indexed += failed.await?;
    }
    Ok(place.next(next, at.report.from).map_or(Step::Done, Step::Count))
}

impl Folders {
    /// Whether the bucket has this key, which a row of `day` names.
    async fn have(&mut self, bucket: &RecordingsBucket, day: Date, key: &str) -> Result<bool, ReconcileError> {
        if self.day != Some(day) {
            *self = Self {
                day: Some(day),
                keys: HashMap::new(),
            };
        }
        let name = key.strip_prefix(bucket.prefix()).unwrap_or(key);
        let folder = name.rfind('/').map_or("", |slash| &name[..=slash]);
        if !self.keys.contains_key(folder) {
            let (mut keys, mut after) = (HashSet::new(), None);
            loop {
                let page = bucket.page(folder, after.as_deref()).await?;
                keys.extend(page.recordings.into_iter().map(|recording| recording.key));
                after = page.last;
                if after.is_none() {
                    break;
                }
            }
            self.keys.insert(folder.to_owned(), keys);
        }
        Ok(self.keys[folder].contains(key))
    }
}

/// A page of calls, and where it ended if there are more.
async fn rows(calls: &Calls, place: &DayPage) -> Result<(Vec<Call>, Option<Cursor>), ReconcileError> {
    let filter = ListFilter {
        missing: place.missing,
        started_after: Some(DateInput::Day(place.day).start()),
        started_before: Some(DateInput::Day(place.day).end()),
        ..ListFilter::default()
    };
    let start = place.after.clone().map_or(ListStart::Offset(0), ListStart::After);
    let page = calls.list(&filter, ListOrder::Newest, start, LIST_PAGE).await?;
    Ok((page.calls, page.next))
}
