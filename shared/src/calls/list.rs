//! Reads a page of a list with queries of one partition, however many days the page covers.

use aws_sdk_dynamodb::{operation::query::builders::QueryFluentBuilder, types::Select};

use super::{
    cursor::Cursor,
    encoding::call_from,
    error::CallsError,
    list_filter::{ListFilter, ListOrder},
    model::Call,
    table::Calls,
};
use crate::clients::dynamodb::{get_text, text};

/// The largest supported offset.
pub const MAX_OFFSET: u64 = 100_000;
/// The maximum number of rows that one query reads; DynamoDB also ends a query at 1 MB.
const QUERY_ROWS: usize = 4000;
/// After this many rows (about 2 MB), a page of a filtered list ends even if it is not full.
const MAX_READ_ROWS: u64 = 5000;

/// Where a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListStart {
    /// After this many rows.
    Offset(u64),
    /// After the row that the cursor names.
    After(Cursor),
}

/// One page of a list.
#[derive(Debug)]
pub struct CallPage {
    /// The calls.
    pub calls: Vec<Call>,
    /// Where the next page begins; `None` on the last page. A page of a filtered list can have fewer calls than requested, or none, without
    /// being the last: reading stops after a fixed number of rows, so that one request stays bounded.
    pub next: Option<Cursor>,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A request to the table failed.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// More than [`MAX_OFFSET`] rows would have to be skipped.
    #[error("the offset leads too far into the list")]
    OffsetTooDeep,
}

impl Calls {
    /// Reads one page of a list.
    pub async fn list(
        &self,
        filter: &ListFilter,
        order: ListOrder,
        start: ListStart,
        limit: usize,
    ) -> Result<CallPage, ListError> {
        let (first, last) = filter.bounds();
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
            ListStart::Offset(offset) if offset > MAX_OFFSET => return Err(ListError::OffsetTooDeep),
            ListStart::Offset(offset) => filling.skip = offset,
            ListStart::After(Cursor(row)) => filling.continue_after(row),
        }
        if !self.skip(&mut filling).await? {
            return Ok(filling.page());
        }
        let mut chunk = 100;
        loop {
            let mut wanted = filling.wanted();
            if filter.drops_rows() {
                wanted = wanted.max(chunk).min(QUERY_ROWS);
                chunk = (2 * chunk).min(QUERY_ROWS);
            }
            // One more than wanted, because the row that the cursor names is read again.
            let Some(query) = self.query(&filling, wanted + 1) else {
                return Ok(filling.page());
            };
            let answer = query.send().await.map_err(CallsError::from)?;
            filling.read += u64::try_from(answer.scanned_count).unwrap_or_default();
            let rows = answer.items.unwrap_or_default().into_iter();
            let rows = rows.filter_map(|item| Some((get_text(&item, "list_order")?, call_from(item))));
            if filling.add(rows) {
                return Ok(filling.page());
            }
            let last = answer.last_evaluated_key;
            let Some(last) = last.and_then(|key| get_text(&key, "list_order")) else {
                return Ok(filling.page());
            };
            filling.continue_after(last);
            filling.check_depth()?;
            if filling.skip == 0 && filter.drops_rows() && filling.read >= MAX_READ_ROWS {
                return Ok(filling.page_so_far());
            }
        }
    }

    /// Skips the rows of an offset with count queries, which return no attributes. Returns whether there may be more rows.
    async fn skip(&self, filling: &mut Filling<'_>) -> Result<bool, ListError> {
        let filter = filling.filter;
        // With a filter, a count query that is limited to a few rows would skip almost none of the selected ones.
        let minimum = match filter.drops_rows() {
            true => 1000,
            false => 1,
        };
        let mut after = None;
        while filling.skip >= minimum && !filter.has_two_keys() {
            let rows = usize::try_from(filling.skip).unwrap_or(usize::MAX);
            let Some(query) = self.query(filling, rows) else {
                return Ok(false);
            };
            let query = query.select(Select::Count).set_exclusive_start_key(after);
            let counted = query.send().await.map_err(CallsError::from)?;
            let count = |rows: i32| u64::try_from(rows).unwrap_or_default();
            filling.skip = filling.skip.saturating_sub(count(counted.count));
            filling.read += count(counted.scanned_count);
            after = counted.last_evaluated_key;
            if after.is_none() {
                return Ok(false);
            }
            filling.check_depth()?;
        }
        if let Some(row) = after.and_then(|key| get_text(&key, "list_order")) {
            filling.continue_after(row);
        }
        Ok(true)
    }

    /// A query for the unread part of the list that reads at most `rows` rows. `None` if the list is read completely.
    fn query(&self, filling: &Filling<'_>, rows: usize) -> Option<QueryFluentBuilder> {
        if filling.first > filling.last {
            return None;
        }
        let (index, key, partition) = filling.filter.partition();
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression(format!("{key} = :partition AND list_order BETWEEN :first AND :last"))
            .expression_attribute_values(":partition", text(&partition))
            .expression_attribute_values(":first", text(&filling.first))
            .expression_attribute_values(":last", text(&filling.last))
            .scan_index_forward(filling.order == ListOrder::Oldest)
            .limit(i32::try_from(rows).unwrap_or(i32::MAX));
        let conditions = filling.filter.conditions();
        if !conditions.is_empty() {
            let compared = conditions
                .iter()
                .map(|(name, operator, _)| format!("#{name} {operator} :{name}"));
            query = query.filter_expression(compared.collect::<Vec<_>>().join(" AND "));
        }
        for (name, _, value) in conditions {
            query = query
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        Some(query)
    }
}

/// The state of reading one page.
struct Filling<'a> {
    filter: &'a ListFilter,
    order: ListOrder,
    limit: usize,
    /// The unread rows are between `first` and `last`, both included.
    first: String,
    last: String,
    /// How many selected rows still have to be skipped before the page.
    skip: u64,
    /// How many rows were read.
    read: u64,
    /// The last row that was read.
    after: Option<String>,
    /// The rows of the page, up to one more than `limit`, which shows that there is a next page.
    rows: Vec<(String, Call)>,
}

impl Filling<'_> {
    fn wanted(&self) -> usize {
        let skip = usize::try_from(self.skip).unwrap_or(QUERY_ROWS);
        skip.saturating_add(self.limit + 1 - self.rows.len()).min(QUERY_ROWS)
    }

    fn check_depth(&self) -> Result<(), ListError> {
        match self.skip > 0 && self.read > MAX_OFFSET {
            true => Err(ListError::OffsetTooDeep),
            false => Ok(()),
        }
    }

    fn continue_after(&mut self, row: String) {
        match self.order {
            ListOrder::Newest => self.last = row.clone().min(std::mem::take(&mut self.last)),
            ListOrder::Oldest => self.first = row.clone().max(std::mem::take(&mut self.first)),
        }
        self.after = Some(row);
    }

    /// Adds the selected rows to the page. Returns whether the page is full.
    fn add(&mut self, rows: impl Iterator<Item = (String, Call)>) -> bool {
        for (row, call) in rows {
            if self.after.as_ref() == Some(&row) || !self.filter.passes(&call) {
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

    /// The page with the rows found so far, when reading stops early.
    fn page_so_far(self) -> CallPage {
        CallPage {
            calls: self.rows.into_iter().map(|(_, call)| call).collect(),
            next: self.after.map(Cursor),
        }
    }
}
