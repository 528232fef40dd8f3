//! Lists: by days, found by their counts; of one number or interaction, by an index of their own.

use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream::FuturesOrdered};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    encoding::call_from,
    error::CallsError,
    item::{ListKind, next_minute},
    model::Call,
    table::Calls,
};
use crate::{
    clients::dynamodb::{get_text, text},
    ids::digits,
    time::to_millis,
};

/// The most rows that one query asks for.
const QUERY_ROWS: usize = 1000;
/// The rows that are read for one page at most, when not all of them are on it: some two megabytes.
const READ_ROWS: usize = 5000;
/// Days that are read side by side at most.
const DAYS_AT_ONCE: usize = 16;
const MAC_BYTES: usize = 16;

/// Which calls a list shows. The default is all that can be played.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListFilter {
    /// Calls without a recording instead of those that can be played.
    pub missing: bool,
    /// Exactly this status.
    pub status: Option<String>,
    /// Exactly this outcome.
    pub outcome: Option<String>,
    /// This number, whatever stands between its digits.
    pub phone: Option<String>,
    /// Calls of this interaction.
    pub interaction_id: Option<String>,
    /// Begun then or later. A call whose beginning is not known counts as begun when it was first reported.
    pub started_after: Option<Timestamp>,
    /// Begun before then.
    pub started_before: Option<Timestamp>,
    /// At least this long, in seconds. A call whose length is not known is not.
    pub min_duration: Option<i64>,
    /// With a stored transcript, or without.
    pub has_transcript: Option<bool>,
}

impl ListFilter {
    fn list_kind(&self) -> ListKind {
        match self.missing {
            true => ListKind::Missing,
            false => ListKind::Playable,
        }
    }

    /// Whether it shows a whole list, which is counted.
    pub fn is_whole(&self) -> bool {
        let whole = Self {
            missing: self.missing,
            ..Self::default()
        };
        *self == whole
    }

    /// Whether rows are read that may not pass.
    fn drops_rows(&self) -> bool {
        let looked_up_twice = self.phone.is_some() && self.interaction_id.is_some();
        let looked_at = self.status.is_some() || self.outcome.is_some();
        looked_up_twice || looked_at || self.min_duration.is_some() || self.has_transcript.is_some()
    }

    /// Whether a call passes, as far as a query does not see to it: that it has a recording, or none, and its time are not looked at.
    fn passes(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
        let phone = |phone: &str| digits(phone);
        is(&self.status, &call.status)
            && is(&self.outcome, &call.outcome)
            && is(&self.interaction_id, &call.interaction_id)
            && is(&self.phone.as_deref().map(phone), &call.phone.as_deref().map(phone))
            && self.min_duration.is_none_or(|least| call.duration >= Some(least))
            && self.has_transcript.is_none_or(|wanted| wanted == call.has_transcript)
    }
}

/// The order of a list, by start time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum ListOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// Where a list continues: after this row. Opaque to callers, and good for one list only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(String);

impl Cursor {
    /// Reads a cursor that [`Cursor::seal`] gave out with this key for this list. `None` for anything else.
    pub fn open(sealed: &str, key: &[u8], filter: &ListFilter, order: ListOrder) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (mac, row) = bytes.split_at_checked(MAC_BYTES)?;
        authenticated(row, key, filter, order).verify_truncated_left(mac).ok()?;
        String::from_utf8(row.to_vec()).ok().map(Self)
    }

    /// The cursor as callers see it.
    pub fn seal(&self, key: &[u8], filter: &ListFilter, order: ListOrder) -> String {
        let mac = authenticated(self.0.as_bytes(), key, filter, order)
            .finalize()
            .into_bytes();
        URL_SAFE_NO_PAD.encode([&mac[..MAC_BYTES], self.0.as_bytes()].concat())
    }
}

fn authenticated(row: &[u8], key: &[u8], filter: &ListFilter, order: ListOrder) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    // JSON of plain fields, which can't fail.
    mac.update(&serde_json::to_vec(&(filter, order)).unwrap_or_default());
    mac.update(b"\n");
    mac.update(row);
    mac
}

/// Where a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListStart {
    /// This many rows from the first.
    Offset(u64),
    /// After this row.
    After(Cursor),
}

