//! The calls table.

use std::{collections::BTreeMap, sync::Mutex};

use aws_sdk_dynamodb::Client;
use jiff::{Timestamp, civil::Date};

use super::{encoding::call_from, error::CallsError, model::Call};
use crate::{
    clients::{aws::Aws, dynamodb::text},
    config::{ConfigError, Env},
    ids::DispatchId,
    lifecycle::{Lifecycle, Tombstones},
};

/// The calls table.
pub struct Calls {
    pub(super) client: Client,
    pub(super) table: String,
    /// Which call each Twilio recording belongs to.
    pub(super) lifecycle: Lifecycle,
    /// The ids of tombstones, which no new item may have.
    pub(super) tombstones: Tombstones,
    /// The ledger days that this process has marked as changed, with the time of the mark.
    pub(super) marked: Mutex<BTreeMap<Date, Timestamp>>,
}

impl Calls {
    /// Reads `CALLS_TABLE`, `LIFECYCLE_TABLE` and `TOMBSTONE_SECRET`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let (calls, lifecycle) = (env.required("CALLS_TABLE")?, env.required("LIFECYCLE_TABLE")?);
        Ok(Self {
            tombstones: Tombstones::from_env(env, aws),
            ..Self::new(aws.dynamodb(), calls, lifecycle)
        })
    }

    /// Reads the key of the tombstones before the first write.
    pub async fn preload(&self) {
        self.tombstones.preload().await;
    }

    /// The tables with these names, for commands that create no items.
    pub fn new(client: Client, table: &str, lifecycle: &str) -> Self {
        Self {
            lifecycle: Lifecycle::new(client.clone(), lifecycle),
            tombstones: Tombstones::none(),
            client,
            table: table.to_owned(),
            marked: Mutex::default(),
        }
    }

    /// Reads one call.
    pub async fn get(&self, id: &DispatchId) -> Result<Option<Call>, CallsError> {
        let get = self.client.get_item().table_name(&self.table);
        let answer = get.key("id", text(id.as_str())).send().await?;
        Ok(answer.item.map(call_from))
    }
}
