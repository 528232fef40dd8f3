//! Rebuilding the attributes of the lists from what items hold, in place: for a table that an older version of the program has written.

use aws_sdk_dynamodb::operation::put_item::PutItemError;

use super::{
    encoding::{attributes, item_from},
    error::CallsError,
    store::is_conflict,
    table::Calls,
};
use crate::clients::dynamodb::{self, get_text, number, text};

/// Ids of the counters of version 0.1, which nothing reads any more.
const COUNTERS: &str = "counts#";
/// Tries of one item that others keep changing.
const TRIES: usize = 10;

/// What a page of the table came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReindexPage {
    /// Items that were read.
    pub read: u64,
    /// Items whose attributes were rebuilt.
    pub rebuilt: u64,
    /// Counters of version 0.1 that were deleted.
    pub deleted: u64,
    /// The id after which the next page begins; `None` at the end.
    pub next: Option<String>,
}

impl Calls {
    /// Rebuilds a page of up to 1 MB of the table, or of one of `segments` parts of it (part and number of parts). What is as it must be is not
    /// written; an item that somebody changes meanwhile is read again.
    pub async fn reindex_page(&self, after: Option<&str>, segment: (i32, i32)) -> Result<ReindexPage, CallsError> {
        let mut scan = self.client.scan().table_name(&self.table).consistent_read(true);
        if segment.1 > 1 {
            scan = scan.segment(segment.0).total_segments(segment.1);
        }
        if let Some(id) = after {
            scan = scan.exclusive_start_key("id", text(id));
        }
        let answer = scan.send().await?;
        let mut page = ReindexPage {
            next: answer.last_evaluated_key.as_ref().and_then(|key| get_text(key, "id")),
            ..ReindexPage::default()
        };
        for item in answer.items.unwrap_or_default() {
            page.read += 1;
            let id = get_text(&item, "id").unwrap_or_default();
            if id.starts_with(COUNTERS) {
                let delete = self.client.delete_item().table_name(&self.table);
                delete.key("id", text(&id)).send().await?;
                page.deleted += 1;
            } else if item.contains_key("facts") {
                page.rebuilt += u64::from(self.rebuild(item).await?);
            }
        }
        Ok(page)
    }

    /// Whether the item was written.
    async fn rebuild(&self, mut stored: dynamodb::Item) -> Result<bool, CallsError> {
        for _ in 0..TRIES {
            let item = item_from(&stored)?;
            let mut rebuilt = attributes(&item)?;
            rebuilt.insert("rev".into(), number(item.rev));
            if rebuilt == stored {
                return Ok(false);
            }
            rebuilt.insert("rev".into(), number(item.rev + 1));
            let put = self.client.put_item().table_name(&self.table);
            let sent = put
                .set_item(Some(rebuilt))
                .condition_expression("rev = :rev")
                .expression_attribute_values(":rev", number(item.rev))
                .send()
                .await;
            match sent {
                Ok(_) => return Ok(true),
                Err(error) if is_conflict(&error, PutItemError::is_conditional_check_failed_exception) => {}
                Err(error) => return Err(error.into()),
            }
            let get = self.client.get_item().table_name(&self.table).consistent_read(true);
            match get.key("id", text(&item.id)).send().await?.item {
                Some(item) => stored = item,
                None => return Ok(false),
            }
        }
        Err(CallsError::busy())
    }
}
