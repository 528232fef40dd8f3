//! Which items are listed.

use jiff::Timestamp;
use serde::Serialize;

use super::action::Action;

/// A filter of the list. Items must match all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditFilter {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The first moment after the last one.
    pub to: Option<Timestamp>,
    /// The id of the API key.
    pub key_id: Option<String>,
    /// The action.
    pub action: Option<Action>,
    /// An id of the call, as the request has it.
    pub recording: Option<String>,
    /// The id of an interaction.
    pub interaction_id: Option<String>,
}
