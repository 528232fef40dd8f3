//! Lists items, newest first.

use aws_sdk_dynamodb::{operation::query::builders::QueryFluentBuilder, types::AttributeValue};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    cursor::AuditCursor,
    error::AuditError,
    filter::AuditFilter,
    log::{AuditLog, LONGEST, Table},
};
use crate::{
    clients::dynamodb::{Item, get_number, get_text, text},
    time::to_millis,
};

/// Requests to the table for one page of a list over days, most of which may be empty.
const QUERIES: usize = 40;
/// Requests to the index for one page, for each id of the call.
const QUERIES_OF_SUBJECT: usize = 5;
/// Items that a request with a filter reads, of which few may match.
const READ: i32 = 250;
/// Ids of a call that are looked up at the same time.
const CONCURRENCY: usize = 8;
/// The clocks of two functions differ by less than this.
const CLOCKS: SignedDuration = SignedDuration::from_mins(1);

/// What one request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditItem {
    /// When.
    pub at: Timestamp,
    /// The id of the request.
    pub request_id: String,
    /// What.
    pub action: String,
    /// `key`, `console`, `share` or `anyone`.
    pub actor: String,
    /// The id of the API key.
    pub key_id: Option<String>,
    /// The share.
    pub share_id: Option<String>,
    /// The call, or only its recording, by one of its ids, or an interaction (`interaction#…`).
    pub subject: Option<String>,
    /// The Twilio recording.
    pub recording_sid: Option<String>,
    /// The erasure.
    pub erasure_id: Option<String>,
    /// The client's IP address.
    pub address: Option<String>,
    /// The names of the filters or fields of the request.
    pub parameters: Vec<String>,
    /// The number of rows of the response.
    pub rows: Option<i64>,
    /// Whether the call was erased.
    pub is_erased: bool,
    order: String,
}

/// A page of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The items, newest first. There may be fewer than asked for, even none, although there is a next page.
    pub items: Vec<AuditItem>,
    /// Where the next page begins.
    pub next: Option<AuditCursor>,
}

impl AuditLog {
    /// A page of the items that match, at most `limit`, after a number of requests that does not depend on how many items there are. `subjects` are all
    /// ids of the call of the filter; without them all items are listed.
    pub async fn list(
        &self,
        filter: &AuditFilter,
        subjects: Option<&[String]>,
        start: Option<AuditCursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<AuditPage, AuditError> {
        let table = self.table().filter(|_| self.days() > 0).ok_or(AuditError::Off)?;
        let back = |days: i64| now.saturating_sub(SignedDuration::from_hours(24 * days)).unwrap_or(now);
        // AUDIT_DAYS may have been larger. Older days of all calls are read only on request; the items of a call are few.
        let days = subjects.map_or(self.days(), |_| LONGEST);
        let from = filter.from.unwrap_or(back(days + 1)).max(back(LONGEST + 1));
        let newest = now.saturating_add(CLOCKS).unwrap_or(now);
        let to = filter.to.map_or(newest, |to| to.min(newest));
        let walk = Walk {
            table,
            filter,
            low: to_millis(from),
            wanted: limit + 1,
            now,
        };
        let high = start.map_or(to_millis(to), |cursor| cursor.0);
        let (mut items, rest) = match subjects {
            None => walk.days(high).await?,
            Some(subjects) => walk.subjects(subjects, &high).await?,
        };
        let next = match items.len() > limit {
            true => {
                items.truncate(limit);
                items.last().map(|item| item.order.clone())
            }
            false => rest,
        };
        Ok(AuditPage {
            items,
            next: next.map(AuditCursor),
        })
    }
}

/// Found items, and the position up to which everything was read; `None` if there are no more.
type Found = (Vec<AuditItem>, Option<String>);

struct Walk<'a> {
    table: &'a Table,
    filter: &'a AuditFilter,
    /// The first position.
    low: String,
    wanted: usize,
    now: Timestamp,
}

