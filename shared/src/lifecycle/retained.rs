//! Calls that end at a time of their own.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use jiff::{SignedDuration, Timestamp};

use super::{
    error::LifecycleError,
    table::{DueList, Lifecycle},
};
use crate::clients::dynamodb::{get_text, number, text};

const PREFIX: &str = "retain#";
/// A time is stored here shortly before the call has it.
const SETTLED: SignedDuration = SignedDuration::from_hours(1);

/// The id of the item of a call, which is named by its item in the calls table.
pub(super) fn id_of(item: &str) -> String {
    format!("{PREFIX}{item}")
}

impl Lifecycle {
    /// Stores when a call ends, or when it is looked at again.
    pub async fn retain(&self, item: &str, until: Timestamp) -> Result<(), LifecycleError> {
        self.due_again(&id_of(item), DueList::Retain, until).await
    }

    /// The items of the calls whose own time has passed, at most `limit`. The call itself may have another time, or none, meanwhile.
    pub async fn past_their_time(&self, now: Timestamp, limit: i32) -> Result<Vec<String>, LifecycleError> {
        let due = self.due(DueList::Retain, now, limit).await?;
        let items = due.iter().filter_map(|item| get_text(item, "id"));
        Ok(items
            .filter_map(|id| Some(id.strip_prefix(PREFIX)?.to_owned()))
            .collect())
    }

    /// Forgets the time of a call that has none any more, unless it was stored just now.
    pub async fn end_retaining(&self, item: &str, now: Timestamp) -> Result<(), LifecycleError> {
        let settled = now.saturating_sub(SETTLED).unwrap_or(now);
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("id", text(&id_of(item)))
            .condition_expression("due_at <= :settled")
            .expression_attribute_values(":settled", number(settled.as_millisecond()))
            .send()
            .await;
        match deleted {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }
}