/// One page of a list.
#[derive(Debug)]
pub struct CallPage {
    /// The calls.
    pub calls: Vec<Call>,
    /// Where the next page begins; `None` at the end. A page of a filtered list can have fewer calls than asked for, even none, and yet not be
    /// the last: so many rows were read for it that it ends there.
    pub next: Option<Cursor>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The table did not answer.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// Too many rows of a filtered list would have to be read and dropped.
    #[error("the offset leads too far into a filtered list")]
    OffsetTooFar,
}

impl Calls {
    /// How many calls a whole list has.
    pub async fn total(&self, missing: bool) -> Result<u64, CallsError> {
        let list = ListFilter {
            missing,
            ..ListFilter::default()
        }
        .list_kind();
        Ok(self.counts(list, "").await?.into_iter().map(|(_, count)| count).sum())
    }

    /// Reads one page of a list.
    pub async fn list(
        &self,
        filter: &ListFilter,
        order: ListOrder,
        start: ListStart,
        limit: usize,
    ) -> Result<CallPage, ListError> {
        let (first, last) = bounds(filter);
        let mut filling = Filling {
            filter,
            order,
            limit,
            first,
            last,
            skip: 0,
            read: 0,
            after: None,
            rows: Vec::with_capacity(limit + 1),
        };
        match start {
            ListStart::Offset(offset) => filling.skip = offset,
            ListStart::After(Cursor(row)) => filling.go_on_after(row),
        }
        let mut partitions = Partitions::new(&filling);
        if filter.is_whole() && filling.skip > 0 {
            let Some((minute, rest)) = self.minute_of(filter.list_kind(), order, filling.skip).await? else {
                return Ok(CallPage {
                    calls: Vec::new(),
                    next: None,
                });
            };
            match order {
                ListOrder::Newest => filling.last = next_minute(&minute),
                ListOrder::Oldest => filling.first.clone_from(&minute),
            }
            partitions.next = Next::Day(minute[..10].to_owned());
            filling.skip = rest;
        }
        let mut chunk = 100;
        loop {
            let mut wanted = filling.wanted();
            if filter.drops_rows() {
                wanted = wanted.max(chunk).min(QUERY_ROWS);
                chunk = (2 * chunk).min(QUERY_ROWS);
            }
            let batch = partitions.next(self, wanted as u64).await?;
            if batch.is_empty() {
                return Ok(filling.page());
            }
            let (first, last) = (&filling.first.clone(), &filling.last.clone());
            let query = |partition| async move {
                let rows = self.rows(&partition, (first, last), order, wanted).await?;
                Ok::<_, CallsError>((partition, rows))
            };
            let mut found: FuturesOrdered<_> = batch.into_iter().map(query).collect();
            while let Some(found) = found.next().await {
                let (partition, (mut rows, mut more)) = found?;
                loop {
                    if filling.take(rows) {
                        return Ok(filling.page());
                    }
                    if filling.read >= READ_ROWS && !filter.is_whole() {
                        return filling.page_so_far();
                    }
                    if !more {
                        break;
                    }
                    let wanted = wanted.max(filling.wanted());
                    let bounds = (filling.first.as_str(), filling.last.as_str());
                    (rows, more) = self.rows(&partition, bounds, order, wanted).await?;
                }
            }
        }
    }

    /// The minute in which row number `offset` of a whole list lies, by the counts of months, days, hours and minutes, and how many rows of that
    /// minute come before it. `None` beyond the end.
    async fn minute_of(
        &self,
        list: ListKind,
        order: ListOrder,
        mut offset: u64,
    ) -> Result<Option<(String, u64)>, CallsError> {
        let mut prefix = String::new();
        while prefix.len() < "2025-08-08T11:44".len() {
            let mut parts = self.counts(list, &prefix).await?;
            if order == ListOrder::Newest {
                parts.reverse();
            }
            let mut found = None;
            for (part, count) in parts {
                if offset < count {
                    found = Some(part);
                    break;
                }
                offset -= count;
            }
            let Some(part) = found else { return Ok(None) };
            prefix = part;
        }
        Ok(Some((prefix, offset)))
    }

