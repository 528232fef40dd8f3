//! Shares and their openings.

use jiff::{SignedDuration, Timestamp};

use super::{passcode::PasscodeHash, token::ShareId};
use crate::{clients::bucket::RecordingRef, ids::DispatchId};

/// How many days a share and its openings are kept after its end.
pub const KEPT_DAYS: i64 = 90;

/// A share of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Its id.
    pub id: ShareId,
    /// The call.
    pub dispatch_id: DispatchId,
    /// The recording as it was when it was shared.
    pub recording: RecordingRef,
    /// When it was created.
    pub created_at: Timestamp,
    /// The id of the API key that created it.
    pub created_by: Option<String>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where the shared stretch begins, in seconds.
    pub from: Option<f64>,
    /// Where the shared stretch ends, in seconds.
    pub to: Option<f64>,
    /// Whether the page shows the transcript.
    pub with_transcript: bool,
    /// The passcode that the page asks for.
    pub passcode: Option<PasscodeHash>,
    /// A note for those who list the shares.
    pub note: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How often its page was opened.
    pub opened_count: u64,
    /// When its page was last opened.
    pub last_opened_at: Option<Timestamp>,
}

impl Share {
    /// Whether the share can be opened at this time.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// When the share's items are deleted, in Unix seconds.
    pub(super) fn deleted_at(&self) -> i64 {
        (self.expires_at + SignedDuration::from_hours(KEPT_DAYS * 24)).as_second()
    }
}

/// Who opened a share's page, as far as a request shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The IP address.
    pub address: Option<String>,
    /// The browser, from the `User-Agent` header.
    pub user_agent: Option<String>,
}

/// One opening of a share's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub visitor: Visitor,
}
