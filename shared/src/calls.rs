//! The calls table in DynamoDB: one item per dispatch id.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `dispatch_id` | partition key |
//! | `s3_key`, `size`, `etag` | the recording, once it is known |
//! | `interaction_id` … `end_time` | the fields of the documented list, as it prints them |
//! | `has_transcript` | whether the recording has been transcribed |
//! | `dispatch_phone`, `dispatched_at` | what the dispatch id says; keys of the index `by-phone`, which tells apart calls to one number |
//! | `list_day`, `list_order` | keys of the index `by-day`, present only on calls that can be played: UTC day, and start time with the id |
//!
//! Items whose `dispatch_id` is `day#2025-08-08` mark the days that have calls, in the partition `days` of `by-day`.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::{Client, error::SdkError, types::AttributeValue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;

use crate::{
    aws::{Aws, causes},
    config::{ConfigError, Env},
    dispatch::{DispatchId, DispatchPattern},
    dynamodb::{Item, get_number, get_text, number, text},
    egress::EgressObject,
    time::{to_millis, utc_day},
};

const BY_DAY: &str = "by-day";
const BY_PHONE: &str = "by-phone";
const DAYS: &str = "days";
/// The most rows that one query asks for.
const QUERY_ROWS: u64 = 1000;

/// What is known of one call. Fields that nobody has reported are `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// The dispatch id.
    pub dispatch_id: String,
    /// Key of the recording in the bucket.
    pub s3_key: Option<String>,
    /// Size of the recording in bytes.
    pub size: Option<i64>,
    /// ETag of the recording, without quotes.
    pub etag: Option<String>,
    /// Id of the interaction.
    pub interaction_id: Option<String>,
    /// Name of the customer called.
    pub customer_name: Option<String>,
    /// Number called, with `+`.
    pub phone: Option<String>,
    /// State of the interaction, for example `COMPLETED`.
    pub status: Option<String>,
    /// Result of the call, for example `PAYMENT_PROMISED`.
    pub outcome: Option<String>,
    /// Length in seconds.
    pub duration: Option<i64>,
    /// When the call began.
    pub start_time: Option<Timestamp>,
    /// When the call ended.
    pub end_time: Option<Timestamp>,
    /// Whether its recording has been transcribed.
    pub has_transcript: bool,
}

/// Where a list continues: after this row. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Reads a cursor that [`Cursor::encode`] gave out. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let order = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (start, id) = order.split_once('#')?;
        let start: Timestamp = start.parse().ok()?;
        let id = DispatchId::parse(id)?;
        (list_order(start, id.as_str()) == order).then_some(Self(order))
    }

    /// The cursor as callers see it.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    fn day(&self) -> &str {
        &self.0[..10]
    }
}

/// Where a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// This many rows from the newest.
    Offset(u64),
    /// After this row.
    After(Cursor),
}

/// One page of playable calls, newest first.
#[derive(Debug)]
pub struct CallPage {
    /// The calls.
    pub calls: Vec<Call>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the calls table did not answer: {0}")]
pub struct CallsError(String);

impl<E: Error + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for CallsError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(causes(&error))
    }
}

/// The calls table.
pub struct Calls {
    client: Client,
    table: String,
}

