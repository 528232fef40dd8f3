//! Rows and pages of the Recordings resource.

use jiff::{Timestamp, civil::Date, fmt::rfc2822};
use serde::{Deserialize, Deserializer};

use super::status::RecordingStatus;

/// One row of the Recordings resource. Twilio may leave any field out.
#[derive(Debug, Clone, Deserialize)]
pub struct Recording {
    /// The recording's SID.
    pub sid: String,
    /// The account it belongs to.
    pub account_sid: Option<String>,
    /// The call's parent leg.
    pub call_sid: Option<String>,
    /// Length in seconds; `None` until known.
    #[serde(default, deserialize_with = "seconds")]
    pub duration: Option<u64>,
    /// Where the recording is in its life.
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
    /// Where the media is. On the customer's own host when Twilio stores it there.
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
    /// What it cost, as decimal text.
    #[serde(default, deserialize_with = "text_or_number")]
    pub price: Option<String>,
    /// The price's currency.
    pub price_unit: Option<String>,
    /// Which side was recorded; Twilio sends it on some resources only.
    pub track: Option<String>,
    /// Present when the media is encrypted with the customer's key.
    pub encryption_details: Option<serde_json::Value>,
}

/// Twilio sends durations as text; `-1` and other oddities mean unknown.
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
    /// The rows, in Twilio's order.
    pub recordings: Vec<Recording>,
    /// The next page, `None` on the last.
    pub next: Option<PageQuery>,
}

/// The query string of a page: Twilio's own `next_page_uri` is followed verbatim, on the configured host and this resource only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery(String);

impl PageQuery {
    /// The first page, of recordings created from `after` to `before` (UTC days, both included).
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

    /// The first page of the recordings that were created on a UTC day.
    pub fn on(page_size: u64, day: Date) -> Self {
        Self(format!("PageSize={page_size}&DateCreated={day}"))
    }

    /// The same, with recordings that were deleted at Twilio at most 40 days ago.
    pub fn with_deleted(self) -> Self {
        Self(format!("{}&IncludeSoftDeleted=true", self.0))
    }

    /// A page by its query string, as [`PageQuery::as_str`] gave it. `None` when it can't be one.
    pub fn parse(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        (text.len() <= 1000 && text.bytes().all(harmless)).then(|| Self(text.to_owned()))
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

/// The address of a recording's MP3 on the host `base`.
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
    fn a_row_is_read_whatever_twilio_leaves_out_or_types_otherwise() {
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
    fn a_page_query_can_not_leave_its_resource() {
        assert!(PageQuery::parse("PageSize=50&Page=1&PageToken=PARE123").is_some());
        for bad in ["PageSize=50#", "a b", "a\r\nHost: x", "é", &"a".repeat(1001)] {
            assert!(PageQuery::parse(bad).is_none(), "{bad:?}");
        }
    }
}