    /// Some `wanted` rows of one partition of an index of lists within `bounds`, both included; and whether there may be more.
    async fn rows(
        &self,
        (index, partition): &(&'static str, String),
        (first, last): (&str, &str),
        order: ListOrder,
        wanted: usize,
    ) -> Result<(Vec<(String, Call)>, bool), CallsError> {
        if first > last {
            return Ok((Vec::new(), false));
        }
        // One more than wanted, since the row that a cursor names is read again.
        let limit = wanted + 1;
        let key = match *index {
            "by-day" => "list_day",
            "by-phone" => "list_phone",
            _ => "list_interaction",
        };
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(*index)
            .key_condition_expression(format!("{key} = :partition AND list_order BETWEEN :first AND :last"))
            .expression_attribute_values(":partition", text(partition))
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
            .scan_index_forward(order == ListOrder::Oldest)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await?;
        let more = answer.last_evaluated_key().is_some();
        let rows = answer.items.unwrap_or_default().into_iter();
        Ok((
            rows.filter_map(|item| Some((get_text(&item, "list_order")?, call_from(&item))))
                .collect(),
            more,
        ))
    }
}

/// A page while it is filled.
struct Filling<'a> {
    filter: &'a ListFilter,
    order: ListOrder,
    limit: usize,
    /// What is left to read lies between these rows, both included.
    first: String,
    last: String,
    /// Rows that pass the filter and still come before the page.
    skip: u64,
    /// Rows that were read.
    read: usize,
    /// The row that was read last.
    after: Option<String>,
    /// One more than `limit`, to know that there are more.
    rows: Vec<(String, Call)>,
}

impl Filling<'_> {
    fn wanted(&self) -> usize {
        let skip = usize::try_from(self.skip).unwrap_or(QUERY_ROWS);
        skip.saturating_add(self.limit + 1 - self.rows.len()).min(QUERY_ROWS)
    }

    fn go_on_after(&mut self, row: String) {
        match self.order {
            ListOrder::Newest => self.last = row.clone().min(std::mem::take(&mut self.last)),
            ListOrder::Oldest => self.first = row.clone().max(std::mem::take(&mut self.first)),
        }
        self.after = Some(row);
    }

    /// Whether the page is full.
    fn take(&mut self, rows: Vec<(String, Call)>) -> bool {
        for (row, call) in rows {
            if self.after.as_ref() == Some(&row) {
                continue;
            }
            self.read += 1;
            self.go_on_after(row.clone());
            if !self.filter.passes(&call) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.rows.push((row, call));
            if self.rows.len() > self.limit {
                return true;
            }
        }
        false
    }

    fn page(mut self) -> CallPage {
        let more = self.rows.len() > self.limit;
        self.rows.truncate(self.limit);
        CallPage {
            next: self.rows.last().filter(|_| more).map(|(row, _)| Cursor(row.clone())),
            calls: self.rows.into_iter().map(|(_, call)| call).collect(),
        }
    }

    /// What there is after too many rows were read.
    fn page_so_far(self) -> Result<CallPage, ListError> {
        if self.skip > 0 {
            return Err(ListError::OffsetTooFar);
        }
        Ok(CallPage {
            calls: self.rows.into_iter().map(|(_, call)| call).collect(),
            next: self.after.map(Cursor),
        })
    }
}

/// The partitions that a list is read from.
struct Partitions {
    list: ListKind,
    order: ListOrder,
    first: String,
    last: String,
    next: Next,
    /// The day that was given out last.
    passed: Option<String>,
    months: Option<VecDeque<(String, u64)>>,
    days: VecDeque<(String, u64)>,
}

/// What to begin with.
enum Next {
    /// One partition, and no other.
    Only(&'static str, String),
    /// A day that needs not be looked up.
    Day(String),
    /// Days that have calls.
    Days,
    Nothing,
}

impl Partitions {
    fn new(filling: &Filling<'_>) -> Self {
        let (filter, after) = (filling.filter, filling.after.as_deref());
        let list = filter.list_kind();
        let next = match (&filter.interaction_id, &filter.phone, after) {
            (Some(id), ..) => Next::Only("by-interaction", list.partition(id)),
            (None, Some(phone), _) => Next::Only("by-phone", list.partition(&digits(phone))),
            (None, None, Some(row)) => Next::Day(row.get(..10).unwrap_or(row).to_owned()),
            (None, None, None) => Next::Days,
        };
        Self {
            list,
            order: filling.order,
            first: filling.first.clone(),
            last: filling.last.clone(),
            next,
            passed: None,
            months: None,
            days: VecDeque::new(),
        }
    }

