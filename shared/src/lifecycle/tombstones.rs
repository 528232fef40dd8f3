//! Tombstones: keyed hashes of what was erased, so that no late event, reconciler or import brings it back. They contain no personal data.

use std::collections::HashSet;

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::{copying, error::LifecycleError, retained, table::Lifecycle};
use crate::{
    clients::{
        aws::Aws,
        dynamodb::{batch_get, get_text, text},
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

    /// Reads the key before the first write.
    pub async fn preload(&self) {
        if let Some(secret) = &self.0 {
            secret.preload().await;
        }
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
    /// Those of these tombstones that exist.
    pub async fn existing(&self, tombstones: &[String]) -> Result<HashSet<String>, LifecycleError> {
        let ids = tombstones.iter().map(String::as_str);
        let found = batch_get(&self.client, &self.table, ids, |keys| keys.projection_expression("id")).await?;
        Ok(found.iter().filter_map(|item| get_text(item, "id")).collect())
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

    /// Parts of a transaction that erases a call: they delete its own time, and the states of its Twilio recordings.
    pub fn deletions<'a>(
        &self,
        item: &str,
        sids: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<TransactWriteItem>, LifecycleError> {
        let delete = |id: String| {
            let delete = Delete::builder().table_name(&self.table).key("id", text(&id)).build();
            let delete = delete.map_err(|error| LifecycleError(error.to_string()))?;
            Ok(TransactWriteItem::builder().delete(delete).build())
        };
        sids.map(copying::id_of)
            .chain([retained::id_of(item)])
            .map(delete)
            .collect()
    }
}
