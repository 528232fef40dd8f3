//! The two formats of S3 events.

use serde::Deserialize;
use shared::log::json_error;

/// An object that was created or deleted.
#[derive(Debug, PartialEq)]
pub(crate) struct ObjectEvent {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// Orders the events of one key.
    pub(crate) sequencer: Option<String>,
}

/// A message could not be parsed.
#[derive(Debug, thiserror::Error)]
#[error("the message is not an S3 event: {0}")]
pub struct EventError(String);

impl From<serde_json::Error> for EventError {
    fn from(error: serde_json::Error) -> Self {
        Self(json_error(&error))
    }
}

/// The formats are distinguished by their fields.
#[derive(Deserialize)]
#[serde(untagged)]
enum Format {
    /// An EventBridge event, whose key is not encoded: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
    EventBridge { detail: Detail },
    /// An S3 notification, whose keys are form-encoded:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
    Notification {
        #[serde(rename = "Records")]
        records: Vec<Record>,
    },
    /// The message that S3 sends when a notification is configured.
    Test {
        #[serde(rename = "Event")]
        _event: TestEvent,
    },
}

#[derive(Deserialize)]
enum TestEvent {
    #[serde(rename = "s3:TestEvent")]
    Test,
}

#[derive(Deserialize)]
struct Record {
    s3: Detail,
}

#[derive(Deserialize)]
struct Detail {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    sequencer: Option<String>,
}

impl ObjectEvent {
    /// Parses the body of a message.
    pub(crate) fn parse(body: &str) -> Result<Vec<Self>, EventError> {
        let event = |detail: Detail, key: String| Self {
            bucket: detail.bucket.name,
            key,
            sequencer: detail.object.sequencer,
        };
        Ok(match serde_json::from_str(body)? {
            Format::EventBridge { mut detail } => {
                let key = std::mem::take(&mut detail.object.key);
                vec![event(detail, key)]
            }
            Format::Notification { records } => {
                let decoded = |record: Record| {
                    let spaced = record.s3.object.key.replace('+', " ");
                    let key = percent_encoding::percent_decode_str(&spaced)
                        .decode_utf8_lossy()
                        .into_owned();
                    event(record.s3, key)
                };
                records.into_iter().map(decoded).collect()
            }
            Format::Test { .. } => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<ObjectEvent> {
        ObjectEvent::parse(body).unwrap()
    }

    #[test]
    fn keys_in_notifications_are_decoded_and_keys_in_eventbridge_events_are_not() {
        let detail = r#""bucket": {"name": "b"}, "object": {"key": "a+b%20c.mp4", "sequencer": "1"}"#;
        let bridge = read(&format!(
            r#"{{"detail-type": "Object Created", "detail": {{{detail}}}}}"#
        ));
        let own = read(&format!(
            r#"{{"Records": [{{"eventName": "ObjectCreated:Put", "s3": {{{detail}}}}}]}}"#
        ));
        assert_eq!(
            (bridge[0].key.as_str(), own[0].key.as_str()),
            ("a+b%20c.mp4", "a b c.mp4")
        );
        assert_eq!(
            (bridge.len(), own.len(), own[0].sequencer.as_deref()),
            (1, 1, Some("1"))
        );
    }

    #[test]
    fn the_test_event_of_a_new_notification_is_ignored() {
        let body = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"b"}"#;
        assert_eq!(read(body), []);
    }

    #[test]
    fn a_message_that_is_not_an_event_is_an_error() {
        for body in [
            "",
            "{",
            "{}",
            "[]",
            r#"{"detail": {"bucket": {"name": "b"}}}"#,
            r#"{"Event": "s3:Other"}"#,
        ] {
            assert!(ObjectEvent::parse(body).is_err(), "{body}");
        }
    }
}
