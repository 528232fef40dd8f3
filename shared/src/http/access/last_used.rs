//! When each key was last used, for `cargo run -- keys list`.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::keys_secret::Key;
use crate::{
    clients::{
        aws::{Aws, cause, reason},
        dynamodb::{number, text},
    },
    config::Env,
};

/// A use is stored at most once in this time.
const INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// How long the last use of a key is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// The last uses of keys in the audit table: one item for each key, `key#{id}` and the first digits of its hash.
pub(super) struct LastUsed {
    client: Client,
    table: String,
    // When this process last stored a use of the key with this hash.
    stored: Mutex<HashMap<[u8; 32], Instant>>,
}

impl LastUsed {
    /// Reads `AUDIT_TABLE`; `None` without it.
    pub(super) fn from_env(env: &Env, aws: &Aws) -> Option<Self> {
        Some(Self {
            client: aws.dynamodb(),
            table: env.optional("AUDIT_TABLE")?.to_owned(),
            stored: Mutex::default(),
        })
    }

    /// Stores the use of a key, unless another one was stored within the hour. A failure is only logged: no request fails for it.
    pub(super) fn store(&self, key: &Key, now: Timestamp) -> Option<impl Future<Output = ()> + Send + use<>> {
        if !self.is_due(key) {
            return None;
        }
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(key)))
            .update_expression("SET used_at = :now, expires_at = :end")
            .condition_expression("attribute_not_exists(used_at) OR used_at < :hour_ago")
            .expression_attribute_values(":now", number(now.as_second()))
            .expression_attribute_values(":hour_ago", number((now - INTERVAL).as_second()))
            .expression_attribute_values(":end", number((now + KEPT).as_second()));
        Some(async move {
            match update.send().await {
                Ok(_) => {}
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|error| error.is_conditional_check_failed_exception()) => {}
                Err(error) => tracing::warn!(error = cause(&error), "the last use of an API key was not stored"),
            }
        })
    }

    /// Whether this process has stored no use of the key within the hour. If so, it stores this one.
    fn is_due(&self, key: &Key) -> bool {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let due = stored
            .get(&key.sha256)
            .is_none_or(|last| last.elapsed() >= Duration::from_secs(INTERVAL.as_secs() as u64));
        if due {
            stored.insert(key.sha256, Instant::now());
        }
        due
    }
}

/// When a key was last used, from the audit table with this name. It is stored at most once an hour.
///
/// # Errors
/// A sentence for people if the table can't be read.
pub async fn last_use(client: &Client, table: &str, key: &Key) -> Result<Option<Timestamp>, String> {
    let stored = client.get_item().table_name(table).set_key(Some(item_key(key)));
    let stored = stored.send().await;
    let stored = stored.map_err(|error| format!("the table {table} can't be read: {}", reason(&error)))?;
    let used_at = stored.item.as_ref().and_then(|item| item.get("used_at"));
    let used_at = used_at.and_then(|value| value.as_n().ok()?.parse().ok());
    Ok(used_at.and_then(|seconds| Timestamp::from_second(seconds).ok()))
}

fn item_key(key: &Key) -> HashMap<String, AttributeValue> {
    let day = text(&format!("key#{}", key.id));
    HashMap::from([("day".into(), day), ("order".into(), text(&key.fingerprint()))])
}
