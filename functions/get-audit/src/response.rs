//! The response.

use jiff::Timestamp;
use serde::Serialize;
use shared::{audit::AuditItem, time::millis};

/// A page of the audit.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct AuditList {
    /// Newest first.
    pub(crate) items: Vec<ShownItem>,
    pub(crate) limit: usize,
    /// `null` if there is no further page.
    pub(crate) next_cursor: Option<String>,
}

/// What one request did.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AuditItem))]
pub(crate) struct ShownItem {
    #[serde(with = "millis")]
    at: Timestamp,
    /// What, as a stable word.
    action: String,
    /// `key`, `console` (a session of that key), `share` (somebody with the link) or `anyone` (`RECORDINGS_AUTH=open`).
    actor: String,
    /// The id of the API key.
    key_id: Option<String>,
    /// The call: its dispatch id, or Twilio's SID of the call or the recording. `null` if the request was not about one call, or the call was erased.
    recording: Option<String>,
    /// The SID of Twilio's recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    recording_sid: Option<String>,
    /// The interaction, if it was reported without a dispatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    interaction_id: Option<String>,
    /// Present, and `true`, if the call was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    erased: Option<bool>,
    /// The share.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    share_id: Option<String>,
    /// The erasure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    erasure_id: Option<String>,
    /// The names of the request's filters or fields, never their values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<String>,
    /// How many rows the response had.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    rows: Option<i64>,
    /// The id of the request, which its log line has, too.
    request_id: String,
    /// The client's IP address.
    address: Option<String>,
}

impl From<AuditItem> for ShownItem {
    fn from(item: AuditItem) -> Self {
        let interaction = |subject: &str| subject.strip_prefix("interaction#").map(str::to_owned);
        let interaction_id = item.subject.as_deref().and_then(interaction);
        Self {
            at: item.at,
            action: item.action,
            actor: item.actor,
            key_id: item.key_id,
            recording: item.subject.filter(|_| interaction_id.is_none()),
            recording_sid: item.recording_sid,
            interaction_id,
            erased: item.is_erased.then_some(true),
            share_id: item.share_id,
            erasure_id: item.erasure_id,
            parameters: item.parameters,
            rows: item.rows,
            request_id: item.request_id,
            address: item.address,
        }
    }
}