impl Walk<'_> {
    /// The items of all days before `high`, day by day.
    async fn days(&self, mut high: String) -> Result<Found, AuditError> {
        let mut found = Vec::new();
        for _ in 0..QUERIES {
            if high <= self.low {
                return Ok((found, None));
            }
            let Some(day) = day_of(&high) else {
                return Ok((found, None));
            };
            let query = self.table.client.query().table_name(&self.table.name);
            let query = query
                .key_condition_expression("#day = :day AND #order BETWEEN :low AND :high")
                .expression_attribute_names("#day", "day")
                .expression_attribute_values(":day", text(&day.to_string()))
                .consistent_read(true);
            let rest = self.read(query, &high, &mut found).await?;
            if found.len() >= self.wanted {
                return Ok((found, rest));
            }
            high = rest.unwrap_or_else(|| midnight(day));
        }
        Ok((found, Some(high).filter(|high| *high > self.low)))
    }

    /// The items of these subjects before `high`.
    async fn subjects(&self, subjects: &[String], high: &str) -> Result<Found, AuditError> {
        let walks: Vec<_> = subjects
            .iter()
            .map(|subject| self.subject(subject, high.to_owned()))
            .collect();
        let found: Vec<Found> = stream::iter(walks).buffer_unordered(CONCURRENCY).try_collect().await?;
        // Below this position not all items are known.
        let rest = found.iter().filter_map(|(_, rest)| rest.clone()).max();
        let mut items: Vec<AuditItem> = found.into_iter().flat_map(|(items, _)| items).collect();
        items.retain(|item| rest.as_ref().is_none_or(|rest| item.order >= *rest));
        items.sort_by(|one, other| other.order.cmp(&one.order));
        Ok((items, rest))
    }

    async fn subject(&self, subject: &str, mut high: String) -> Result<Found, AuditError> {
        let mut found = Vec::new();
        for _ in 0..QUERIES_OF_SUBJECT {
            let query = self.table.client.query().table_name(&self.table.name);
            let query = query
                .index_name("by-subject")
                .key_condition_expression("subject = :subject AND #order BETWEEN :low AND :high")
                .expression_attribute_values(":subject", text(subject));
            if high <= self.low {
                return Ok((found, None));
            }
            match self.read(query, &high, &mut found).await? {
                None => return Ok((found, None)),
                Some(position) if found.len() >= self.wanted => return Ok((found, Some(position))),
                Some(position) => high = position,
            }
        }
        Ok((found, Some(high)))
    }

    /// Sends one request for what is before `high`, and returns the position up to which it has read, if there is more.
    async fn read(
        &self,
        query: QueryFluentBuilder,
        high: &str,
        found: &mut Vec<AuditItem>,
    ) -> Result<Option<String>, AuditError> {
        let mut query = query
            .expression_attribute_names("#order", "order")
            .expression_attribute_values(":low", text(&self.low))
            .expression_attribute_values(":high", text(high))
            .scan_index_forward(false);
        let wanted = [
            ("#key", "key_id", ":key", self.filter.key_id.as_deref()),
            (
                "#action",
                "action",
                ":action",
                self.filter.action.map(|action| action.name()),
            ),
        ];
        let mut conditions = Vec::new();
        for (name, attribute, placeholder, value) in wanted {
            if let Some(value) = value {
                conditions.push(format!("{name} = {placeholder}"));
                query = query
                    .expression_attribute_names(name, attribute)
                    .expression_attribute_values(placeholder, text(value));
            }
        }
        query = match conditions.is_empty() {
            // The item at `high` itself was on the page before.
            true => query.limit((self.wanted - found.len()) as i32 + 1),
            false => query.filter_expression(conditions.join(" AND ")).limit(READ),
        };
        let answer = query.send().await?;
        let items = answer.items.unwrap_or_default();
        let items = items.iter().filter_map(|item| {
            let read = AuditItem::of(item);
            if read.is_none() {
                tracing::error!("an item of the audit can't be read and is left out");
            }
            read
        });
        let is_kept = |item: &AuditItem, ends: Option<i64>| {
            item.order.as_str() < high && ends.is_none_or(|ends| ends > self.now.as_second())
        };
        found.extend(items.filter(|(item, ends)| is_kept(item, *ends)).map(|(item, _)| item));
        Ok(answer.last_evaluated_key.and_then(|key| get_text(&key, "order")))
    }
}

/// The day that contains the positions just before this one.
fn day_of(position: &str) -> Option<Date> {
    let day: Date = position.get(..10)?.parse().ok()?;
    match position == midnight(day) {
        true => day.yesterday().ok(),
        false => Some(day),
    }
}

/// The position before which all earlier days are.
fn midnight(day: Date) -> String {
    let start = day.to_zoned(TimeZone::UTC).map(|start| start.timestamp());
    to_millis(start.unwrap_or(Timestamp::MIN))
}

impl AuditItem {
    /// The item, and when it ends, in Unix seconds; `None` if it has no valid time, or no action or actor.
    fn of(item: &Item) -> Option<(Self, Option<i64>)> {
        let order = get_text(item, "order")?;
        let (at, request_id) = order.split_once('#')?;
        let names = item.get("parameters").and_then(|names| names.as_l().ok());
        let names = names.into_iter().flatten().filter_map(|name| name.as_s().ok().cloned());
        let found = Self {
            at: at.parse().ok()?,
            request_id: request_id.to_owned(),
            action: get_text(item, "action")?,
            actor: get_text(item, "actor")?,
            key_id: get_text(item, "key_id"),
            share_id: get_text(item, "share_id"),
            subject: get_text(item, "call").or(get_text(item, "subject")),
            recording_sid: get_text(item, "recording_sid"),
            erasure_id: get_text(item, "erasure_id"),
            address: get_text(item, "address"),
            parameters: names.collect(),
            rows: get_number(item, "rows"),
            is_erased: item.get("call_erased") == Some(&AttributeValue::Bool(true)),
            order,
        };
        Some((found, get_number(item, "expires_at")))
    }
}
