//! When keys were last used, from the audit table.

use std::{collections::HashMap, error::Error};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use jiff::Timestamp;
use shared::clients::aws::reason;

use super::entry::Entry;

/// The last uses of keys, by id and fingerprint.
pub(super) struct LastUsed(HashMap<(String, String), Timestamp>);

impl LastUsed {
    /// Reads the last uses of these keys.
    pub(super) async fn read(
        config: &SdkConfig,
        table: &str,
        entries: &[Entry],
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let client = Client::new(config);
        let mut uses = HashMap::new();
        for entry in entries {
            let item = client
                .get_item()
                .table_name(table)
                .key("day", AttributeValue::S(format!("key#{}", entry.id)))
                .key("order", AttributeValue::S(entry.fingerprint()))
                .send()
                .await
                .map_err(|error| format!("the table {table} can't be read: {}", reason(&error)))?
                .item
                .unwrap_or_default();
            let used_at = item.get("used_at").and_then(|value| value.as_n().ok()?.parse().ok());
            if let Some(used_at) = used_at.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
                uses.insert((entry.id.clone(), entry.fingerprint()), used_at);
            }
        }
        Ok(Self(uses))
    }

    pub(super) fn of(&self, entry: &Entry) -> Option<Timestamp> {
        self.0.get(&(entry.id.clone(), entry.fingerprint())).copied()
    }
}
