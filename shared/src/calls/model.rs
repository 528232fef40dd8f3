//! A call in the index.

use jiff::Timestamp;

use super::{
    item_id::ItemKind,
    observations::{Hold, TwilioRecording},
};

/// The known fields of one call. A field that was never reported is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// The dispatch id. For a recording without a reported dispatch, the id is derived from the file's name and resolves to the same file. It is
    /// empty if the name contains no phone number and time.
    pub dispatch_id: String,
    /// Key of the recording in the bucket.
    pub s3_key: Option<String>,
    /// The number and time of the recording, as a dispatch id. The recording keeps it when it is paired with another dispatch. The list indexes do not
    /// contain it.
    pub recording_id: Option<String>,
    /// Size of the recording in bytes. The list indexes do not contain it.
    pub size: Option<i64>,
    /// ETag of the recording, without quotes. The list indexes do not contain it.
    pub etag: Option<String>,
    /// Id of the interaction.
    pub interaction_id: Option<String>,
    /// Name of the customer.
    pub customer_name: Option<String>,
    /// The customer's phone number, with `+`.
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
    /// Twilio's recordings of the call, ordered by start time.
    pub twilio: Vec<TwilioRecording>,
    /// Why there is no recording, if that is known.
    pub recording_error: Option<String>,
    /// Why nothing of the call is erased. The list indexes do not contain it.
    pub hold: Option<Hold>,
    /// Until when the call is kept, in place of the deployment's time. The list indexes do not contain it.
    pub retain_until: Option<Timestamp>,
    /// Whether a transcript is stored.
    pub has_transcript: bool,
    /// Id of the item in the table; empty for a call that was not read from the table.
    pub item: String,
}

impl Call {
    /// Whether a dispatch or an interaction was reported. If not, only a recording is known.
    pub fn is_reported(&self) -> bool {
        matches!(ItemKind::of(&self.item), ItemKind::Dispatch | ItemKind::Interaction)
    }

    /// Whether a dispatch was reported.
    pub fn has_dispatch(&self) -> bool {
        ItemKind::of(&self.item) == ItemKind::Dispatch
    }

    /// Why there is no recording, as a sentence.
    pub fn missing_reason(&self) -> &str {
        self.recording_error
            .as_deref()
            .unwrap_or("Nothing is known of a recording.")
    }

    /// Whether the recording in the bucket must be restored from an archive before it can be played.
    pub fn is_archived(&self) -> bool {
        self.s3_key.is_some() && self.recording_error.is_some()
    }

    /// Whether there is a recording, by LiveKit or by Twilio.
    pub fn is_playable(&self) -> bool {
        self.s3_key.is_some() || self.twilio.iter().any(TwilioRecording::is_playable)
    }
}
