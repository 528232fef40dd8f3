//! The scopes of API keys.

use lambda_http::http::Method;

/// The scopes that a key's `scopes` can list; `*` stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `audit:read`: read the audit.
    AuditRead,
    /// `recordings:archive`: copy Twilio recordings into the bucket.
    RecordingsArchive,
    /// `recordings:erase`: erase calls.
    RecordingsErase,
    /// `recordings:hold`: set how long calls are kept.
    RecordingsHold,
    /// `recordings:read`: list and play egress recordings.
    RecordingsRead,
    /// `recordings:share`: create, list and revoke links for people without a key.
    RecordingsShare,
    /// `recordings:transcribe`: transcribe egress recordings, which costs money.
    RecordingsTranscribe,
    /// `recordings:write`: report interactions.
    RecordingsWrite,
    /// `twilio:read`: list Twilio recordings.
    TwilioRead,
    /// `twilio:transcribe`: transcribe Twilio recordings, which costs money.
    TwilioTranscribe,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 10] = [
        Self::AuditRead,
        Self::RecordingsArchive,
        Self::RecordingsErase,
        Self::RecordingsHold,
        Self::RecordingsRead,
        Self::RecordingsShare,
        Self::RecordingsTranscribe,
        Self::RecordingsWrite,
        Self::TwilioRead,
        Self::TwilioTranscribe,
    ];

    /// The scope's name in a key's `scopes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuditRead => "audit:read",
            Self::RecordingsArchive => "recordings:archive",
            Self::RecordingsErase => "recordings:erase",
            Self::RecordingsHold => "recordings:hold",
            Self::RecordingsRead => "recordings:read",
            Self::RecordingsShare => "recordings:share",
            Self::RecordingsTranscribe => "recordings:transcribe",
            Self::RecordingsWrite => "recordings:write",
            Self::TwilioRead => "twilio:read",
            Self::TwilioTranscribe => "twilio:transcribe",
        }
    }

    /// Whether a request with this method that needs this scope can cost money.
    pub(super) fn is_paid(self, method: &Method) -> bool {
        method == Method::POST && matches!(self, Self::RecordingsTranscribe | Self::TwilioTranscribe)
    }
}