    /// The next ones, which together have `wanted` rows if there are so many; they can be read side by side. Empty at the end.
    async fn next(&mut self, calls: &Calls, wanted: u64) -> Result<Vec<(&'static str, String)>, CallsError> {
        let days = match std::mem::replace(&mut self.next, Next::Days) {
            Next::Only(index, partition) => {
                self.next = Next::Nothing;
                return Ok(vec![(index, partition)]);
            }
            Next::Nothing => return Ok(Vec::new()),
            Next::Day(day) => vec![day],
            Next::Days => self.next_days(calls, wanted).await?,
        };
        self.passed = days.last().cloned().or(self.passed.take());
        let partition = |day: &String| ("by-day", self.list.partition(day));
        Ok(days.iter().map(partition).collect())
    }

    async fn next_days(&mut self, calls: &Calls, wanted: u64) -> Result<Vec<String>, CallsError> {
        let (mut days, mut rows) = (Vec::new(), 0);
        while rows < wanted && days.len() < DAYS_AT_ONCE {
            if let Some((day, count)) = self.days.pop_front() {
                rows += count;
                days.push(day);
                continue;
            }
            if self.months.is_none() {
                self.months = Some(self.parts(calls, "").await?);
            }
            let Some((month, _)) = self.months.as_mut().and_then(VecDeque::pop_front) else {
                break;
            };
            self.days = self.parts(calls, &month).await?;
            self.days.retain(|(day, _)| Some(day) != self.passed.as_ref());
        }
        Ok(days)
    }

    /// The parts of `prefix` that have calls, and how many, in order, from the day that was passed on.
    async fn parts(&self, calls: &Calls, prefix: &str) -> Result<VecDeque<(String, u64)>, CallsError> {
        let counts = calls.counts(self.list, prefix).await?.into_iter();
        let within = |part: &String| {
            let cut = |bound: &str| bound.get(..part.len()).unwrap_or(bound).to_owned();
            let passed = self.passed.as_deref().map(cut);
            let begins_in_time = match part.len() {
                10 => format!("{part}T00:00:00.000Z") < self.last,
                _ => *part <= cut(&self.last),
            };
            begins_in_time
                && *part >= cut(&self.first)
                && passed.is_none_or(|passed| match self.order {
                    ListOrder::Newest => *part <= passed,
                    ListOrder::Oldest => *part >= passed,
                })
        };
        let mut parts: VecDeque<(String, u64)> = counts.filter(|(part, _)| within(part)).collect();
        if self.order == ListOrder::Newest {
            parts.make_contiguous().reverse();
        }
        Ok(parts)
    }
}

/// The rows that a filter's times leave, as bounds of [`ListPosition::order`](super::item::ListPosition), both included.
fn bounds(filter: &ListFilter) -> (String, String) {
    // Rows are listed to the millisecond.
    let up = |time: Timestamp| to_millis(time + SignedDuration::from_nanos(999_999));
    // Every row begins with a digit, and goes on after its time.
    let first = filter.started_after.map_or_else(|| "0".to_owned(), up);
    let last = filter.started_before.map_or_else(|| "~".to_owned(), up);
    (first, last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back_with_its_key_for_its_list_and_nothing_else_is_one(
            row in "[0-9A-Za-z#_-]{1,40}", other in "[a-z]{1,9}", junk in ".*", at in 0_usize..60,
        ) {
            let (filter, order) = (ListFilter::default(), ListOrder::Newest);
            let cursor = Cursor(row);
            let sealed = cursor.seal(b"key", &filter, order);
            prop_assert_eq!(Cursor::open(&sealed, b"key", &filter, order), Some(cursor));
            let filtered = ListFilter { status: Some(other), ..ListFilter::default() };
            prop_assert_eq!(Cursor::open(&sealed, b"key", &filtered, order), None);
            prop_assert_eq!(Cursor::open(&sealed, b"key", &filter, ListOrder::Oldest), None);
            prop_assert_eq!(Cursor::open(&sealed, b"another key", &filter, order), None);
            prop_assert_eq!(Cursor::open(&junk, b"key", &filter, order), None);
            let mut changed = sealed.into_bytes();
            let at = at % changed.len();
            changed[at] = if changed[at] == b'A' { b'Q' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(Cursor::open(&changed, b"key", &filter, order), None);
        }
    }
}
