//! The day ledger: counts of the calls that began on each UTC day. Its only writer is the reconciler, which recounts every day that may have
//! changed.
//!
//! | item | meaning |
//! | --- | --- |
//! | `day#2025-08-08` | the counts of the day (`ledger`, JSON), and its share of the totals |
//! | `dirty#2025-08-08` | the mark of a closed day: a writer has changed or is about to change one of its rows |
//! | `ledger#totals` | the sum of all closed days up to `through` |
//!
//! The last three days are open: the reconciler recounts them in each round, and writers do not mark them. A writer sets the mark before it
//! writes the row. The reconciler removes a mark only if it was not renewed and is so old that the write has finished and the index shows it. A
//! row that one count misses is therefore included in the next one.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::put_item::PutItemError,
    types::{KeysAndAttributes, Put, Select, TransactWriteItem},
};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};

use super::{
    encoding::call_from,
    error::CallsError,
    item::{ListKind, ListPosition},
    ledger_day::LedgerDay,
    model::Call,
    table::Calls,
};
use crate::{
    clients::dynamodb::{self, get_number, get_text, number, pause, text},
    time::{to_millis, utc_day},
};

/// The number of open days, including today.
const OPEN_DAYS: i32 = 3;
/// This long after setting a mark, the write has finished and the index shows it.
const WRITE_TIME: SignedDuration = SignedDuration::from_mins(10);
/// A process renews its mark of a day after this time.
const MARK_AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// The maximum number of queries, of up to 1 MB each, that count the rows after the closed days.
const COUNT_QUERIES: usize = 100;
const TOTALS: &str = "ledger#totals";
/// The partition of `by-time` that contains the marked days.
const DIRTY: &str = "dirty";

/// A day of the ledger that must be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDay {
    /// The day.
    pub day: Date,
    /// Version and time of the day's mark.
    mark: Option<(String, Timestamp)>,
    /// Whether counting this day extends the totals to it.
    closes: bool,
}

/// The number of calls in a whole list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// The number of calls; `None` as long as the ledger covers too few days to count the rest within one request.
    pub rows: Option<u64>,
    /// When the counts of the closed days were last updated.
    pub as_of: Timestamp,
}

#[derive(Debug, Default)]
struct Totals {
    version: i64,
    through: Option<Date>,
    playable: i64,
    missing: i64,
    as_of: Option<Timestamp>,
}

impl Totals {
    fn of(&self, list: ListKind) -> i64 {
        match list {
            ListKind::Playable => self.playable,
            ListKind::Missing => self.missing,
        }
    }
}

/// The last closed day. Writers call this with a time one hour ahead, so that they mark a day before the reconciler treats it as closed.
fn last_closed(now: Timestamp) -> Date {
    utc_day(now).checked_sub(OPEN_DAYS.days()).unwrap_or(Date::MIN)
}

fn day_id(day: Date) -> String {
    format!("day#{day}")
}

impl Calls {
    /// The days that a round must count: the open days, newest first, and the marked days.
    pub async fn due_days(&self, now: Timestamp) -> Result<Vec<DueDay>, CallsError> {
        let today = utc_day(now);
        let open = (0..OPEN_DAYS).filter_map(|back| today.checked_sub(back.days()).ok());
        let mut due: Vec<DueDay> = open
            .map(|day| DueDay {
                day,
                mark: None,
                closes: false,
            })
            .collect();
        let mut marked = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-time")
            .key_condition_expression("list_kind = :dirty")
            .expression_attribute_values(":dirty", text(DIRTY))
            .into_paginator()
            .items()
            .send();
        let mut ids = Vec::new();
        while let Some(item) = marked.next().await {
            ids.extend(get_text(&item?, "id"));
        }
        for item in self.items(&ids).await? {
            let day = get_text(&item, "list_order").and_then(|day| day.parse().ok());
            let marked_at = get_text(&item, "marked_at").and_then(|at| at.parse().ok());
            if let (Some(day), Some(marked_at), Some(version)) = (day, marked_at, get_text(&item, "version")) {
                due.retain(|due| due.day != day);
                due.push(DueDay {
                    day,
                    mark: Some((version, marked_at)),
                    closes: false,
                });
            }
        }
        Ok(due)
    }

    /// The next closed day with calls that the totals do not include yet; `None` if the totals are complete. The caller counts the day with
    /// [`Calls::count_day`] and then calls this again.
    pub async fn next_day_to_close(&self, now: Timestamp) -> Result<Option<DueDay>, CallsError> {
        let (through, last) = (self.totals().await?.through, last_closed(now));
        let first = through.map_or_else(|| "0".to_owned(), |day| format!("{day}~"));
        let end = format!("{last}~");
        if first > end {
            return Ok(None);
        }
        let oldest = [ListKind::Playable, ListKind::Missing].map(|list| {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by-time")
                .key_condition_expression("list_kind = :list AND list_order BETWEEN :first AND :last")
                .expression_attribute_values(":list", text(list.name()))
                .expression_attribute_values(":first", text(&first))
                .expression_attribute_values(":last", text(&end))
                .limit(1);
            async move { Ok::<_, CallsError>(query.send().await?.items.unwrap_or_default()) }
        });
        let rows = try_join_all(oldest).await?;
        let day = |row: &dynamodb::Item| get_text(row, "list_order")?.get(..10)?.parse().ok();
        Ok(rows.iter().flatten().filter_map(day).min().map(|day| DueDay {
            day,
            mark: None,
            closes: true,
        }))
    }

