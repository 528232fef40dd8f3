//! Ids of the table's items.

/// The kind of an item, which its id encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    Dispatch,
    Interaction,
    Object,
    /// A LiveKit recording that failed without a file.
    Egress,
    Twilio,
}

impl ItemKind {
    pub(super) fn of(id: &str) -> Self {
        match id.split_once('#') {
            None => Self::Dispatch,
            Some(("interaction", _)) => Self::Interaction,
            Some(("object", _)) => Self::Object,
            Some(("egress", _)) => Self::Egress,
            Some(_) => Self::Twilio,
        }
    }
}

/// The part of an item's id after the `#`: the id that the thing has outside this table.
pub(super) fn name(id: &str) -> &str {
    id.split_once('#').map_or(id, |(_, name)| name)
}

pub(super) fn object(key: &str) -> String {
    format!("object#{key}")
}

pub(super) fn interaction(id: &str) -> String {
    format!("interaction#{id}")
}

pub(super) fn egress(id: &str) -> String {
    format!("egress#{id}")
}

/// The id of the tombstone of a Twilio recording. The table has no item with it: recordings are in the items of their calls.
pub(super) fn recording(sid: &str) -> String {
    format!("recording#{sid}")
}

pub(super) fn twilio(call_sid: &str) -> String {
    format!("twilio#{call_sid}")
}
