//! Rebuilds the derived attributes of the items in place, for a table that an older version wrote.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use futures_util::{StreamExt, stream};

use super::{
    encoding::{attributes, item_from},
    error::CallsError,
    store::is_conflict,
    table::Calls,
};
use crate::clients::dynamodb::{self, get_text, number, pause, text};

/// The id prefix of version 0.1's counters, which are no longer used.
const COUNTERS: &str = "counts#";
/// Attempts per item when other writers keep changing it.
const TRIES: u32 = 10;
/// The number of items that are rebuilt concurrently.
const CONCURRENCY: usize = 16;

/// The result of rebuilding one page of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReindexPage {
    /// Items that were read.
    pub read: u64,
    /// Items whose attributes were rebuilt.
    pub rebuilt: u64,
    /// Counters of version 0.1 that were deleted.
    pub deleted: u64,
    /// The id after which the next page begins; `None` after the last page.
    pub next: Option<String>,
}

enum Rebuilt {
    Unchanged,
    Written,
    Deleted,
}

impl Calls {
    /// Rebuilds a page of up to 1 MB of the table. Items that are up to date are not written; an item that another writer changes meanwhile is
    /// read again.
    pub async fn reindex_page(&self, after: Option<&str>) -> Result<ReindexPage, CallsError> {
        let mut scan = self.client.scan().table_name(&self.table).consistent_read(true);
        if let Some(id) = after {
            scan = scan.exclusive_start_key("id", text(id));
        }
        let answer = scan.send().await?;
        let items = answer.items.unwrap_or_default();
        let mut page = ReindexPage {
            read: items.len() as u64,
            next: answer.last_evaluated_key.and_then(|key| get_text(&key, "id")),
            ..ReindexPage::default()
        };
        let mut done = stream::iter(items)
            .map(|item| self.rebuild(item))
            .buffer_unordered(CONCURRENCY);
        while let Some(rebuilt) = done.next().await {
            match rebuilt? {
                Rebuilt::Unchanged => {}
                Rebuilt::Written => page.rebuilt += 1,
                Rebuilt::Deleted => page.deleted += 1,
            }
        }
        Ok(page)
    }

    /// Stores which call its recordings belong to, as this version does before it indexes one.
    async fn index_recordings(&self, call_sid: &str, stored: &dynamodb::Item) -> Result<(), CallsError> {
        let twilio = item_from(stored)?.state.own.twilio;
        for sid in twilio.iter().flat_map(|call| call.recordings.keys()) {
            self.lifecycle.put_call_of(sid, call_sid).await?;
        }
        Ok(())
    }

    async fn rebuild(&self, mut stored: dynamodb::Item) -> Result<Rebuilt, CallsError> {
        let id = get_text(&stored, "id").unwrap_or_default();
        if id.starts_with(COUNTERS) {
            let delete = self.client.delete_item().table_name(&self.table);
            delete.key("id", text(&id)).send().await?;
            return Ok(Rebuilt::Deleted);
        }
        if let Some(call_sid) = id.strip_prefix("twilio#") {
            self.index_recordings(call_sid, &stored).await?;
        }
        for tries in 1..=TRIES {
            if !stored.contains_key("facts") {
                return Ok(Rebuilt::Unchanged);
            }
            let item = item_from(&stored)?;
            let mut rebuilt = attributes(&item)?;
            let rev = rebuilt.insert("rev".into(), number(item.rev));
            if rebuilt == stored {
                return Ok(Rebuilt::Unchanged);
            }
            rebuilt.extend(rev.map(|rev| ("rev".to_owned(), rev)));
            let put = self.client.put_item().table_name(&self.table);
            let sent = put
                .set_item(Some(rebuilt))
                .condition_expression("rev = :rev")
                .expression_attribute_values(":rev", number(item.rev))
                .send()
                .await;
            match sent {
                Ok(_) => return Ok(Rebuilt::Written),
                Err(error) if is_conflict(&error, PutItemError::is_conditional_check_failed_exception) => {}
                Err(error) => return Err(error.into()),
            }
            pause(tries).await;
            let get = self.client.get_item().table_name(&self.table).consistent_read(true);
            stored = get.key("id", text(&id)).send().await?.item.unwrap_or_default();
        }
        Err(CallsError::busy())
    }
}
