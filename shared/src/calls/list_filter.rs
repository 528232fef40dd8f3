//! Which calls a list shows, and in which order.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{item::ListKind, model::Call};
use crate::{
    clients::dynamodb::{number, text},
    ids::digits,
    time::to_millis,
};

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
    pub(super) fn list_kind(&self) -> ListKind {
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
    pub(super) fn drops_rows(&self) -> bool {
        self.has_two_keys() || !self.conditions().is_empty()
    }

    /// Whether it names two partitions, of which one is read.
    pub(super) fn has_two_keys(&self) -> bool {
        self.phone.is_some() && self.interaction_id.is_some()
    }

    /// What DynamoDB compares: attribute, operator, value.
    pub(super) fn conditions(&self) -> Vec<(&'static str, &'static str, AttributeValue)> {
        let texts = [("status", &self.status), ("outcome", &self.outcome)].into_iter();
        let texts = texts.filter_map(|(name, value)| Some((name, "=", text(value.as_deref()?))));
        let duration = self.min_duration.map(|least| ("duration", ">=", number(least)));
        let transcript = self.has_transcript.map(AttributeValue::Bool);
        let transcript = transcript.map(|wanted| ("has_transcript", "=", wanted));
        texts.chain(duration).chain(transcript).collect()
    }

    /// The index, its partition key and the partition that the list is read from.
    pub(super) fn partition(&self) -> (&'static str, &'static str, String) {
        let list = self.list_kind();
        match (&self.interaction_id, &self.phone) {
            (Some(id), _) => ("by-interaction", "list_interaction", list.partition(id)),
            (None, Some(phone)) => ("by-phone", "list_phone", list.partition(&digits(phone))),
            (None, None) => ("by-time", "list_kind", list.name().to_owned()),
        }
    }

    /// Whether a call passes, apart from what the partition and the bounds of the query decide: its recording and its time.
    pub(super) fn passes(&self, call: &Call) -> bool {
        let is = |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
        let phone = |phone: &str| digits(phone);
        is(&self.status, &call.status)
            && is(&self.outcome, &call.outcome)
            && is(&self.interaction_id, &call.interaction_id)
            && is(&self.phone.as_deref().map(phone), &call.phone.as_deref().map(phone))
            && self.min_duration.is_none_or(|least| call.duration >= Some(least))
            && self.has_transcript.is_none_or(|wanted| wanted == call.has_transcript)
    }

    /// The rows that its times leave, as bounds of [`ListPosition::order`](super::item::ListPosition), both included.
    pub(super) fn bounds(&self) -> (String, String) {
        // Rows are listed to the millisecond.
        let up = |time: Timestamp| to_millis(time + SignedDuration::from_nanos(999_999));
        // Every row begins with a digit, and goes on after its time.
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
