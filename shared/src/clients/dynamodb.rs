//! Helpers for DynamoDB attribute values.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::batch_get_item::BatchGetItemError,
    types::{AttributeValue, KeysAndAttributes, builders::KeysAndAttributesBuilder},
};

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn get_text(item: &Item, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

pub(crate) fn get_number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Reads the items with these ids, consistently and in any order. `project` may choose their attributes. Ids without an item have none.
pub(crate) async fn batch_get(
    client: &Client,
    table: &str,
    ids: impl IntoIterator<Item = &str>,
    project: impl Fn(KeysAndAttributesBuilder) -> KeysAndAttributesBuilder,
) -> Result<Vec<Item>, SdkError<BatchGetItemError>> {
    let mut ids: Vec<&str> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut found = Vec::new();
    for ids in ids.chunks(100) {
        let keys = ids.iter().map(|id| HashMap::from([("id".to_owned(), text(id))]));
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .consistent_read(true);
        let wanted = project(wanted).build().map_err(SdkError::construction_failure)?;
        let mut rest = Some(HashMap::from([(table.to_owned(), wanted)]));
        let mut tries = 0;
        while let Some(requests) = rest.take().filter(|rest| !rest.is_empty()) {
            if tries > 0 {
                pause(tries).await;
            }
            tries += 1;
            let answer = client.batch_get_item().set_request_items(Some(requests)).send().await?;
            found.extend(answer.responses.unwrap_or_default().into_values().flatten());
            rest = answer.unprocessed_keys;
        }
    }
    Ok(found)
}

/// Waits a random time before attempt number `tries` (from 1), so that writers that conflicted do not conflict again.
pub(crate) async fn pause(tries: u32) {
    let most = Duration::from_millis(20).saturating_mul(1 << tries.min(6));
    tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
}
