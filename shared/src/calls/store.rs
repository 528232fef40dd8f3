//! Reading items, and writing them together with the counts they change.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{KeysAndAttributes, Put, TransactWriteItem, Update},
};

use super::{
    encoding::{attributes, item_from},
    error::CallsError,
    item::{CallItem, Items, ListKind},
    table::Calls,
};
use crate::clients::dynamodb::{number, text};

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Done,
    /// Somebody else changed one of the items meanwhile, or the table is throttled: read again and try again.
    Conflict,
    /// The same, after some of the items were written.
    Partial,
}

/// Items in one transaction: with up to eight counts that each of them changes it stays below DynamoDB's 100.
const AT_ONCE: usize = 10;

/// The prefixes of a time at which calls are counted: by month, day, hour and minute.
const LEVELS: [usize; 4] = [
    "2025-08".len(),
    "2025-08-08".len(),
    "2025-08-08T11".len(),
    "2025-08-08T11:44".len(),
];

impl Calls {
    /// The items with these ids that are in the table, as they are now.
    pub(super) async fn load(&self, ids: impl IntoIterator<Item = &str>) -> Result<Items, CallsError> {
        let mut wanted: Vec<&str> = ids.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = Vec::new();
        if let [id] = wanted[..] {
            let get = self.client.get_item().table_name(&self.table).consistent_read(true);
            found.extend(get.key("id", text(id)).send().await?.item);
        }
        for ids in wanted.chunks(100).filter(|_| wanted.len() > 1) {
            let keys = ids.iter().map(|id| [("id".to_owned(), text(id))].into()).collect();
            let request = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build();
            let mut rest = Some([(self.table.clone(), request.map_err(CallsError::bug)?)].into());
            let mut tries = 0;
            while let Some(requests) = rest.filter(|rest: &std::collections::HashMap<_, _>| !rest.is_empty()) {
                let answer = self
                    .client
                    .batch_get_item()
                    .set_request_items(Some(requests))
                    .send()
                    .await?;
                found.extend(answer.responses.unwrap_or_default().into_values().flatten());
                rest = answer.unprocessed_keys;
                if rest.as_ref().is_some_and(|rest| !rest.is_empty()) {
                    tries += 1;
                    pause(tries).await;
                }
            }
        }
        let items = found
            .iter()
            .map(|item| item_from(item).map(|item| (item.id.clone(), item)));
        items.collect()
    }

    /// Writes what `items` has that `loaded` has not, each item together with the counts of the list. All or nothing, unless it is more than a
    /// transaction takes: then a conflict may come after some of it is written.
    pub(super) async fn commit(&self, loaded: &Items, items: &Items) -> Result<Commit, CallsError> {
        let changed = |item: &&CallItem| loaded.get(&item.id).is_none_or(|known| known.state != item.state);
        let changed: Vec<&CallItem> = items.values().filter(changed).collect();
        for (number, changed) in changed.chunks(AT_ONCE).enumerate() {
            if self.write(loaded, changed).await? == Commit::Conflict {
                return Ok(if number == 0 { Commit::Conflict } else { Commit::Partial });
            }
        }
        Ok(Commit::Done)
    }

