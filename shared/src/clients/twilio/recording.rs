//! Recordings and pages of the Recordings resource.

use jiff::{Timestamp, civil::Date, fmt::rfc2822};
use serde::{Deserialize, Deserializer};

use super::status::RecordingStatus;

/// A recording in the Recordings resource. Twilio may omit any field.
#[derive(Debug, Clone, Deserialize)]
pub struct Recording {
    /// The recording's SID.
    pub sid: String,
    /// SID of the account that owns the recording.
    pub account_sid: Option<String>,
    /// SID of the call; for calls with several legs, of the parent leg.
    pub call_sid: Option<String>,
    /// Length in seconds, if known.
    #[serde(default, deserialize_with = "seconds")]
    pub duration: Option<u64>,
    /// The recording's status.
    #[serde(default)]
    pub status: RecordingStatus,
    /// Number of audio channels.
    pub channels: Option<u32>,
    /// How the recording was made, for example `RecordVerb`.
    pub source: Option<String>,
    /// Why an `absent` recording is absent.
    pub error_code: Option<i64>,
    /// Path of this resource, relative to the host.
    pub uri: Option<String>,
    /// URL of the media. It is on the customer's host if the recording is in external storage.
    pub media_url: Option<String>,
    /// When it was created.
    #[serde(default, deserialize_with = "rfc2822_time")]
    pub date_created: Option<Timestamp>,
    /// When it was last changed.
    #[serde(default, deserialize_with = "rfc2822_time")]
    pub date_updated: Option<Timestamp>,
    /// When recording began.
    #[serde(default, deserialize_with = "rfc2822_time")]
    pub start_time: Option<Timestamp>,
    /// The price, as a decimal string.
    #[serde(default, deserialize_with = "text_or_number")]
    pub price: Option<String>,
    /// The price's currency.
    pub price_unit: Option<String>,
    /// Which side was recorded. Twilio sends it only for some resources.
    pub track: Option<String>,
    /// Present if the media is encrypted with the customer's key.
    pub encryption_details: Option<serde_json::Value>,
}

impl Recording {
    /// The SID of its call, or its own if it does not belong to a single call.
    pub fn call(&self) -> &str {
        self.call_sid.as_deref().unwrap_or(&self.sid)
    }
}

/// Twilio sends durations as strings; `-1` and other values that are not numbers of seconds mean unknown.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(text_or_number(deserializer)?.and_then(|text| text.parse().ok()))
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn rfc2822_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| {
        let zoned = rfc2822::parse(&text).ok()?;
        Some(zoned.timestamp())
    }))
}

/// One page of the account's recordings.
#[derive(Debug)]
pub struct Page {
    /// The recordings, in Twilio's order.
    pub recordings: Vec<Recording>,
    /// The next page; `None` on the last page.
    pub next: Option<PageQuery>,
}

/// The query string of a page. The query string of Twilio's `next_page_uri` is used unchanged, but always for the configured host and this
/// resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery(String);

impl PageQuery {
    /// The first page of the recordings created from `after` to `before` (UTC days, both included).
    pub fn first(page_size: u64, after: Option<Date>, before: Option<Date>) -> Self {
        let mut query = format!("PageSize={page_size}");
        if let Some(day) = after {
            query.push_str(&format!("&DateCreated%3E={day}"));
        }
        if let Some(day) = before {
            query.push_str(&format!("&DateCreated%3C={day}"));
        }
        Self(query)
    }

    /// The first page of the recordings created on a UTC day.
    pub fn on(page_size: u64, day: Date) -> Self {
        Self(format!("PageSize={page_size}&DateCreated={day}"))
    }

    /// Includes recordings that were deleted at Twilio in the last 40 days.
    pub fn with_deleted(self) -> Self {
        Self(format!("{}&IncludeSoftDeleted=true", self.0))
    }

    /// Parses the result of [`PageQuery::as_str`]; `None` if the text can't be a query string.
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        (text.len() <= 1000 && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// The query string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
pub(super) struct RawPage {
    pub(super) recordings: Vec<Recording>,
    pub(super) next_page_uri: Option<String>,
}

/// The URL of a recording's MP3 on the host `base`.
pub fn media_url(base: &str, account: &str, recording: &str) -> String {
    let base = base.trim_end_matches('/');
    format!("{base}/2010-04-01/Accounts/{account}/Recordings/{recording}.mp3")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::to_seconds;

    #[test]
    fn a_recording_is_parsed_with_missing_fields_and_other_types() {
        let row: Recording = serde_json::from_value(
            json!({"sid": "RE1", "duration": "-1", "price": -0.0025, "status": null, "date_created": "not a date"}),
        )
        .unwrap();
        assert_eq!(
            (
                row.duration,
                row.price.as_deref(),
                row.status.as_str(),
                row.date_created
            ),
            (None, Some("-0.0025"), "", None)
        );
        let row: Recording = serde_json::from_value(json!({"sid": "RE1", "duration": "45", "status": "processing", "start_time": "Fri, 14 Oct 2016 22:56:34 +0100"})).unwrap();
        assert_eq!(row.duration, Some(45));
        assert_eq!(to_seconds(row.start_time.unwrap()), "2016-10-14T21:56:34Z");
        assert_eq!(row.status.as_str(), "processing");
    }

    #[test]
    fn a_page_query_can_not_name_another_resource() {
        assert!(PageQuery::parse("PageSize=50&Page=1&PageToken=PARE123").is_some());
        for bad in ["PageSize=50#", "a b", "a\r\nHost: x", "é", &"a".repeat(1001)] {
            assert!(PageQuery::parse(bad).is_none(), "{bad:?}");
        }
    }
}
