//! The bodies of the responses.

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    calls::Hold,
    erasure::{Counts, Erasure, ErasureId, Preview, Receipt, Step},
    time::millis,
};

/// An erasure.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Erasure))]
pub(crate) struct ErasureBody {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    erasure_id: ErasureId,
    /// `pending` or `done`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^(pending|done)$"))]
    status: &'static str,
    /// Path of this erasure below the base URL.
    #[cfg_attr(feature = "openapi", schema(format = "uri-reference"))]
    pub(crate) status_url: String,
    #[serde(with = "millis")]
    requested_at: Timestamp,
    /// The id of the API key that requested it; `null` if the time of the calls had passed.
    requested_by: Option<String>,
    /// When everything was erased.
    #[serde(with = "millis::option")]
    completed_at: Option<Timestamp>,
    /// Calls that were erased so far.
    calls: u64,
    /// Calls that a hold keeps, or of which something is left.
    calls_left: u64,
    /// How far each kind of things is.
    steps: Vec<Step>,
    /// The signed receipt, when the erasure is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    receipt: Option<Receipt>,
}

impl ErasureBody {
    pub(crate) fn of(erasure: Erasure) -> Self {
        Self {
            status: if erasure.is_done() { "done" } else { "pending" },
            status_url: format!("/erasures/{}", erasure.id),
            requested_at: erasure.requested_at,
            completed_at: erasure.completed_at,
            calls: erasure.calls,
            calls_left: erasure.calls_left(),
            steps: erasure.steps(),
            erasure_id: erasure.id,
            requested_by: erasure.requested_by,
            receipt: erasure.receipt,
        }
    }
}

/// What an erasure would erase.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ErasurePreview))]
pub(crate) struct PreviewBody {
    /// `true`: nothing was erased.
    dry_run: bool,
    /// How many things would be erased, by kind. Shares are not counted.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, u64>))]
    erases: Counts,
    /// The ids of the calls, at most 500.
    calls: Vec<String>,
    /// The holds that keep calls.
    held: Vec<Hold>,
    /// Whether there are more than 500 calls. All would be erased.
    is_partial: bool,
}

impl PreviewBody {
    pub(crate) fn of(preview: Preview) -> Self {
        Self {
            dry_run: true,
            erases: preview.counts,
            calls: preview.calls,
            held: preview.holds,
            is_partial: preview.is_partial,
        }
    }
}
