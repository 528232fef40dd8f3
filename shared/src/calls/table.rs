//! The calls table.

use std::{collections::BTreeMap, sync::Mutex};

use aws_sdk_dynamodb::Client;
use jiff::{Timestamp, civil::Date};

use super::{encoding::call_from, error::CallsError, model::Call};
use crate::{
    clients::{aws::Aws, dynamodb::text},
    config::{ConfigError, Env},
    ids::DispatchId,
    lifecycle::Lifecycle,
};

/// The calls table.
pub struct Calls {
    pub(super) client: Client,
    pub(super) table: String,
    /// Which call each Twilio recording belongs to.
    pub(super) lifecycle: Lifecycle,
    /// The ledger days that this process has marked as changed, with the time of the mark.
    pub(super) marked: Mutex<BTreeMap<Date, Timestamp>>,
}

impl Calls {
    /// Reads `CALLS_TABLE` and `LIFECYCLE_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let (calls, lifecycle) = (env.required("CALLS_TABLE")?, env.required("LIFECYCLE_TABLE")?);
        Ok(Self::new(aws.dynamodb(), calls, lifecycle))
    }

    /// The tables with these names.
    pub fn new(client: Client, table: &str, lifecycle: &str) -> Self {
        Self {
            lifecycle: Lifecycle::new(client.clone(), lifecycle),
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
