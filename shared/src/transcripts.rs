//! The transcripts table in DynamoDB: one item per recording and options, so that each is paid for once.
//!
//! An item is `in_progress` under a lease, `completed`, or `failed`. A lease has its own deadline (TTL deletion can lag by days) and a
//! version that grows with every lease; the final write is conditional on that version, so a worker that lost its lease can't overwrite.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;

use crate::{
    aws::Aws,
    config::{ConfigError, Env},
    dynamodb::{Item, cause, get_number, get_text, number, text},
    time::to_seconds,
    twilio::RecordingSid,
};

/// Key of one item: the recording and the options it was transcribed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptId(String);

impl TranscriptId {
    /// A Twilio recording with the default options.
    pub fn twilio(sid: &RecordingSid) -> Self {
        Self(format!("twilio#{sid}#default"))
    }
}

/// A finished transcript and what was known of its recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// The words. Empty when nothing was said.
    pub text: String,
    /// Language as the API named it.
    pub language: Option<String>,
    /// Seconds of audio that were transcribed.
    pub audio_seconds: Option<f64>,
    /// Model that transcribed.
    pub model: String,
    /// When the transcription was completed.
    pub completed_at: Timestamp,
    /// The recording's length in seconds by Twilio.
    pub recording_duration: Option<u64>,
    /// When the recording was created.
    pub recording_created: Option<Timestamp>,
    /// The recording's call.
    pub call_sid: Option<String>,
}

/// What the table knows of one id.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Finished.
    Completed(Box<Transcript>),
    /// Someone is at work, until then at the latest.
    InProgress {
        /// End of the lease.
        until: Timestamp,
    },
    /// Not begun, or failed before.
    Nothing,
}

/// The right to transcribe, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    id: TranscriptId,
    version: i64,
}

/// The answer to [`Transcripts::claim`].
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// The caller is to transcribe.
    Granted(Lease),
    /// The caller is not: it is done, or someone else is at it.
    Refused(Known),
}

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the transcripts table did not answer: {0}")]
pub struct TranscriptsError(String);

impl<E: Error + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for TranscriptsError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(cause(&error))
    }
}

/// The transcripts table.
pub struct Transcripts {
    client: Client,
    table: String,
}

impl Transcripts {
    /// Reads `TRANSCRIPTS_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            client: aws.dynamodb(),
            table: env.required("TRANSCRIPTS_TABLE")?.to_owned(),
        })
    }

    /// What is known of `id`.
    pub async fn get(&self, id: &TranscriptId) -> Result<Known, TranscriptsError> {
        let query = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", text(&id.0))
            .consistent_read(true);
        Ok(query.send().await?.item.map_or(Known::Nothing, known))
    }

    /// Takes the lease on `id` until `until`, unless it is completed or someone else holds an unfinished lease.
    pub async fn claim(&self, id: &TranscriptId, until: Timestamp) -> Result<Claim, TranscriptsError> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&id.0))
            .update_expression("SET #state = :in_progress, lease_until = :until, lease_owner = :owner ADD #version :one")
            .condition_expression(
                "attribute_not_exists(id) OR #state = :failed OR (#state = :in_progress AND (lease_until < :now OR lease_owner = :owner))",
            )
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":failed", text("failed"))
            // The SDK repeats a write whose answer was lost; the repetition must not be refused by the first one.
            .expression_attribute_values(":owner", text(&format!("{:032x}", fastrand::u128(..))))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .expression_attribute_values(":now", number(Timestamp::now().as_millisecond()))
            .expression_attribute_values(":one", number(1))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let version = answer.attributes.as_ref().and_then(|item| get_number(item, "version"));
                let version = version.ok_or_else(|| TranscriptsError("a lease without a version".into()))?;
                Ok(Claim::Granted(Lease {
                    id: id.clone(),
                    version,
                }))
            }
            Err(error) => match error.into_service_error() {
                aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(refused) => {
                    Ok(Claim::Refused(refused.item.map_or(Known::Nothing, known)))
                }
                other => Err(TranscriptsError(cause(&other))),
            },
        }
    }

    /// Stores the result under the lease. `false` when the lease was lost to someone else, whose result counts instead.
    pub async fn complete(&self, lease: &Lease, transcript: &Transcript) -> Result<bool, TranscriptsError> {
        let mut item = item_from_transcript(transcript);
        item.insert("id".into(), text(&lease.id.0));
        item.insert("state".into(), text("completed"));
        item.insert("version".into(), number(lease.version));
        let write = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(lease.version));
        match write.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|service| service.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the lease back after a failure, so that the next request need not wait for its end.
    pub async fn release(&self, lease: &Lease) -> Result<(), TranscriptsError> {
        let write = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&lease.id.0))
            .update_expression("SET #state = :failed")
            .condition_expression("#version = :version AND #state = :in_progress")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":failed", text("failed"))
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":version", number(lease.version));
        match write.send().await {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(|service| service.is_conditional_check_failed_exception()) =>
            {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }
}

fn known(item: Item) -> Known {
    match get_text(&item, "state").as_deref() {
        Some("completed") => Known::Completed(Box::new(transcript_from_item(&item))),
        Some("in_progress") => {
            let until = get_number(&item, "lease_until").and_then(|until| Timestamp::from_millisecond(until).ok());
            Known::InProgress {
                until: until.unwrap_or_default(),
            }
        }
        _ => Known::Nothing,
    }
}

fn item_from_transcript(transcript: &Transcript) -> Item {
    let mut item = Item::from([
        ("text".to_owned(), text(&transcript.text)),
        ("model".to_owned(), text(&transcript.model)),
        ("completed_at".to_owned(), text(&to_seconds(transcript.completed_at))),
    ]);
    let texts = [
        ("language", transcript.language.clone()),
        ("recording_created", transcript.recording_created.map(to_seconds)),
        ("call_sid", transcript.call_sid.clone()),
    ];
    item.extend(
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), text(&value?)))),
    );
    let numbers = [
        (
            "audio_seconds",
            transcript.audio_seconds.map(|seconds| seconds.to_string()),
        ),
        (
            "recording_duration",
            transcript.recording_duration.map(|seconds| seconds.to_string()),
        ),
    ];
    item.extend(
        numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), AttributeValue::N(value?)))),
    );
    item
}

fn transcript_from_item(item: &Item) -> Transcript {
    let time = |name| get_text(item, name).and_then(|text| text.parse().ok());
    Transcript {
        text: get_text(item, "text").unwrap_or_default(),
        language: get_text(item, "language"),
        audio_seconds: item
            .get("audio_seconds")
            .and_then(|value| value.as_n().ok()?.parse().ok()),
        model: get_text(item, "model").unwrap_or_default(),
        completed_at: time("completed_at").unwrap_or_default(),
        recording_duration: get_number(item, "recording_duration").and_then(|seconds| seconds.try_into().ok()),
        recording_created: time("recording_created"),
        call_sid: get_text(item, "call_sid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_survives_the_table_even_when_nothing_was_said() {
        let transcript = Transcript {
            text: String::new(),
            language: Some("english".into()),
            audio_seconds: Some(45.25),
            model: "whisper-1".into(),
            completed_at: "2024-01-15T10:35:00Z".parse().unwrap(),
            recording_duration: Some(45),
            recording_created: "2024-01-15T10:30:00Z".parse().ok(),
            call_sid: Some("CA1234567890abcdef".into()),
        };
        let mut item = item_from_transcript(&transcript);
        item.insert("state".into(), text("completed"));
        assert_eq!(known(item), Known::Completed(Box::new(transcript)));
    }
}
