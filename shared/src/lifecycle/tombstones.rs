//! Tombstones: keyed hashes of what was erased, so that no late event, reconciler or import brings it back. They contain no personal data.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{ConditionCheck, KeysAndAttributes, Put, TransactWriteItem};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::{error::LifecycleError, table::Lifecycle};
use crate::{
    clients::{
        aws::Aws,
        dynamodb::{get_text, text},
        secrets::Secret,
    },
    config::Env,
    time::to_millis,
};

/// The key of the hashes.
#[derive(Deserialize)]
struct TombstoneKey {
    key: String,
}

/// Computes the ids of tombstones.
pub struct Tombstones(Option<Secret<TombstoneKey>>);

impl Tombstones {
    /// Reads `TOMBSTONE_SECRET`, which every function that creates items of the index has.
    pub fn from_env(env: &Env, aws: &Aws) -> Self {
        let secret = env.optional("TOMBSTONE_SECRET");
        Self(secret.map(|id| Secret::new(aws.secrets_manager(), id)))
    }

    /// Tombstones that can't be computed, for commands that create nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// The ids of the tombstones of these items.
    pub async fn of(&self, ids: &[&str]) -> Result<Vec<String>, LifecycleError> {
        let secret = self
            .0
            .as_ref()
            .ok_or_else(|| LifecycleError("TOMBSTONE_SECRET is not set".into()))?;
        let key = secret.get().await.map_err(|error| LifecycleError(error.to_string()))?;
        let hash = |id: &&str| {
            let mac = Hmac::<Sha256>::new_from_slice(key.key.as_bytes());
            let mac = mac.map_err(|error| LifecycleError(error.to_string()))?;
            let hash = mac.chain_update(id.as_bytes()).finalize().into_bytes();
            Ok(format!("erased#{}", hex::encode(&hash[..16])))
        };
        ids.iter().map(hash).collect()
    }
}

impl Lifecycle {
    /// Whether any of these tombstones exists.
    pub async fn has_any(&self, tombstones: &[String]) -> Result<bool, LifecycleError> {
        for tombstones in tombstones.chunks(100) {
            let keys = tombstones.iter().map(|id| HashMap::from([("id".to_owned(), text(id))]));
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys.collect()))
                .consistent_read(true);
            let wanted = wanted.build().map_err(|error| LifecycleError(error.to_string()))?;
            let mut rest = Some(HashMap::from([(self.table.clone(), wanted)]));
            while let Some(requests) = rest.take().filter(|rest| !rest.is_empty()) {
                let answer = self
                    .client
                    .batch_get_item()
                    .set_request_items(Some(requests))
                    .send()
                    .await?;
                let found = answer.responses.unwrap_or_default();
                if found.values().flatten().any(|item| get_text(item, "id").is_some()) {
                    return Ok(true);
                }
                rest = answer.unprocessed_keys;
            }
        }
        Ok(false)
    }

    /// A part of a transaction: it fails if this tombstone exists.
    pub fn check_not_erased(&self, tombstone: &str) -> Result<TransactWriteItem, LifecycleError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .key("id", text(tombstone))
            .condition_expression("attribute_not_exists(id)");
        let check = check.build().map_err(|error| LifecycleError(error.to_string()))?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// A part of a transaction: it writes a tombstone.
    pub fn put_tombstone(&self, tombstone: &str) -> Result<TransactWriteItem, LifecycleError> {
        let put = Put::builder()
            .table_name(&self.table)
            .item("id", text(tombstone))
            .item("erased_at", text(&to_millis(jiff::Timestamp::now())));
        let put = put.build().map_err(|error| LifecycleError(error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}
