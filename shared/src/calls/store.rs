//! Reading items, and writing them together with the counts they change.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem, Update},
};

use super::{
    Call, Calls, CallsError,
    facts::{Class, Item, Place, State, digits},
};
use crate::{
    dynamodb::{self, get_number, get_text, number, text},
    time::to_millis,
};

/// Items by their ids.
pub(super) type Items = BTreeMap<String, Item>;

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Done,
    /// Somebody else changed one of the items meanwhile, or the table is throttled: read again and try again.
    Conflict,
    /// The same, after some of the items were written.
    Partial,
}

/// The attributes that a list shows; the indexes of lists hold these and no others.
pub const SHOWN: [&str; 14] = [
    "interaction_id",
    "customer_name",
    "phone",
    "status",
    "outcome",
    "duration",
    "start_time",
    "end_time",
    "s3_key",
    "twilio",
    "call_sid",
    "recording_error",
    "has_transcript",
    "shown_id",
];

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
        let changed = |item: &&Item| loaded.get(&item.id).is_none_or(|known| known.state != item.state);
        let changed: Vec<&Item> = items.values().filter(changed).collect();
        for (number, changed) in changed.chunks(AT_ONCE).enumerate() {
            if self.write(loaded, changed).await? == Commit::Conflict {
                return Ok(if number == 0 { Commit::Conflict } else { Commit::Partial });
            }
        }
        Ok(Commit::Done)
    }

    async fn write(&self, loaded: &Items, changed: &[&Item]) -> Result<Commit, CallsError> {
        let mut counts: BTreeMap<(Class, String), i64> = BTreeMap::new();
        for item in changed {
            let place = |item: &Item| item.row().and_then(|(_, place)| place);
            let (before, after) = (loaded.get(&item.id).and_then(place), place(item));
            for (place, delta) in [(before, -1), (after, 1)] {
                if let Some(place) = place {
                    *counts.entry((place.class, place.minute().to_owned())).or_default() += delta;
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
    fn count(&self, deltas: &BTreeMap<(Class, String), i64>) -> Result<Vec<TransactWriteItem>, CallsError> {
        let mut nodes: BTreeMap<String, BTreeMap<&str, i64>> = BTreeMap::new();
        for ((class, minute), delta) in deltas {
            let mut from = 0;
            for level in LEVELS {
                let node = nodes.entry(counts_id(*class, &minute[..from])).or_default();
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
    pub(super) async fn counts(&self, class: Class, prefix: &str) -> Result<Vec<(String, u64)>, CallsError> {
        let get = self.client.get_item().table_name(&self.table);
        let answer = get.key("id", text(&counts_id(class, prefix))).send().await?;
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

fn counts_id(class: Class, prefix: &str) -> String {
    format!("counts#{}", class.partition(prefix))
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

fn attributes(item: &Item) -> Result<dynamodb::Item, CallsError> {
    let mut attributes = dynamodb::Item::from([
        ("id".into(), text(&item.id)),
        ("rev".into(), number(item.rev + 1)),
        (
            "facts".into(),
            text(&serde_json::to_string(&item.state).map_err(CallsError::bug)?),
        ),
    ]);
    if let Some((phone, unix)) = item.near() {
        attributes.insert("near_number".into(), text(&phone));
        attributes.insert("near_time".into(), number(unix));
    }
    if let Some((call, place)) = item.row() {
        show(&mut attributes, &call)?;
        if let Some(place) = place {
            list(&mut attributes, &call, &place);
        }
    }
    Ok(attributes)
}

fn show(attributes: &mut dynamodb::Item, call: &Call) -> Result<(), CallsError> {
    let twilio = match call.twilio.is_empty() {
        true => None,
        false => Some(serde_json::to_string(&call.twilio).map_err(CallsError::bug)?),
    };
    let texts = [
        ("shown_id", &Some(call.dispatch_id.clone()).filter(|id| !id.is_empty())),
        ("s3_key", &call.s3_key),
        ("etag", &call.etag),
        ("interaction_id", &call.interaction_id),
        ("customer_name", &call.customer_name),
        ("phone", &call.phone),
        ("status", &call.status),
        ("outcome", &call.outcome),
        ("start_time", &call.start_time.map(to_millis)),
        ("end_time", &call.end_time.map(to_millis)),
        ("call_sid", &call.call_sid),
        ("recording_error", &call.recording_error),
        ("twilio", &twilio),
    ];
    attributes.extend(
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), text(value.as_deref()?)))),
    );
    let numbers = [("size", call.size), ("duration", call.duration)];
    attributes.extend(
        numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), number(value?)))),
    );
    attributes.insert("has_transcript".into(), AttributeValue::Bool(call.has_transcript));
    Ok(())
}

fn list(attributes: &mut dynamodb::Item, call: &Call, place: &Place) {
    attributes.insert("list_order".into(), text(&place.order));
    let partitions = [
        ("list_day", Some(place.day().to_owned())),
        ("list_phone", call.phone.as_deref().map(digits)),
        ("list_interaction", call.interaction_id.clone()),
    ];
    for (name, partition) in partitions {
        if let Some(partition) = partition.filter(|partition| !partition.is_empty()) {
            attributes.insert(name.into(), text(&place.class.partition(&partition)));
        }
    }
}

fn item_from(attributes: &dynamodb::Item) -> Result<Item, CallsError> {
    let state: State = match get_text(attributes, "facts") {
        Some(facts) => serde_json::from_str(&facts).map_err(CallsError::bug)?,
        None => State::default(),
    };
    Ok(Item {
        id: get_text(attributes, "id").unwrap_or_default(),
        rev: get_number(attributes, "rev").unwrap_or_default(),
        state,
    })
}

/// A call from the attributes in [`SHOWN`], and from `size` and `etag` if they are there.
pub(super) fn call_from(item: &dynamodb::Item) -> Call {
    let time = |name| get_text(item, name).and_then(|text| text.parse().ok());
    Call {
        item: get_text(item, "id").unwrap_or_default(),
        dispatch_id: get_text(item, "shown_id").unwrap_or_default(),
        s3_key: get_text(item, "s3_key"),
        size: get_number(item, "size"),
        etag: get_text(item, "etag"),
        interaction_id: get_text(item, "interaction_id"),
        customer_name: get_text(item, "customer_name"),
        phone: get_text(item, "phone"),
        status: get_text(item, "status"),
        outcome: get_text(item, "outcome"),
        duration: get_number(item, "duration"),
        start_time: time("start_time"),
        end_time: time("end_time"),
        call_sid: get_text(item, "call_sid"),
        recording_error: get_text(item, "recording_error"),
        has_transcript: item
            .get("has_transcript")
            .and_then(|value| value.as_bool().ok())
            .copied()
            .unwrap_or(false),
        twilio: get_text(item, "twilio")
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_survives_the_table() {
        let call = Call {
            dispatch_id: "dispatch_1754653479_15103455686".into(),
            s3_key: Some("egress-recordings/2025/08/08/x.mp4".into()),
            size: Some(12),
            etag: Some("abc".into()),
            interaction_id: Some("i".into()),
            customer_name: Some("Louis Smith".into()),
            phone: Some("+15103455686".into()),
            status: Some("COMPLETED".into()),
            outcome: Some("PAYMENT_PROMISED".into()),
            duration: Some(180),
            start_time: "2025-08-08T11:44:39Z".parse().ok(),
            end_time: "2025-08-08T11:47:39Z".parse().ok(),
            call_sid: Some("CA1234567890abcdef".into()),
            recording_error: Some("none".into()),
            has_transcript: true,
            twilio: vec![Default::default()],
            item: String::new(),
        };
        let mut item = dynamodb::Item::new();
        show(&mut item, &call).unwrap();
        assert_eq!(call_from(&item), call);
        item.retain(|name, _| !["size", "etag"].contains(&name.as_str()));
        assert!(item.keys().all(|name| SHOWN.contains(&name.as_str())), "{item:?}");
        assert_eq!(item.len(), SHOWN.len());
    }
}
