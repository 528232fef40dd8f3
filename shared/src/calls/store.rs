//! Reads and writes items: one item with a conditional write, several items in a transaction.

use std::collections::HashSet;

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{Put, TransactWriteItem},
};

use super::{
    encoding::{attributes, item_from},
    error::CallsError,
    item::{CallItem, Items, ListPosition},
    table::Calls,
};
use crate::{
    clients::dynamodb::{batch_get, number, text},
    metrics::{self, Metric},
};

/// The result of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Done,
    /// Another writer changed one of the items meanwhile, or the table was throttled. The caller must read the items again and retry.
    Conflict,
    /// A conflict after some of the items were written.
    Partial,
}

/// Items per transaction. DynamoDB's limits are 100 items and 4 MB.
const TRANSACTION_ITEMS: usize = 50;

impl Calls {
    /// Reads the items with these ids, consistently. Ids without an item are not in the result.
    pub(super) async fn load(&self, ids: impl IntoIterator<Item = &str>) -> Result<Items, CallsError> {
        let mut wanted: Vec<&str> = ids.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = Vec::new();
        if let [id] = wanted[..] {
            let get = self.client.get_item().table_name(&self.table).consistent_read(true);
            found.extend(get.key("id", text(id)).send().await?.item);
        }
        if wanted.len() > 1 {
            let items = batch_get(&self.client, &self.table, wanted, |keys| keys);
            found.extend(items.await?);
        }
        let items = found
            .iter()
            .map(|item| item_from(item).map(|item| (item.id.clone(), item)));
        items.collect()
    }

    /// Writes the items that differ from `loaded`. The write is atomic unless it exceeds one transaction; then a conflict may occur after some
    /// items are written. Closed days of the ledger whose rows change are marked first.
    pub(super) async fn commit(&self, loaded: &Items, items: &Items) -> Result<Commit, CallsError> {
        let is_changed = |item: &&CallItem| loaded.get(&item.id).is_none_or(|known| known.state != item.state);
        let changed: Vec<&CallItem> = items.values().filter(is_changed).collect();
        match self.mark_days(&changed_rows(loaded, &changed)).await {
            Ok(()) => {}
            Err(error) if is_conflict(&error, |_| false) => return Ok(conflict()),
            Err(error) => return Err(error.into()),
        }
        for (number, changed) in changed.chunks(TRANSACTION_ITEMS).enumerate() {
            if self.write(changed).await? == Commit::Conflict {
                return Ok(if number == 0 { Commit::Conflict } else { Commit::Partial });
            }
        }
        Ok(Commit::Done)
    }

    /// Those of these items that were erased.
    pub(super) async fn erased<'a>(&self, ids: &[&'a str]) -> Result<HashSet<&'a str>, CallsError> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let tombstones = self.tombstones.of(ids).await?;
        let existing = self.lifecycle.existing(&tombstones).await?;
        let pairs = ids.iter().zip(tombstones);
        Ok(pairs
            .filter(|(_, tombstone)| existing.contains(tombstone))
            .map(|(id, _)| *id)
            .collect())
    }

    /// Whether one of these items was erased.
    pub(super) async fn has_erased(&self, ids: &[&str]) -> Result<bool, CallsError> {
        Ok(!self.erased(ids).await?.is_empty())
    }

    /// Conditions of a transaction: none of these items was erased.
    pub(super) async fn not_erased(&self, ids: &[&str]) -> Result<Vec<TransactWriteItem>, CallsError> {
        let tombstones = self.tombstones.of(ids).await?;
        let checks = tombstones
            .iter()
            .map(|tombstone| self.lifecycle.check_not_erased(tombstone));
        Ok(checks.collect::<Result<_, _>>()?)
    }

    async fn write(&self, changed: &[&CallItem]) -> Result<Commit, CallsError> {
        let new: Vec<&str> = changed
            .iter()
            .filter(|item| item.rev == 0)
            .map(|item| item.id.as_str())
            .collect();
        // In the same transaction, because the item may be erased between the check and the write.
        let checks = match new.is_empty() {
            true => Vec::new(),
            false => self.not_erased(&new).await?,
        };
        self.write_checked(changed, checks).await
    }

    /// Writes items under the condition that none of them has changed, and under these.
    pub(super) async fn write_checked(
        &self,
        changed: &[&CallItem],
        checks: Vec<TransactWriteItem>,
    ) -> Result<Commit, CallsError> {
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
        if writes.len() == 1 && checks.is_empty() {
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
                    Ok(conflict())
                }
                Err(error) => Err(error.into()),
            };
        }
        let puts = writes
            .into_iter()
            .map(|put| TransactWriteItem::builder().put(put).build());
        self.transact(puts.chain(checks).collect()).await
    }

    /// Sends a transaction.
    pub(super) async fn transact(&self, parts: Vec<TransactWriteItem>) -> Result<Commit, CallsError> {
        let transaction = self.client.transact_write_items().set_transact_items(Some(parts));
        match transaction.send().await {
            Ok(_) => Ok(Commit::Done),
            Err(error) if is_conflict(&error, may_succeed_later) => Ok(conflict()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A conflict, which is counted.
fn conflict() -> Commit {
    metrics::count(Metric::IndexConflicts);
    Commit::Conflict
}

/// The positions of the changed rows, before and after the change.
fn changed_rows(loaded: &Items, changed: &[&CallItem]) -> Vec<ListPosition> {
    let mut positions = Vec::new();
    for item in changed {
        let (before, after) = (loaded.get(&item.id).and_then(CallItem::row), item.row());
        if before != after {
            positions.extend(
                [before, after]
                    .into_iter()
                    .flatten()
                    .filter_map(|(_, position)| position),
            );
        }
    }
    positions
}

pub(super) fn is_conflict<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, also: impl Fn(&E) -> bool) -> bool {
    let transient = [
        // The write may have succeeded; reading the items again shows it.
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    ];
    error
        .as_service_error()
        .is_some_and(|service| also(service) || service.meta().code().is_some_and(|code| transient.contains(&code)))
}

fn may_succeed_later(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(canceled) = error else {
        return false;
    };
    let transient = [
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
    codes.all(|code| transient.contains(&code))
}
