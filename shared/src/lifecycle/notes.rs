//! Items that hold one value as JSON and change under a version.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    error::LifecycleError,
    table::{DueList, Lifecycle},
};
use crate::{
    clients::dynamodb::{get_number, get_text, number, text},
    log::json_error,
};

/// A value of the table, and the version that the next write replaces.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Its version; 0 if it is not in the table yet.
    pub version: i64,
}

impl Lifecycle {
    /// Reads a value.
    pub async fn read<T: DeserializeOwned>(&self, id: &str) -> Result<Option<Versioned<T>>, LifecycleError> {
        let Some(item) = self.get(id).await? else {
            return Ok(None);
        };
        let json = get_text(&item, "value").unwrap_or_default();
        let value = serde_json::from_str(&json).map_err(|error| LifecycleError(json_error(&error)))?;
        let version = get_number(&item, "version").unwrap_or_default();
        Ok(Some(Versioned { value, version }))
    }

    /// Writes a value, unless another writer did since it was read: then it returns `false`. `due` is when its next step is due.
    pub async fn write<T: Serialize>(
        &self,
        id: &str,
        changed: &mut Versioned<T>,
        due: Option<(DueList, Timestamp)>,
    ) -> Result<bool, LifecycleError> {
        let json = serde_json::to_string(&changed.value).map_err(|error| LifecycleError(json_error(&error)))?;
        let mut put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("id", text(id))
            .item("value", text(&json))
            .item("version", number(changed.version + 1));
        if let Some((list, at)) = due {
            put = put
                .item("due_list", text(list.name()))
                .item("due_at", number(at.as_millisecond()));
        }
        // The SDK retries a write whose response was lost, and then finds this very value.
        let is_own = "#version = :next AND #value = :value";
        put = match changed.version {
            0 => put.condition_expression(format!("attribute_not_exists(id) OR ({is_own})")),
            version => put
                .condition_expression(format!("#version = :version OR ({is_own})"))
                .expression_attribute_values(":version", number(version)),
        };
        let put = put
            .expression_attribute_names("#version", "version")
            .expression_attribute_names("#value", "value")
            .expression_attribute_values(":next", number(changed.version + 1))
            .expression_attribute_values(":value", text(&json));
        match put.send().await {
            Ok(_) => {
                changed.version += 1;
                Ok(true)
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an item.
    pub async fn delete(&self, id: &str) -> Result<(), LifecycleError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("id", text(id))
            .send()
            .await?;
        Ok(())
    }

    /// The ids of the items of a list that are due, at most `limit`.
    pub async fn due_ids(&self, list: DueList, now: Timestamp, limit: i32) -> Result<Vec<String>, LifecycleError> {
        let due = self.due(list, now, limit).await?;
        Ok(due.iter().filter_map(|item| get_text(item, "id")).collect())
    }
}
