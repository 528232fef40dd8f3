//! The filter and the order of a list.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{item::ListKind, model::Call};
use crate::{
    clients::dynamodb::{number, text},
    ids::digits,
    time::to_millis,
};

/// Selects the calls of a list. The default is all calls that can be played.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListFilter {
    /// Selects calls without a recording instead of calls that can be played.
    pub missing: bool,
    /// Only calls with exactly this status.
    pub status: Option<String>,
    /// Only calls with exactly this outcome.
    pub outcome: Option<String>,
    /// Only calls with this number; only its digits are compared.
    pub phone: Option<String>,
    /// Only calls of this interaction.
    pub interaction_id: Option<String>,
    /// Only calls that started at this time or later. For a call without a start time, the time of its first report is used.
    pub started_after: Option<Timestamp>,
    /// Only calls that started before this time.
    pub started_before: Option<Timestamp>,
    /// Only calls of at least this length in seconds. Calls of unknown length are excluded.
    pub min_duration: Option<i64>,
    /// Only calls with (`true`) or without (`false`) a stored transcript.
    pub has_transcript: Option<bool>,
}

impl ListFilter {
    pub(super) fn list_kind(&self) -> ListKind {
        match self.missing {
            true => ListKind::Missing,
            false => ListKind::Playable,
        }
    }

    /// Whether the filter selects a whole list, for which the ledger has a total.
    pub fn is_whole(&self) -> bool {
        let whole = Self {
            missing: self.missing,
            ..Self::default()
        };
        *self == whole
    }

    /// Whether queries for this filter can return rows that it does not select.
    pub(super) fn drops_rows(&self) -> bool {
        self.has_two_keys() || !self.conditions().is_empty()
    }

    /// Whether the filter names a phone number and an interaction. Only the interaction's partition is read then.
    pub(super) fn has_two_keys(&self) -> bool {
        self.phone.is_some() && self.interaction_id.is_some()
    }

    /// The conditions of the filter expression: attribute, operator, value.
    pub(super) fn conditions(&self) -> Vec<(&'static str, &'static str, AttributeValue)> {
        let texts = [("status", &self.status), ("outcome", &self.outcome)].into_iter();
        let texts = texts.filter_map(|(name, value)| Some((name, "=", text(value.as_deref()?))));
        let duration = self.min_duration.map(|minimum| ("duration", ">=", number(minimum)));
        let transcript = self.has_transcript.map(AttributeValue::Bool);
        let transcript = transcript.map(|wanted| ("has_transcript", "=", wanted));
        texts.chain(duration).chain(transcript).collect()
    }

    /// The index that the list is read from, the name of its partition key, and the partition.
    pub(super) fn partition(&self) -> (&'static str, &'static str, String) {
        let list = self.list_kind();
        match (&self.interaction_id, &self.phone) {
            (Some(id), _) => ("by-interaction", "list_interaction", list.partition(id)),
            (None, Some(phone)) => {
                let digits = digits(phone);
                // A key can't be empty, and no call has this one.
                let number = if digits.is_empty() { "no number" } else { &digits };
                ("by-phone", "list_phone", list.partition(number))
            }
            (None, None) => ("by-time", "list_kind", list.name().to_owned()),
        }
    }

    /// Whether the filter selects a call. The recording and the time are not checked, because the query's partition and bounds decide them.
    pub(super) fn passes(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
        let phone = |phone: &str| digits(phone);
        is(&self.status, &call.status)
            && is(&self.outcome, &call.outcome)
            && is(&self.interaction_id, &call.interaction_id)
            && is(&self.phone.as_deref().map(phone), &call.phone.as_deref().map(phone))
            && self.min_duration.is_none_or(|minimum| call.duration >= Some(minimum))
            && self.has_transcript.is_none_or(|wanted| wanted == call.has_transcript)
    }

    /// The inclusive bounds of [`ListPosition::order`](super::item::ListPosition) for the filter's times.
    pub(super) fn bounds(&self) -> (String, String) {
        // Sort keys have milliseconds.
        let up = |time: Timestamp| to_millis(time + SignedDuration::from_nanos(999_999));
        // Every sort key begins with a digit and continues with the id after the time.
        let first = self.started_after.map_or_else(|| "0".to_owned(), up);
        let last = self.started_before.map_or_else(|| "~".to_owned(), up);
        (first, last)
    }
}

/// The order of a list, by start time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}
