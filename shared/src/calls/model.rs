//! A call as the index knows it.

use jiff::Timestamp;

use super::{item_id::ItemKind, observations::TwilioRecording};

/// What is known of one call. Fields that nobody has reported are `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// The dispatch id. Of a recording whose dispatch nobody has reported it is made from the file's name, which leads to the same file; empty
    /// where there is not even that.
    pub dispatch_id: String,
    /// Key of the recording in the bucket.
    pub s3_key: Option<String>,
    /// Size of the recording in bytes; not in lists.
    pub size: Option<i64>,
    /// ETag of the recording, without quotes; not in lists.
    pub etag: Option<String>,
    /// Id of the interaction.
    pub interaction_id: Option<String>,
    /// Name of the customer called.
    pub customer_name: Option<String>,
    /// Number called, with `+`.
    pub phone: Option<String>,
    /// State of the interaction, for example `COMPLETED`.
    pub status: Option<String>,
    /// Result of the call, for example `PAYMENT_PROMISED`.
    pub outcome: Option<String>,
    /// Length in seconds.
    pub duration: Option<i64>,
    /// When the call began.
    pub start_time: Option<Timestamp>,
    /// When the call ended.
    pub end_time: Option<Timestamp>,
    /// Twilio's SID of the call.
    pub call_sid: Option<String>,
    /// Twilio's recordings of the call, in order of their beginning.
    pub twilio: Vec<TwilioRecording>,
    /// Why there is no recording, where that is known.
    pub recording_error: Option<String>,
    /// Whether a transcript is stored.
    pub has_transcript: bool,
    /// Id of its item in the table; empty for a call that was not read from there.
    pub item: String,
}

impl Call {
    /// Whether a dispatch or an interaction was reported; otherwise there is only a recording.
    pub fn is_reported(&self) -> bool {
        matches!(ItemKind::of(&self.item), ItemKind::Dispatch | ItemKind::Interaction)
    }

    /// Whether a dispatch was reported.
    pub fn has_dispatch(&self) -> bool {
        ItemKind::of(&self.item) == ItemKind::Dispatch
    }

    /// Why there is no recording, as far as that is known.
    pub fn missing_reason(&self) -> &str {
        self.recording_error
            .as_deref()
            .unwrap_or("Nothing is known of a recording.")
    }

    /// Whether there is a recording to play.
    pub fn is_playable(&self) -> bool {
        self.s3_key.is_some() || self.twilio.iter().any(TwilioRecording::is_completed)
    }
}
