//! The responses about shares.

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    shares::{Opening, Share},
    time::millis,
};

/// Whether a share can be opened.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) enum ShareStatus {
    Active,
    Expired,
    Revoked,
}

/// A share. Its token can't be had again.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Share))]
pub(crate) struct ShareBody {
    id: String,
    dispatch_id: String,
    status: ShareStatus,
    #[serde(with = "millis")]
    created_at: Timestamp,
    /// The id of the API key that created it.
    created_by: Option<String>,
    #[serde(with = "millis")]
    expires_at: Timestamp,
    #[serde(with = "millis::option")]
    revoked_at: Option<Timestamp>,
    /// Where the shared stretch begins, in seconds.
    from: Option<f64>,
    /// Where the shared stretch ends, in seconds.
    to: Option<f64>,
    with_transcript: bool,
    has_passcode: bool,
    note: Option<String>,
    opened_count: u64,
    #[serde(with = "millis::option")]
    last_opened_at: Option<Timestamp>,
}

impl ShareBody {
    pub(crate) fn of(share: Share, now: Timestamp) -> Self {
        let status = match (share.revoked_at, share.is_active(now)) {
            (Some(_), _) => ShareStatus::Revoked,
            (None, true) => ShareStatus::Active,
            (None, false) => ShareStatus::Expired,
        };
        Self {
            id: share.id.to_string(),
            dispatch_id: share.dispatch_id.to_string(),
            status,
            created_at: share.created_at,
            created_by: share.created_by,
            expires_at: share.expires_at,
            revoked_at: share.revoked_at,
            from: share.from,
            to: share.to,
            with_transcript: share.with_transcript,
            has_passcode: share.passcode.is_some(),
            note: share.note,
            opened_count: share.opened_count,
            last_opened_at: share.last_opened_at,
        }
    }
}

/// A new share with its secret.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct CreatedShare {
    /// The page. It is not stored and can't be had again.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    pub(crate) url: String,
    /// The secret in the URL.
    pub(crate) token: String,
    #[serde(flatten)]
    pub(crate) share: ShareBody,
}

/// The shares of a call.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct ShareList {
    pub(crate) shares: Vec<ShareBody>,
}

/// One opening of a share's page.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct ShareOpening {
    #[serde(with = "millis")]
    at: Timestamp,
    /// The IP address.
    address: Option<String>,
    /// The browser.
    user_agent: Option<String>,
}

/// A share with its openings.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct ShareDetails {
    #[serde(flatten)]
    share: ShareBody,
    /// The newest 100 openings, newest first.
    openings: Vec<ShareOpening>,
}

impl ShareDetails {
    pub(crate) fn of(share: Share, openings: Vec<Opening>, now: Timestamp) -> Self {
        let opening = |opening: Opening| ShareOpening {
            at: opening.at,
            address: opening.visitor.address,
            user_agent: opening.visitor.user_agent,
        };
        Self {
            share: ShareBody::of(share, now),
            openings: openings.into_iter().map(opening).collect(),
        }
    }
}