    /// Reads the rows of a day, passes each to `visit`, and stores the counts.
    pub async fn count_day(
        &self,
        due: &DueDay,
        now: Timestamp,
        mut visit: impl FnMut(&Call),
    ) -> Result<LedgerDay, CallsError> {
        let mut counted = LedgerDay::empty(due.day, now);
        for list in [ListKind::Playable, ListKind::Missing] {
            let mut rows = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by-time")
                .key_condition_expression("list_kind = :list AND list_order BETWEEN :first AND :last")
                .expression_attribute_values(":list", text(list.name()))
                .expression_attribute_values(":first", text(&due.day.to_string()))
                .expression_attribute_values(":last", text(&format!("{}~", due.day)))
                .scan_index_forward(false)
                .into_paginator()
                .items()
                .send();
            while let Some(row) = rows.next().await {
                let call = call_from(row?);
                counted.add(&call);
                visit(&call);
            }
        }
        counted.finish();
        self.store_day(due, &counted).await?;
        if let Some((version, marked_at)) = &due.mark
            && now.duration_since(*marked_at) >= WRITE_TIME
        {
            self.remove_mark(due.day, version).await?;
        }
        Ok(counted)
    }

    /// Stores that the totals were complete at this time: all marked days are counted and the totals include the last closed day.
    pub async fn finish_ledger_round(&self, began: Timestamp) -> Result<(), CallsError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(TOTALS));
        update
            .update_expression("SET as_of = :now")
            .expression_attribute_values(":now", text(&to_millis(began)))
            .send()
            .await?;
        Ok(())
    }

    /// The days of the ledger in a range, in order. A day without calls may be missing.
    pub async fn ledger_days(&self, from: Date, to: Date) -> Result<Vec<LedgerDay>, CallsError> {
        let ids: Vec<String> = from.series(1.day()).take_while(|day| *day <= to).map(day_id).collect();
        let items = self.items(&ids).await?;
        let read = |item: &dynamodb::Item| serde_json::from_str(&get_text(item, "ledger")?).ok();
        let mut days: Vec<LedgerDay> = items.iter().filter_map(read).collect();
        days.sort_by_key(|day| day.day);
        Ok(days)
    }

    /// The number of calls in a whole list: the ledger's totals for the closed days, and a count of the rows after them.
    pub async fn total(&self, missing: bool) -> Result<Total, CallsError> {
        let list = match missing {
            true => ListKind::Missing,
            false => ListKind::Playable,
        };
        let totals = self.totals().await?;
        let first = totals.through.map_or_else(|| "0".to_owned(), |day| format!("{day}~"));
        let (mut rows, mut after) = (0, None);
        for _ in 0..COUNT_QUERIES {
            let counted = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by-time")
                .key_condition_expression("list_kind = :list AND list_order > :first")
                .expression_attribute_values(":list", text(list.name()))
                .expression_attribute_values(":first", text(&first))
                .select(Select::Count)
                .set_exclusive_start_key(after)
                .send()
                .await?;
            rows += i64::from(counted.count);
            after = counted.last_evaluated_key;
            if after.is_none() {
                break;
            }
        }
        let rows = (rows + totals.of(list)).max(0).unsigned_abs();
        Ok(Total {
            rows: after.is_none().then_some(rows),
            as_of: totals.as_of.unwrap_or_else(Timestamp::now),
        })
    }

    /// Marks the closed days of these rows. Called before the rows are written.
    pub(super) async fn mark_days(&self, positions: &[ListPosition]) -> Result<(), SdkError<PutItemError>> {
        let now = Timestamp::now();
        let last = last_closed(now + SignedDuration::from_hours(1));
        let mut days: Vec<Date> = positions.iter().filter_map(ListPosition::day).collect();
        days.sort_unstable();
        days.dedup();
        let is_marked = |day: &Date| {
            let marked = self.marked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            marked.get(day).is_some_and(|at| now.duration_since(*at) < MARK_AGAIN)
        };
        days.retain(|day| *day <= last && !is_marked(day));
        let marks = days.iter().map(|day| {
            let put = self.client.put_item().table_name(&self.table);
            put.item("id", text(&format!("dirty#{day}")))
                .item("version", text(&format!("{:016x}", fastrand::u64(..))))
                .item("marked_at", text(&to_millis(now)))
                .item("list_kind", text(DIRTY))
                .item("list_order", text(&day.to_string()))
                .send()
        });
        try_join_all(marks).await?;
        let mut marked = self.marked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        marked.retain(|_, at| now.duration_since(*at) < MARK_AGAIN);
        marked.extend(days.into_iter().map(|day| (day, now)));
        Ok(())
    }

    async fn remove_mark(&self, day: Date, version: &str) -> Result<(), CallsError> {
        let delete = self.client.delete_item().table_name(&self.table);
        let sent = delete
            .key("id", text(&format!("dirty#{day}")))
            .condition_expression("version = :version")
            .expression_attribute_values(":version", text(version))
            .send()
            .await;
        match sent {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            other => Ok(other.map(|_| ())?),
        }
    }

    async fn totals(&self) -> Result<Totals, CallsError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let item = get.key("id", text(TOTALS)).send().await?.item.unwrap_or_default();
        let count = |name| get_number(&item, name).unwrap_or_default();
        Ok(Totals {
            version: count("version"),
            through: get_text(&item, "through").and_then(|day| day.parse().ok()),
            playable: count("playable"),
            missing: count("missing"),
            as_of: get_text(&item, "as_of").and_then(|at| at.parse().ok()),
        })
    }

    /// Stores a day's counts, and updates the totals if they include the day.
    async fn store_day(&self, due: &DueDay, counted: &LedgerDay) -> Result<(), CallsError> {
        let (id, json) = (day_id(due.day), serde_json::to_string(counted)?);
        if !due.closes && due.mark.is_none() {
            // The totals do not include open days.
            let put = self.client.put_item().table_name(&self.table);
            put.item("id", text(&id)).item("ledger", text(&json)).send().await?;
            return Ok(());
        }
        for tries in 1..=5 {
            let totals = self.totals().await?;
            let stored = self.items(std::slice::from_ref(&id)).await?.pop().unwrap_or_default();
            let known = |name| get_number(&stored, name).unwrap_or_default();
            let (playable, missing) = (counted.playable.cast_signed(), counted.missing.cast_signed());
            let is_new = totals.through.is_none_or(|through| due.day > through);
            let mut day = dynamodb::Item::from([("id".to_owned(), text(&id)), ("ledger".to_owned(), text(&json))]);
            if is_new && !due.closes {
                let put = self.client.put_item().table_name(&self.table);
                put.set_item(Some(day)).send().await?;
                return Ok(());
            }
            day.insert("total_playable".into(), number(playable));
            day.insert("total_missing".into(), number(missing));
            let deltas = (playable - known("total_playable"), missing - known("total_missing"));
            if deltas == (0, 0) && !is_new {
                let put = self.client.put_item().table_name(&self.table);
                put.set_item(Some(day)).send().await?;
                return Ok(());
            }
            let through = totals.through.map_or(due.day, |through| through.max(due.day));
            let next = dynamodb::Item::from([
                ("id".to_owned(), text(TOTALS)),
                ("version".to_owned(), number(totals.version + 1)),
                ("through".to_owned(), text(&through.to_string())),
                ("playable".to_owned(), number(totals.playable + deltas.0)),
                ("missing".to_owned(), number(totals.missing + deltas.1)),
                ("as_of".to_owned(), text(&to_millis(counted.computed_at))),
            ]);
            let put = Put::builder().table_name(&self.table).set_item(Some(next));
            let put = match totals.version {
                0 => put.condition_expression("attribute_not_exists(version)"),
                version => put
                    .condition_expression("version = :version")
                    .expression_attribute_values(":version", number(version)),
            };
            let day = Put::builder().table_name(&self.table).set_item(Some(day)).build();
            let sent = self
                .client
                .transact_write_items()
                .transact_items(
                    TransactWriteItem::builder()
                        .put(put.build().map_err(CallsError::bug)?)
                        .build(),
                )
                .transact_items(TransactWriteItem::builder().put(day.map_err(CallsError::bug)?).build())
                .send()
                .await;
            match sent {
                Ok(_) => return Ok(()),
                // Another run of the reconciler wrote, or the response to this write was lost. Reading again shows which.
                Err(error) if tries == 5 => return Err(error.into()),
                Err(_) => pause(tries).await,
            }
        }
        Err(CallsError::busy())
    }

    /// Reads the ledger's items with these ids, consistently. Ids without an item are not in the result.
    async fn items(&self, ids: &[String]) -> Result<Vec<dynamodb::Item>, CallsError> {
        let mut found = Vec::new();
        for ids in ids.chunks(100) {
            let keys = ids
                .iter()
                .map(|id| HashMap::from([("id".to_owned(), text(id))]))
                .collect();
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            let mut rest = Some(HashMap::from([(
                self.table.clone(),
                request.build().map_err(CallsError::bug)?,
            )]));
            let mut tries = 0;
            while let Some(requests) = rest.filter(|rest| !rest.is_empty()) {
                if tries > 0 {
                    pause(tries).await;
                }
                tries += 1;
                let get = self.client.batch_get_item().set_request_items(Some(requests));
                let answer = get.send().await?;
                found.extend(answer.responses.unwrap_or_default().into_values().flatten());
                rest = answer.unprocessed_keys;
            }
        }
        Ok(found)
    }
}
