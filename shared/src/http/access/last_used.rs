//! When each key was last used, for `cargo run -- keys list`.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{api_key::fingerprint, key_set::Key};
use crate::{
    clients::{
        aws::Aws,
        aws::cause,
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
        let due = {
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            let due = stored
                .get(&key.sha256)
                .is_none_or(|last| last.elapsed() >= Duration::from_secs(INTERVAL.as_secs() as u64));
            if due {
                stored.insert(key.sha256, Instant::now());
            }
            due
        };
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("day", text(&format!("key#{}", key.id)))
            .key("order", text(&fingerprint(&key.sha256)))
            .update_expression("SET used_at = :now, expires_at = :end")
            .condition_expression("attribute_not_exists(used_at) OR used_at < :hour_ago")
            .expression_attribute_values(":now", number(now.as_second()))
            .expression_attribute_values(":hour_ago", number((now - INTERVAL).as_second()))
            .expression_attribute_values(":end", number((now + KEPT).as_second()));
        due.then_some(async move {
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
}
