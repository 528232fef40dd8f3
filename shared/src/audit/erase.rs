//! Removes erased calls from their items.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    error::AuditError,
    log::{AuditLog, Table},
};
use crate::clients::dynamodb::{Item, get_text, text};

/// Items that are changed at the same time.
const CONCURRENCY: usize = 8;

impl AuditLog {
    /// Removes these subjects from all items: what remains of an item is its time, action and actor. Returns the number of items. It is done whatever
    /// `AUDIT_DAYS` is, because there may be items of the time before it was 0.
    pub async fn erase(&self, subjects: &[String]) -> Result<u64, AuditError> {
        let Some(table) = self.table() else { return Ok(0) };
        let mut erased = 0;
        for subject in subjects {
            let mut pages = table
                .client
                .query()
                .table_name(&table.name)
                .index_name("by-subject")
                .key_condition_expression("subject = :subject")
                .projection_expression("#day, #order")
                .expression_attribute_names("#day", "day")
                .expression_attribute_names("#order", "order")
                .expression_attribute_values(":subject", text(subject))
                .into_paginator()
                .items()
                .send();
            let mut keys = Vec::new();
            while let Some(item) = pages.next().await {
                keys.push(key_of(&item?));
            }
            let changes = stream::iter(keys.into_iter().flatten().map(|key| table.erase(key, subject)));
            let changed: Vec<bool> = changes.buffer_unordered(CONCURRENCY).try_collect().await?;
            erased += changed.into_iter().filter(|changed| *changed).count() as u64;
        }
        Ok(erased)
    }
}

fn key_of(item: &Item) -> Option<Item> {
    let part = |name: &str| Some((name.to_owned(), text(&get_text(item, name)?)));
    Some(Item::from([part("day")?, part("order")?]))
}

impl Table {
    /// Returns `false` if the item has ended meanwhile, or no longer has the subject.
    async fn erase(&self, key: Item, subject: &str) -> Result<bool, AuditError> {
        // The address of someone who opened a share may be the customer's.
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .update_expression("SET call_erased = :true REMOVE subject, recording_sid, address")
            .condition_expression("subject = :subject")
            .expression_attribute_values(":subject", text(subject))
            .expression_attribute_values(":true", aws_sdk_dynamodb::types::AttributeValue::Bool(true));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
