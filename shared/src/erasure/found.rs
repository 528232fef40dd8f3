//! Finds the calls that an erasure names.

use jiff::Timestamp;

use super::error::ErasureError;
use crate::calls::{Call, Calls, ListError, ListFilter, ListOrder, ListStart};

/// Calls on a page, after which the progress is stored.
pub(super) const PAGE: usize = 100;

pub(super) fn item_ids(calls: Vec<Call>) -> Vec<String> {
    calls.into_iter().map(|call| call.item).collect()
}

pub(super) fn list_error(error: ListError) -> ErasureError {
    match error {
        ListError::Calls(error) => error.into(),
        ListError::OffsetTooDeep => ErasureError::Invalid(error.to_string()),
    }
}

/// The items of the calls of an interaction.
pub(super) async fn items_of_interaction(calls: &Calls, id: &str) -> Result<Vec<String>, ErasureError> {
    let mut items = vec![Calls::item_of_interaction(id)];
    for missing in [false, true] {
        let filter = ListFilter {
            missing,
            interaction_id: Some(id.to_owned()),
            ..ListFilter::default()
        };
        items.extend(listed(calls, &filter).await?);
    }
    Ok(items)
}

/// The items of the calls of a phone number, some of them twice: those that are listed under it, and those that are known by it in another way.
pub(super) async fn items_of_number(
    calls: &Calls,
    digits: &str,
    before: Option<Timestamp>,
) -> Result<Vec<String>, ErasureError> {
    let mut items = Vec::new();
    for missing in [false, true] {
        let filter = ListFilter {
            missing,
            phone: Some(digits.to_owned()),
            started_before: before,
            ..ListFilter::default()
        };
        items.extend(listed(calls, &filter).await?);
    }
    items.extend(calls.items_of_number(digits, before).await?);
    Ok(items)
}

async fn listed(calls: &Calls, filter: &ListFilter) -> Result<Vec<String>, ErasureError> {
    let (mut items, mut start) = (Vec::new(), ListStart::Offset(0));
    loop {
        let page = calls
            .list(filter, ListOrder::Oldest, start, PAGE)
            .await
            .map_err(list_error)?;
        items.extend(item_ids(page.calls));
        match page.next {
            Some(next) => start = ListStart::After(next),
            None => return Ok(items),
        }
    }
}