impl Calls {
    /// Reads `CALLS_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            client: aws.dynamodb(),
            table: env.required("CALLS_TABLE")?.to_owned(),
        })
    }

    /// Reads one call.
    pub async fn get(&self, id: &DispatchId) -> Result<Option<Call>, CallsError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("dispatch_id", text(id.as_str()))
            .send()
            .await;
        Ok(answer?.item.map(call_from_item))
    }

    /// Writes a call whole. It is listed if it has a recording and a start time.
    pub async fn put(&self, call: &Call) -> Result<(), CallsError> {
        let keys = list_keys(call);
        if let Some((day, _)) = &keys {
            self.mark_day(day).await?;
        }
        let mut item = item_from_call(call);
        if let Some((day, order)) = keys {
            item.insert("list_day".into(), text(&day));
            item.insert("list_order".into(), text(&order));
        }
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await?;
        Ok(())
    }

    /// Links a recording that was found by its name to its call, unless the call has one already. What is known of the call stays.
    ///
    /// `known` is the call as just read.
    pub async fn link_recording(
        &self,
        id: &DispatchId,
        known: Option<Call>,
        found: &EgressObject,
    ) -> Result<(), CallsError> {
        let began = Timestamp::from_second(found.unix).map_err(|error| CallsError(error.to_string()))?;
        let mut call = known.unwrap_or_else(|| Call {
            dispatch_id: id.to_string(),
            ..Call::default()
        });
        call.s3_key = Some(found.key.clone());
        call.size = Some(found.size);
        call.etag.clone_from(&found.etag);
        call.start_time = call.start_time.or(Some(began));
        call.phone = call
            .phone
            .or_else(|| id.pattern().map(|pattern| format!("+{}", pattern.phone)));
        let mut item = item_from_call(&call);
        if let Some((day, order)) = list_keys(&call) {
            self.mark_day(&day).await?;
            item.insert("list_day".into(), text(&day));
            item.insert("list_order".into(), text(&order));
        }
        item.remove("dispatch_id");
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("dispatch_id", text(id.as_str()))
            .condition_expression("attribute_not_exists(s3_key)");
        let mut assignments = Vec::new();
        for (name, value) in item {
            // A field that someone else reports meanwhile wins over what is known here.
            let own = matches!(name.as_str(), "s3_key" | "size" | "etag" | "list_day" | "list_order");
            assignments.push(if own {
                format!("#{name} = :{name}")
            } else {
                format!("#{name} = if_not_exists(#{name}, :{name})")
            });
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        match update
            .update_expression(format!("SET {}", assignments.join(", ")))
            .send()
            .await
        {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(|service| service.is_conditional_check_failed_exception()) =>
            {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Notes that the call's recording has been transcribed, if the call is known.
    pub async fn set_transcribed(&self, id: &DispatchId) -> Result<(), CallsError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("dispatch_id", text(id.as_str()))
            .update_expression("SET has_transcript = :true")
            .condition_expression("attribute_exists(dispatch_id)")
            .expression_attribute_values(":true", AttributeValue::Bool(true));
        match update.send().await {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(|service| service.is_conditional_check_failed_exception()) =>
            {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// The dispatch times, in Unix seconds, of the known calls to this number from `first` to `last`, other than `dispatch` itself.
    pub async fn dispatches_near(
        &self,
        dispatch: &DispatchPattern,
        first: i64,
        last: i64,
    ) -> Result<Vec<i64>, CallsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_PHONE)
            .key_condition_expression("dispatch_phone = :phone AND dispatched_at BETWEEN :first AND :last")
            .expression_attribute_values(":phone", text(&dispatch.phone))
            .expression_attribute_values(":first", number(first))
            .expression_attribute_values(":last", number(last))
            .into_paginator()
            .items()
            .send();
        let mut times = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item?;
            times.extend(get_number(&item, "dispatched_at").filter(|unix| *unix != dispatch.unix));
        }
        Ok(times)
    }

    /// Reads one page of playable calls, newest first.
    pub async fn list(&self, start: Start, limit: usize) -> Result<CallPage, CallsError> {
        let (mut skip, mut before) = match start {
            Start::Offset(offset) => (offset, None),
            Start::After(cursor) => (0, Some(cursor)),
        };
        let mut calls: Vec<(String, Call)> = Vec::with_capacity(limit + 1);
        let mut last_day = before.as_ref().map(|cursor| cursor.day().to_owned());
        'days: loop {
            let days = self.days(last_day.as_deref(), before.is_some()).await?;
            let Some(oldest) = days.last().cloned() else { break };
            for day in days {
                let mut after = before
                    .take()
                    .map(|cursor| cursor.0)
                    .filter(|order| order.starts_with(&day));
                loop {
                    let wanted = (skip + (limit + 1 - calls.len()) as u64).min(QUERY_ROWS);
                    let (rows, more) = self.day_rows(&day, after.as_deref(), wanted).await?;
                    after = rows.last().map(|(order, _)| order.clone()).or(after);
                    let dropped = skip.min(rows.len() as u64);
                    skip -= dropped;
                    calls.extend(rows.into_iter().skip(dropped as usize));
                    if calls.len() > limit {
                        break 'days;
                    }
                    if !more {
                        break;
                    }
                }
            }
            last_day = Some(oldest);
        }
        let more = calls.len() > limit;
        calls.truncate(limit);
        let next = calls.last().filter(|_| more).map(|(order, _)| Cursor(order.clone()));
        Ok(CallPage {
            calls: calls.into_iter().map(|(_, call)| call).collect(),
            next,
        })
    }

    /// Days that have playable calls, newest first: those before `last`, or from it on when it is `included`.
    async fn days(&self, last: Option<&str>, included: bool) -> Result<Vec<String>, CallsError> {
        let comparison = if included { "<=" } else { "<" };
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_DAY)
            .key_condition_expression(format!("list_day = :days AND list_order {comparison} :last"))
            .expression_attribute_values(":days", text(DAYS))
            .expression_attribute_values(":last", text(last.unwrap_or("9999-99-99")))
            .scan_index_forward(false)
            .limit(100);
        let answer = query.send().await?;
        Ok(answer
            .items()
            .iter()
            .filter_map(|item| get_text(item, "list_order"))
            .collect())
    }

    /// Up to `limit` calls of one day, newest first, after the row `after`; and whether the day may have more.
    async fn day_rows(
        &self,
        day: &str,
        after: Option<&str>,
        limit: u64,
    ) -> Result<(Vec<(String, Call)>, bool), CallsError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_DAY)
            .key_condition_expression("list_day = :day AND list_order < :after")
            .expression_attribute_values(":day", text(day))
            // Every order of the day begins with a digit, so this is after all of them.
            .expression_attribute_values(":after", text(after.unwrap_or("~")))
            .scan_index_forward(false)
            .limit(limit as i32)
            .send()
            .await?;
        let more = answer.last_evaluated_key().is_some();
        let rows = answer.items.unwrap_or_default().into_iter();
        Ok((
            rows.filter_map(|item| Some((get_text(&item, "list_order")?, call_from_item(item))))
                .collect(),
            more,
        ))
    }

    async fn mark_day(&self, day: &str) -> Result<(), CallsError> {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("dispatch_id", text(&format!("day#{day}")))
            .update_expression("SET list_day = :days, list_order = :day")
            .expression_attribute_values(":days", text(DAYS))
            .expression_attribute_values(":day", text(day))
            .send()
            .await?;
        Ok(())
    }
}

