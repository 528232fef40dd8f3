//! What can be done, as stable words.

use serde::Serialize;

/// What a request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Listed calls, with the URLs of their recordings.
    List,
    /// Listed Twilio's recordings.
    ListTwilioRecordings,
    /// Read a call and got the URLs by which its recording is played and downloaded.
    GetUrls,
    /// Was redirected to a recording, which is how a player plays it.
    Play,
    /// Was redirected to a recording for saving it as a file.
    Download,
    /// Read a transcript.
    ReadTranscript,
    /// Had a transcript made.
    MakeTranscript,
    /// Got the waveform of a recording.
    DrawWaveform,
    /// Created a link by which people without a key play a recording.
    Share,
    /// Listed the shares of a call, or read who opened one.
    ReadShares,
    /// Ended a share.
    RevokeShare,
    /// Opened the page of a share.
    OpenShare,
    /// Reported a call.
    ReportInteraction,
    /// Set a legal hold.
    Hold,
    /// Lifted a legal hold.
    LiftHold,
    /// Set how long a call is kept.
    Retain,
    /// Requested the copy of a Twilio recording in the bucket.
    Archive,
    /// Asked what an erasure would erase.
    PreviewErasure,
    /// Requested an erasure.
    Erase,
    /// Read how far an erasure is.
    ReadErasure,
    /// Read the completeness report, which names calls.
    ReadReport,
    /// Read the audit.
    ReadAudit,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 22] = [
        Self::List,
        Self::ListTwilioRecordings,
        Self::GetUrls,
        Self::Play,
        Self::Download,
        Self::ReadTranscript,
        Self::MakeTranscript,
        Self::DrawWaveform,
        Self::Share,
        Self::ReadShares,
        Self::RevokeShare,
        Self::OpenShare,
        Self::ReportInteraction,
        Self::Hold,
        Self::LiftHold,
        Self::Retain,
        Self::Archive,
        Self::PreviewErasure,
        Self::Erase,
        Self::ReadErasure,
        Self::ReadReport,
        Self::ReadAudit,
    ];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::ListTwilioRecordings => "list_twilio_recordings",
            Self::GetUrls => "get_urls",
            Self::Play => "play",
            Self::Download => "download",
            Self::ReadTranscript => "read_transcript",
            Self::MakeTranscript => "make_transcript",
            Self::DrawWaveform => "draw_waveform",
            Self::Share => "share",
            Self::ReadShares => "read_shares",
            Self::RevokeShare => "revoke_share",
            Self::OpenShare => "open_share",
            Self::ReportInteraction => "report_interaction",
            Self::Hold => "hold",
            Self::LiftHold => "lift_hold",
            Self::Retain => "retain",
            Self::Archive => "archive",
            Self::PreviewErasure => "preview_erasure",
            Self::Erase => "erase",
            Self::ReadErasure => "read_erasure",
            Self::ReadReport => "read_report",
            Self::ReadAudit => "read_audit",
        }
    }

    /// The action of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == word)
    }
}
