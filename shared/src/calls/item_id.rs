//! Ids of the table's items: what each is about.

/// What an item of the table is about, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    Dispatch,
    Interaction,
    Object,
    /// A recording by LiveKit that failed without a file.
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

/// The part of an item's id that names the thing outside this table.
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

pub(super) fn twilio(call_sid: &str) -> String {
    format!("twilio#{call_sid}")
}
