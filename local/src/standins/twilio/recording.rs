//! A recording, and its JSON in Twilio's responses.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::media::Media;

/// A recording.
#[derive(Clone, Debug)]
pub struct Recording {
    /// `RE` and hex digits.
    pub sid: String,
    /// SID of the parent call.
    pub call_sid: String,
    /// SID of the conference, if it was one.
    pub conference_sid: Option<String>,
    /// `in-progress`, `paused`, `stopped`, `processing`, `completed`, `absent` or `deleted`.
    pub status: String,
    /// 1 or 2.
    pub channels: u8,
    /// How it was started: `RecordVerb`, `DialVerb`, `Conference`, `OutboundAPI`, `Trunking`, `StartCallRecordingAPI`,
    /// `StartConferenceRecordingAPI`.
    pub source: String,
    /// Length in seconds; sent as a string.
    pub duration: Option<u32>,
    /// When it was created; sent as RFC 2822, like the next two.
    pub date_created: Timestamp,
    /// When it was last changed.
    pub date_updated: Timestamp,
    /// When the recording began.
    pub start_time: Timestamp,
    /// The price as Twilio sends it: a decimal string, usually negative.
    pub price: Option<String>,
    /// ISO 4217 code.
    pub price_unit: Option<String>,
    /// Why a recording is `absent`: 16101 too short, 16102 silent.
    pub error_code: Option<u32>,
    /// `inbound`, `outbound` or `both`. Twilio's account list never contains it; it is sent here if it is known.
    pub track: Option<String>,
    /// The parameters of an encrypted recording, whose media is ciphertext.
    pub encryption_details: Option<Value>,
    /// The URL in external storage; Twilio then has no media.
    pub external_media_url: Option<String>,
    /// The media.
    pub media: Media,
}

impl Default for Recording {
    /// A completed mono recording from 2024-01-01 without media; SIDs are empty.
    fn default() -> Self {
        let date = Timestamp::constant(1_704_067_200, 0);
        Recording {
            sid: String::new(),
            call_sid: String::new(),
            conference_sid: None,
            status: "completed".into(),
            channels: 1,
            source: "OutboundAPI".into(),
            duration: Some(1),
            date_created: date,
            date_updated: date,
            start_time: date,
            price: Some("-0.00250".into()),
            price_unit: Some("USD".into()),
            error_code: None,
            track: None,
            encryption_details: None,
            external_media_url: None,
            media: Media::None,
        }
    }
}

impl Recording {
    /// The recording's JSON for this account.
    pub(super) fn row(&self, account: &str) -> Value {
        let uri = format!("/2010-04-01/Accounts/{account}/Recordings/{}", self.sid);
        let mut row = json!({
            "account_sid": account,
            "api_version": "2010-04-01",
            "call_sid": self.call_sid,
            "conference_sid": self.conference_sid,
            "date_created": rfc2822(self.date_created),
            "date_updated": rfc2822(self.date_updated),
            "start_time": rfc2822(self.start_time),
            "duration": self.duration.map(|seconds| seconds.to_string()),
            "sid": self.sid,
            "price": self.price,
            "price_unit": self.price_unit,
            "status": self.status,
            "channels": self.channels,
            "source": self.source,
            "error_code": self.error_code,
            "uri": format!("{uri}.json"),
            "encryption_details": self.encryption_details,
            "subresource_uris": {
                "add_on_results": format!("{uri}/AddOnResults.json"),
                "transcriptions": format!("{uri}/Transcriptions.json"),
            },
            "media_url": self.external_media_url.clone().unwrap_or_else(|| format!("https://api.twilio.com{uri}")),
        });
        if let Some(track) = &self.track {
            row["track"] = json!(track);
        }
        row
    }
}

fn rfc2822(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}