    async fn write(&self, loaded: &Items, changed: &[&CallItem]) -> Result<Commit, CallsError> {
        let mut counts: BTreeMap<(ListKind, String), i64> = BTreeMap::new();
        for item in changed {
            let position = |item: &CallItem| item.row().and_then(|(_, position)| position);
            let (before, after) = (loaded.get(&item.id).and_then(position), position(item));
            for (position, delta) in [(before, -1), (after, 1)] {
                if let Some(position) = position {
                    *counts.entry((position.list, position.minute().to_owned())).or_default() += delta;
                }
            }
        }
        counts.retain(|_, delta| *delta != 0);
        let mut writes = Vec::new();
        for item in changed {
            let put = Put::builder()
                .table_name(&self.table)
                .set_item(Some(attributes(item)?))
                .condition_expression(if item.rev == 0 {
                    "attribute_not_exists(id)"
                } else {
                    "rev = :rev"
                })
                .set_expression_attribute_values(
                    (item.rev > 0).then(|| [(":rev".to_owned(), number(item.rev))].into()),
                );
            writes.push(put.build().map_err(CallsError::bug)?);
        }
        if let ([_], true) = (&writes[..], counts.is_empty()) {
            let put = writes.swap_remove(0);
            let sent = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(put.item))
                .set_condition_expression(put.condition_expression)
                .set_expression_attribute_values(put.expression_attribute_values)
                .send()
                .await;
            return match sent {
                Ok(_) => Ok(Commit::Done),
                Err(error) if is_conflict(&error, PutItemError::is_conditional_check_failed_exception) => {
                    Ok(Commit::Conflict)
                }
                Err(error) => Err(error.into()),
            };
        }
        let puts = writes
            .into_iter()
            .map(|put| TransactWriteItem::builder().put(put).build());
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(puts.chain(self.count(&counts)?).collect()))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Commit::Done),
            Err(error) if is_conflict(&error, may_succeed_later) => Ok(Commit::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds to the counts of a minute, its hour, its day and its month. One item holds the counts of all parts of a day, and so on.
    fn count(&self, deltas: &BTreeMap<(ListKind, String), i64>) -> Result<Vec<TransactWriteItem>, CallsError> {
        let mut nodes: BTreeMap<String, BTreeMap<&str, i64>> = BTreeMap::new();
        for ((list, minute), delta) in deltas {
            let mut from = 0;
            for level in LEVELS {
                let node = nodes.entry(counts_id(*list, &minute[..from])).or_default();
                *node.entry(&minute[from..level]).or_default() += delta;
                from = level;
            }
        }
        let mut updates = Vec::new();
        for (id, parts) in nodes {
            let parts: Vec<(&str, i64)> = parts.into_iter().filter(|(_, delta)| *delta != 0).collect();
            if parts.is_empty() {
                continue;
            }
            let adds: Vec<String> = (0..parts.len()).map(|n| format!("#p{n} :d{n}")).collect();
            let mut update = Update::builder()
                .table_name(&self.table)
                .key("id", text(&id))
                .update_expression(format!("ADD {}", adds.join(", ")));
            for (n, (part, delta)) in parts.into_iter().enumerate() {
                update = update
                    .expression_attribute_names(format!("#p{n}"), part)
                    .expression_attribute_values(format!(":d{n}"), number(delta));
            }
            let update = update.build().map_err(CallsError::bug)?;
            updates.push(TransactWriteItem::builder().update(update).build());
        }
        Ok(updates)
    }

    /// How many calls begin in each part of `prefix`: months of all time (`""`), days of a month (`2025-08`), hours of a day, minutes of an
    /// hour. In order; parts without calls are left out.
    pub(super) async fn counts(&self, list: ListKind, prefix: &str) -> Result<Vec<(String, u64)>, CallsError> {
        let get = self.client.get_item().table_name(&self.table);
        let answer = get.key("id", text(&counts_id(list, prefix))).send().await?;
        let mut parts: Vec<(String, u64)> = answer
            .item
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(part, count)| Some((format!("{prefix}{part}"), count.as_n().ok()?.parse().ok()?)))
            .filter(|(_, count)| *count > 0)
            .collect();
        parts.sort();
        Ok(parts)
    }
}

fn counts_id(list: ListKind, prefix: &str) -> String {
    format!("counts#{}", list.partition(prefix))
}

/// Waits before try number `tries` (from 1): a random time, so that those who collided do not collide again.
pub(super) async fn pause(tries: u32) {
    let most = Duration::from_millis(20).saturating_mul(1 << tries.min(6));
    tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
}

fn is_conflict<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, also: impl Fn(&E) -> bool) -> bool {
    let passing = [
        // Whether it was written shows when the items are read again.
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    ];
    error
        .as_service_error()
        .is_some_and(|service| also(service) || service.meta().code().is_some_and(|code| passing.contains(&code)))
}

fn may_succeed_later(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(canceled) = error else {
        return false;
    };
    let passing = [
        "None",
        "ConditionalCheckFailed",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    ];
    let mut codes = canceled
        .cancellation_reasons()
        .iter()
        .filter_map(|reason| reason.code());
    codes.all(|code| passing.contains(&code))
}
