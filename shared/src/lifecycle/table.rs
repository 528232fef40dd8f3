//! The table, and the index of what is due.

use std::time::Duration;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use jiff::Timestamp;

use super::error::LifecycleError;
use crate::{
    clients::{
        aws::Aws,
        dynamodb::{Item, number, text},
    },
    config::{ConfigError, Env},
};

/// The index of the items with a next step.
const BY_DUE: &str = "by-due";

/// A step is due again after this time without a sign of its message or its worker. It is longer than the maximum delay of SQS and an invocation.
pub const OVERDUE: Duration = Duration::from_secs(40 * 60);

/// The lifecycle table.
#[derive(Clone)]
pub struct Lifecycle {
    pub(super) client: Client,
    pub(super) table: String,
}

/// The lists of items whose next step is due at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueList {
    /// Twilio recordings whose copy has not ended. They are overdue if their message is lost.
    Copy,
    /// Copied recordings that are to be deleted at Twilio.
    Move,
    /// Erasures that are not done.
    Erasure,
    /// Calls that end at a time of their own.
    Retain,
}

impl DueList {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Move => "move",
            Self::Erasure => "erasure",
            Self::Retain => "retain",
        }
    }
}

impl Lifecycle {
    /// Reads `LIFECYCLE_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self::new(aws.dynamodb(), env.required("LIFECYCLE_TABLE")?))
    }

    /// The table with this name.
    pub fn new(client: Client, table: &str) -> Self {
        Self {
            client,
            table: table.to_owned(),
        }
    }

    /// The items of a list that are due, at most `limit`, those first that have been due for the longest time.
    pub(super) async fn due(&self, list: DueList, now: Timestamp, limit: i32) -> Result<Vec<Item>, LifecycleError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_DUE)
            .key_condition_expression("due_list = :list AND due_at <= :now")
            .expression_attribute_values(":list", text(list.name()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .limit(limit);
        Ok(query.send().await?.items.unwrap_or_default())
    }

    pub(super) async fn get(&self, id: &str) -> Result<Option<Item>, LifecycleError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        Ok(get.key("id", text(id)).send().await?.item)
    }

    /// Stores that an item is due in this list.
    pub(super) async fn due_again(&self, id: &str, list: DueList, at: Timestamp) -> Result<(), LifecycleError> {
        let values = [(":list", text(list.name())), (":at", number(at.as_millisecond()))];
        self.change(id, "SET due_list = :list, due_at = :at", values).await
    }

    /// Changes one item, which is created if it does not exist.
    pub(super) async fn change(
        &self,
        id: &str,
        update: &str,
        values: impl IntoIterator<Item = (&str, AttributeValue)>,
    ) -> Result<(), LifecycleError> {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value));
        let values = Some(values.collect()).filter(|values: &Item| !values.is_empty());
        let change = self.client.update_item().table_name(&self.table).key("id", text(id));
        change
            .update_expression(update)
            .set_expression_attribute_values(values)
            .send()
            .await?;
        Ok(())
    }
}
