//! Removes erased calls from their items.

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::AttributeValue};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    error::AuditError,
    log::{AuditLog, Table},
};
use crate::clients::dynamodb::{Item, get_text, text};

/// Subjects that are erased at the same time.
const CONCURRENCY: usize = 8;

impl AuditLog {
    /// Removes these subjects from all items: what remains of an item is its time, action and actor. Returns the number of items. It is done whatever
    /// `AUDIT_DAYS` is, because there may be items of the time before it was 0.
    pub async fn erase(&self, subjects: &[String]) -> Result<u64, AuditError> {
        let Some(table) = self.table() else { return Ok(0) };
        let subjects: Vec<_> = subjects.iter().map(|subject| table.erase_subject(subject)).collect();
        let erased: Vec<u64> = stream::iter(subjects)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(erased.iter().sum())
    }
}

fn key_of(item: &Item) -> Option<Item> {
    let part = |name: &str| Some((name.to_owned(), text(&get_text(item, name)?)));
    Some(Item::from([part("day")?, part("order")?]))
}

impl Table {
    async fn erase_subject(&self, subject: &str) -> Result<u64, AuditError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
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
            keys.extend(key_of(&item?));
        }
        let mut erased = 0;
        for key in keys {
            erased += u64::from(self.erase(key, subject).await?);
        }
        Ok(erased)
    }

    /// Returns `false` if the item has ended meanwhile, or no longer has the subject.
    async fn erase(&self, key: Item, subject: &str) -> Result<bool, AuditError> {
        // The address of someone who opened a share may be the customer's.
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .update_expression("SET call_erased = :true REMOVE subject, #call, recording_sid, address")
            .expression_attribute_names("#call", "call")
            .condition_expression("subject = :subject")
            .expression_attribute_values(":subject", text(subject))
            .expression_attribute_values(":true", AttributeValue::Bool(true));
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