/// The keys by which a playable call is listed.
fn list_keys(call: &Call) -> Option<(String, String)> {
    let start = call.start_time.filter(|_| call.s3_key.is_some())?;
    Some((utc_day(start).to_string(), list_order(start, &call.dispatch_id)))
}

fn list_order(start: Timestamp, dispatch_id: &str) -> String {
    format!("{}#{dispatch_id}", to_millis(start))
}

fn item_from_call(call: &Call) -> Item {
    let mut item = Item::from([("dispatch_id".into(), text(&call.dispatch_id))]);
    let texts = [
        ("s3_key", &call.s3_key),
        ("etag", &call.etag),
        ("interaction_id", &call.interaction_id),
        ("customer_name", &call.customer_name),
        ("phone", &call.phone),
        ("status", &call.status),
        ("outcome", &call.outcome),
        ("start_time", &call.start_time.map(to_millis)),
        ("end_time", &call.end_time.map(to_millis)),
    ];
    item.extend(
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), text(value.as_deref()?)))),
    );
    let numbers = [("size", call.size), ("duration", call.duration)];
    item.extend(
        numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), number(value?)))),
    );
    if call.has_transcript {
        item.insert("has_transcript".into(), AttributeValue::Bool(true));
    }
    if let Some(pattern) = DispatchId::parse(&call.dispatch_id).and_then(|id| id.pattern()) {
        item.insert("dispatch_phone".into(), text(&pattern.phone));
        item.insert("dispatched_at".into(), number(pattern.unix));
    }
    item
}

fn call_from_item(item: Item) -> Call {
    let time = |name| get_text(&item, name).and_then(|text| text.parse().ok());
    Call {
        dispatch_id: get_text(&item, "dispatch_id").unwrap_or_default(),
        s3_key: get_text(&item, "s3_key"),
        size: get_number(&item, "size"),
        etag: get_text(&item, "etag"),
        interaction_id: get_text(&item, "interaction_id"),
        customer_name: get_text(&item, "customer_name"),
        phone: get_text(&item, "phone"),
        status: get_text(&item, "status"),
        outcome: get_text(&item, "outcome"),
        duration: get_number(&item, "duration"),
        start_time: time("start_time"),
        end_time: time("end_time"),
        has_transcript: item.get("has_transcript") == Some(&AttributeValue::Bool(true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_survives_the_table() {
        let call = Call {
            dispatch_id: "dispatch_1754653479_15103455686".into(),
            s3_key: Some("egress-recordings/2025/08/08/x.mp4".into()),
            size: Some(12),
            etag: Some("abc".into()),
            interaction_id: Some("i".into()),
            customer_name: Some("Louis Smith".into()),
            phone: Some("+15103455686".into()),
            status: Some("COMPLETED".into()),
            outcome: Some("PAYMENT_PROMISED".into()),
            duration: Some(180),
            start_time: "2025-08-08T11:44:39Z".parse().ok(),
            end_time: "2025-08-08T11:47:39Z".parse().ok(),
            has_transcript: true,
        };
        assert_eq!(call_from_item(item_from_call(&call)), call);
    }

    #[test]
    fn a_call_without_a_recording_or_a_start_is_not_listed() {
        let start = "2025-08-08T11:44:39Z".parse().ok();
        let call = Call {
            dispatch_id: "d".into(),
            s3_key: Some("k".into()),
            start_time: start,
            ..Call::default()
        };
        assert_eq!(
            list_keys(&call),
            Some(("2025-08-08".into(), "2025-08-08T11:44:39.000Z#d".into()))
        );
        assert_eq!(
            list_keys(&Call {
                s3_key: None,
                ..call.clone()
            }),
            None
        );
        assert_eq!(
            list_keys(&Call {
                start_time: None,
                ..call
            }),
            None
        );
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_and_nothing_else_is_a_cursor(seconds in 0_i64..4_000_000_000, id in "[A-Za-z0-9_-]{1,40}", junk in ".*") {
            let cursor = Cursor(list_order(Timestamp::from_second(seconds).unwrap(), &id));
            prop_assert_eq!(Cursor::parse(&cursor.encode()), Some(cursor.clone()));
            prop_assert_eq!(Cursor::parse(&junk), None);
            prop_assert_eq!(Cursor::parse(&URL_SAFE_NO_PAD.encode(&junk)), None);
        }
    }
}
