//! The two forms in which S3's events arrive.

use serde::Deserialize;

/// An object that appeared or was deleted.
#[derive(Debug, PartialEq)]
pub(crate) struct ObjectEvent {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// Says which of two events for one key is the newer.
    pub(crate) sequencer: Option<String>,
}

/// Why a message can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the message is not an event of S3: {0}")]
pub struct EventError(#[from] serde_json::Error);

/// Either form, by the fields it has.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    /// From EventBridge, with keys as they are: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
    EventBridge { detail: Detail },
    /// From S3 itself, with keys encoded as in forms:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
    Notification {
        #[serde(rename = "Records")]
        records: Vec<Record>,
    },
    /// What S3 sends when a notification is configured.
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
    /// Reads the body of a message.
    pub(crate) fn read(body: &str) -> Result<Vec<Self>, EventError> {
        let event = |detail: Detail, key: String| Self {
            bucket: detail.bucket.name,
            key,
            sequencer: detail.object.sequencer,
        };
        Ok(match serde_json::from_str(body)? {
            Form::EventBridge { mut detail } => {
                let key = std::mem::take(&mut detail.object.key);
                vec![event(detail, key)]
            }
            Form::Notification { records } => {
                let decoded = |record: Record| {
                    let spaced = record.s3.object.key.replace('+', " ");
                    let key = percent_encoding::percent_decode_str(&spaced)
                        .decode_utf8_lossy()
                        .into_owned();
                    event(record.s3, key)
                };
                records.into_iter().map(decoded).collect()
            }
            Form::Test { .. } => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<ObjectEvent> {
        ObjectEvent::read(body).unwrap()
    }

    #[test]
    fn keys_of_eventbridge_are_as_they_are_and_keys_of_notifications_are_decoded() {
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
    fn the_test_event_of_a_new_notification_says_nothing() {
        let body = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"b"}"#;
        assert_eq!(read(body), []);
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for body in [
            "",
            "{",
            "{}",
            "[]",
            r#"{"detail": {"bucket": {"name": "b"}}}"#,
            r#"{"Event": "s3:Other"}"#,
        ] {
            assert!(ObjectEvent::read(body).is_err(), "{body}");
        }
    }
}
