//! An item of the table, and the phone number and time that pairing uses.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{
    item_id::{self, ItemKind},
    observations::{Observations, Timestamped, merge},
};
use crate::{
    ids::{DispatchId, digits},
    time::{to_millis, utc_day},
};

/// The digits of a phone number and a Unix time, the values that pairing compares.
pub(super) type Anchor = (String, i64);

/// Items by id.
pub(super) type Items = BTreeMap<String, CallItem>;

/// The item with this id, inserted if it does not exist.
pub(super) fn entry<'a>(items: &'a mut Items, id: &str) -> &'a mut CallItem {
    items.entry(id.to_owned()).or_insert_with(|| CallItem::new(id))
}

/// An item of the table: the reported values of one thing. An item without an owner is also a row of the list, together with its members.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CallItem {
    pub(super) id: String,
    /// Revision, which increases with each write; 0 for an item that is not in the table yet.
    pub(super) rev: i64,
    pub(super) state: ItemState,
}

/// The state of a [`CallItem`] from which its row is derived, stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ItemState {
    pub(super) own: Observations,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    /// Copies of the items that this item owns, so that a row can be derived from one item.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) members: BTreeMap<String, Observations>,
}

/// The position of a row in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListPosition {
    pub(super) list: ListKind,
    /// The start time, or else the time of the first report, followed by the id. It begins with the UTC day.
    pub(super) order: String,
}

/// The two lists of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListKind {
    /// Calls that can be played.
    Playable,
    /// Calls without a recording.
    Missing,
}

impl ListKind {
    /// The partition key of the list in the index of all calls.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Playable => "playable",
            Self::Missing => "missing",
        }
    }

    /// The partition key of the calls of a number or an interaction in their index.
    pub(super) fn partition(self, of: &str) -> String {
        match self {
            Self::Playable => of.to_owned(),
            Self::Missing => format!("missing#{of}"),
        }
    }
}

impl ListPosition {
    /// The UTC day.
    pub(super) fn day(&self) -> Option<Date> {
        self.order.get(..10)?.parse().ok()
    }
}

pub(super) fn order(start: Timestamp, id: &str) -> String {
    format!("{}#{id}", to_millis(start))
}

/// Whether a list can contain this time: the year has four digits, with room for a search window around it.
pub(super) fn is_listable(time: Timestamp) -> bool {
    (1..=9998).contains(&utc_day(time).year())
}

impl CallItem {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            rev: 0,
            state: ItemState::default(),
        }
    }

    pub(super) fn kind(&self) -> ItemKind {
        ItemKind::of(&self.id)
    }

    /// The item that a report declared as the owner.
    pub(super) fn declared_owner(&self) -> Option<&str> {
        self.state.own.declared_owner.as_ref()?.value.as_str()
    }

    /// See [`item_id::name`].
    pub(super) fn name(&self) -> &str {
        item_id::name(&self.id)
    }

    /// The reported values of the item itself and of its members, with their ids.
    pub(super) fn observations(&self) -> impl Iterator<Item = (&str, &Observations)> {
        let members = self
            .state
            .members
            .iter()
            .map(|(id, observations)| (id.as_str(), observations));
        std::iter::once((self.id.as_str(), &self.state.own)).chain(members)
    }

    pub(super) fn fields(&self) -> BTreeMap<String, Timestamped> {
        let mut fields = BTreeMap::new();
        for (_, observations) in self.observations() {
            for (name, reported) in &observations.fields {
                merge(&mut fields, name, reported);
            }
        }
        fields
    }

    /// The phone number and Unix time by which the item is paired with others.
    pub(super) fn near(&self) -> Option<Anchor> {
        match self.kind() {
            // The dispatch that owns it is paired in its place.
            ItemKind::Interaction if self.state.own.declared_owner.is_some() => None,
            ItemKind::Dispatch | ItemKind::Interaction => {
                if let Some(pattern) = DispatchId::parse(&self.id).and_then(|id| id.pattern()) {
                    return Some((pattern.phone, pattern.unix));
                }
                let fields = self.fields();
                let text = |name: &str| fields.get(name)?.value.as_str();
                let start: Timestamp = text("start_time")?.parse().ok()?;
                Some((digits(text("phone")?), start.as_second())).filter(|(phone, _)| !phone.is_empty())
            }
            ItemKind::Object | ItemKind::Egress => {
                let (phone, unix) = self.state.own.recorded_at(self.name());
                phone.zip(unix)
            }
            ItemKind::Twilio => {
                let call = self.state.own.twilio.as_ref()?;
                let start = call
                    .recordings
                    .values()
                    .filter_map(|recording| recording.start_time)
                    .min()?;
                let phone = call.phone.clone().filter(|phone| !phone.is_empty());
                Some((phone?, start.as_second()))
            }
        }
    }

    /// Whether this is a deleted file that belongs to no call.
    pub(super) fn is_gone(&self) -> bool {
        let own = &self.state.own;
        own.failure.is_none()
            && own.object.as_ref().is_some_and(|object| !object.usable)
            && self.state.members.is_empty()
    }
}
