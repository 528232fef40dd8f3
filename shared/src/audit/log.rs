//! Writes items.

use aws_sdk_dynamodb::{
    Client,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    error::AuditError,
    event::{Event, Origin},
};
use crate::{
    clients::{
        aws::Aws,
        dynamodb::{Item, number, text},
    },
    config::{ConfigError, Env},
    time::{to_millis, utc_day},
};

const DEFAULT_DAYS: i64 = 90;
/// The maximum of `AUDIT_DAYS`.
pub(super) const LONGEST: i64 = 3650;

/// The audit table, and how long it keeps items.
pub struct AuditLog {
    days: i64,
    table: Option<Table>,
}

/// The table with its client.
pub(super) struct Table {
    pub(super) client: Client,
    pub(super) name: String,
}

impl AuditLog {
    /// Reads `AUDIT_DAYS` (90) and `AUDIT_TABLE`, which is required unless the days are 0.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let days = match env.optional("AUDIT_DAYS") {
            None => Some(DEFAULT_DAYS),
            Some(text) => text.parse().ok().filter(|days| (0..=LONGEST).contains(days)),
        };
        let days = days.ok_or(ConfigError::Invalid {
            name: "AUDIT_DAYS",
            expected: "a number of days from 0 to 3650",
        })?;
        let name = match days {
            0 => env.optional("AUDIT_TABLE"),
            _ => Some(env.required("AUDIT_TABLE")?),
        };
        let table = name.map(|name| Table {
            client: aws.dynamodb(),
            name: name.to_owned(),
        });
        Ok(Self { days, table })
    }

    /// The days that items are kept; 0: nothing is stored.
    pub fn days(&self) -> i64 {
        self.days
    }

    /// The table, also where nothing new is stored: what was stored before must end, too.
    pub(super) fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// Writes what a request does, and its log line. Unless this returns `Ok`, the request must not disclose, change or pay for anything.
    ///
    /// The log line never contains the call, because a dispatch id contains the customer's number. Its request is that of the span that it is written in.
    pub async fn write(&self, event: &Event, origin: &Origin) -> Result<(), AuditError> {
        self.write_at(event, origin, Timestamp::now()).await
    }

    /// The same with another time than now.
    pub async fn write_at(&self, event: &Event, origin: &Origin, at: Timestamp) -> Result<(), AuditError> {
        if let (Some(table), 1..) = (&self.table, self.days) {
            table.put(item_of(event, origin, at, self.days)).await?;
        }
        tracing::info!(
            action = event.action.name(),
            actor = origin.actor.name(),
            key_id = origin.actor.key_id(),
            share_id = event.share_id.as_deref().or(origin.actor.share_id()),
            recording_sid = event.recording_sid,
            erasure_id = event.erasure_id,
            parameters = Some(event.parameters.join(",")).filter(|names| !names.is_empty()),
            rows = event.rows,
            "audit"
        );
        Ok(())
    }
}

impl Table {
    async fn put(&self, item: Item) -> Result<(), AuditError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(#day)")
            .expression_attribute_names("#day", "day")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(()) };
        match error.as_service_error() {
            // The SDK repeats a request whose response was lost.
            Some(PutItemError::ConditionalCheckFailedException(failed)) if failed.item.as_ref() == Some(&item) => {
                Ok(())
            }
            Some(PutItemError::ConditionalCheckFailedException(_)) => Err(AuditError::Duplicate),
            _ => Err(error.into()),
        }
    }
}

/// The sort key of a request.
pub(super) fn order(at: Timestamp, request_id: &str) -> String {
    format!("{}#{request_id}", to_millis(at))
}

fn item_of(event: &Event, origin: &Origin, at: Timestamp, days: i64) -> Item {
    let ends = at.saturating_add(SignedDuration::from_hours(24 * days)).unwrap_or(at);
    let mut item = Item::from([
        ("day".to_owned(), text(&utc_day(at).to_string())),
        ("order".to_owned(), text(&order(at, &origin.request_id))),
        ("action".to_owned(), text(event.action.name())),
        ("actor".to_owned(), text(origin.actor.name())),
        ("expires_at".to_owned(), number(ends.as_second())),
    ]);
    let texts = [
        ("key_id", origin.actor.key_id()),
        ("share_id", event.share_id.as_deref().or(origin.actor.share_id())),
        ("subject", event.subject.as_deref()),
        ("call", event.call.as_deref()),
        ("recording_sid", event.recording_sid.as_deref()),
        ("erasure_id", event.erasure_id.as_deref()),
        ("address", origin.address.as_deref()),
    ];
    for (name, value) in texts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            item.insert(name.to_owned(), text(value));
        }
    }
    if !event.parameters.is_empty() {
        let names = event.parameters.iter().map(|name| text(name));
        item.insert("parameters".to_owned(), AttributeValue::L(names.collect()));
    }
    if let Some(rows) = event.rows {
        item.insert("rows".to_owned(), number(rows as i64));
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Action, Actor};

    #[test]
    fn an_item_has_the_names_of_filters_and_an_end() {
        let origin = Origin {
            actor: Actor::Console("ops".into()),
            request_id: "r1".into(),
            address: None,
        };
        let at: Timestamp = "2026-11-26T10:00:00.1234Z".parse().unwrap();
        let event = Event::new(Action::List).with(["phone"]).showing(3);
        let item = item_of(&event, &origin, at, 90);
        assert_eq!(item["day"], text("2026-11-26"));
        assert_eq!(item["order"], text("2026-11-26T10:00:00.123Z#r1"));
        assert_eq!(item["key_id"], text("ops"));
        assert_eq!(item["actor"], text("console"));
        assert_eq!(item["rows"], number(3));
        assert_eq!(item["expires_at"], number(at.as_second() + 90 * 86_400));
        assert!(!item.contains_key("subject") && !item.contains_key("address"));
    }
}
