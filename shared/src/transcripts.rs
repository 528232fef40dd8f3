//! The transcripts table in DynamoDB: one item per recording and options, so that each is paid for once.
//!
//! | state | meaning |
//! | --- | --- |
//! | `queued` | waits in the queue, at most until `lease_until` |
//! | `in_progress` | someone is at work, at most until `lease_until` |
//! | `completed` | the text is here |
//! | `failed` | `code`, `message` and `retryable` say why; the next request tries again |
//!
//! A lease has its own deadline (TTL deletion can lag by days) and a version that grows with every lease; every later write is conditional on
//! that version, so a worker that lost its lease can't overwrite.
//!
//! A long recording is transcribed in parts. Each is an item of its own as soon as it is there, `{id}#part#{run}#{channel}#{index}`, and the
//! next lease of the same run goes on with them; a run ends with its completion. A text too large for one item has its rest in items
//! `{id}#text#{version}#{n}`.

use std::{error::Error, fmt, io::BufReader, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    primitives::Blob,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    aws::{Aws, causes},
    config::{ConfigError, Env},
    dispatch::DispatchId,
    dynamodb::{Item, get_number, get_text, number, text},
    time::to_seconds,
    twilio::RecordingSid,
    whisper::{Options, Segment, Word},
};

/// The most text in one item, in bytes: items end at 400 KB.
const ITEM_TEXT: usize = 350_000;
/// How long a part waits for its run to go on: as long as SQS keeps a message.
const PART_LIFE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Key of one item: the recording and the options it was transcribed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptId(String);

impl TranscriptId {
    /// A Twilio recording with these options.
    pub fn twilio(sid: &RecordingSid, variant: &Variant) -> Self {
        Self(format!("twilio#{sid}#{}", variant.0))
    }

    /// The recording of a dispatch with these options.
    pub fn egress(dispatch: &DispatchId, variant: &Variant) -> Self {
        Self(format!("egress#{dispatch}#{}", variant.0))
    }
}

impl TranscriptId {
    fn text_item(&self, version: i64, n: i64) -> String {
        format!("{}#text#{version}#{n}", self.0)
    }
}

impl Lease {
    fn part_item(&self, channel: u8, index: u32) -> String {
        format!("{}#part#{}#{channel}#{index}", self.id.0, self.run)
    }
}

/// The options of a transcript, as one short word: `default`, or 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant(String);

impl Variant {
    /// The word for these options. Equal options give equal words.
    pub fn of(options: &Options) -> Self {
        if *options == Options::default() {
            return Self("default".into());
        }
        let mut digest = Sha256::new();
        for value in [&options.language, &options.prompt, &options.model] {
            // The length tells apart what would read the same when joined.
            digest.update(
                value
                    .as_ref()
                    .map_or(u64::MAX, |value| value.len() as u64)
                    .to_le_bytes(),
            );
            digest.update(value.as_deref().unwrap_or_default());
        }
        if options.mixed {
            digest.update("mixed");
        }
        Self(hex::encode(&digest.finalize()[..8]))
    }

    /// Reads the word; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits || text == "default").then(|| Self(text.to_owned()))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A finished transcript and what was known of its recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// What was said.
    pub speech: Speech,
    /// Language as the API named it.
    pub language: Option<String>,
    /// Length of the audio in seconds, as the API measured it.
    pub audio_seconds: Option<f64>,
    /// Seconds of audio that were paid for.
    pub billed_seconds: u64,
    /// Price of those, in USD.
    pub cost_usd: f64,
    /// Segments left out because the model made them up.
    pub dropped_segments: usize,
    /// Channels that were transcribed on their own: 2, or 0 when the speakers are not told apart.
    pub speakers: u8,
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

impl Transcript {
    /// Whether it was completed since then, as exactly as its time is stored: to the second.
    pub fn is_of(&self, since: Timestamp) -> bool {
        self.completed_at.as_second() >= since.as_second()
    }
}

/// The words of a transcript and their times.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Speech {
    /// The words. Empty when nothing was said.
    pub text: String,
    /// Stretches of speech with their times; empty when the model gives none.
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// Single words with their times; empty when the model gives none.
    #[serde(default)]
    pub words: Vec<Word>,
}

/// Code of the failure of a recording whose workers died too often.
pub const GIVEN_UP: &str = "transcription_given_up";
/// Code of the failure of a lease that ended without a word.
pub const INTERRUPTED: &str = "transcription_interrupted";

/// Why a recording has no transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A stable word for programs.
    pub code: String,
    /// What to tell a caller: a sentence without its full stop.
    pub message: String,
    /// Whether trying again may help.
    pub retryable: bool,
    /// How long to wait before that, if it is known. Not stored.
    pub retry_after: Option<Duration>,
}

/// What the table knows of one id.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Finished.
    Completed(Box<Transcript>),
    /// Finished earlier; a try to replace it ended without a word.
    Lapsed(Box<Transcript>),
    /// Someone is at work, until then at the latest.
    InProgress {
        /// End of the lease.
        until: Timestamp,
        /// How far it is, once a part is done.
        progress: Option<Progress>,
    },
    /// It waits in the queue, perhaps for the rest of its parts.
    Queued(Option<Progress>),
    /// The last try failed, and nobody is trying.
    Failed(Failure),
    /// Nobody asked for it.
    Nothing,
}

/// How far the transcription of a long recording is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Parts that are transcribed.
    pub parts_done: u32,
    /// All parts; while the recording is still being split, those there are so far.
    pub parts_total: u32,
    /// Seconds of the recording that those parts span, over all channels.
    pub seconds_done: f64,
    /// Length of the recording in seconds, times its channels; `None` until it is known.
    pub seconds_total: Option<f64>,
}

/// A transcribed part of a long recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPart {
    /// Where the part begins in the recording, in seconds. A part cut elsewhere is another part.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// Seconds that were paid for.
    pub billed_seconds: u64,
    /// What was said, in the recording's time.
    pub speech: Speech,
    /// Language as the API named it.
    pub language: Option<String>,
    /// Segments left out because the model made them up.
    pub dropped_segments: usize,
}

/// What a lease may be taken from, besides what nobody has and nobody is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taking {
    /// From the queue: the worker's right.
    pub queued: bool,
    /// From what is completed, to pay for it again.
    pub completed: bool,
}

/// The right to transcribe, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    id: TranscriptId,
    version: i64,
    /// Names what was begun with the first lease after the last completion: its parts belong together.
    run: String,
    /// Whether an earlier transcript is there to fall back to.
    again: bool,
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
        Self(causes(&error))
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
        self.known(query.send().await?.item).await
    }

    /// Reads what an item says, with the rest of its text where it has one.
    async fn known(&self, item: Option<Item>) -> Result<Known, TranscriptsError> {
        let Some(mut item) = item else {
            return Ok(Known::Nothing);
        };
        if let Some(count) = get_number(&item, "text_items") {
            let (id, version) = (get_text(&item, "id"), get_number(&item, "text_version"));
            let id = TranscriptId(id.unwrap_or_default());
            let rest = (0..count).map(|n| self.bytes(id.text_item(version.unwrap_or_default(), n)));
            let mut speech = Vec::new();
            for piece in futures_util::future::try_join_all(rest).await? {
                let piece = piece.ok_or_else(|| TranscriptsError("a completed item without all of its text".into()))?;
                speech.extend_from_slice(&piece);
            }
            item.insert("speech".into(), AttributeValue::B(Blob::new(speech)));
        }
        known(&item)
    }

    async fn bytes(&self, id: String) -> Result<Option<Vec<u8>>, TranscriptsError> {
        let query = self.client.get_item().table_name(&self.table).key("id", text(&id));
        let item = query.consistent_read(true).send().await?.item.unwrap_or_default();
        Ok(match item.get("speech") {
            Some(AttributeValue::B(bytes)) => Some(bytes.clone().into_inner()),
            _ => None,
        })
    }

    async fn put_bytes(&self, id: String, bytes: &[u8], expires: Option<Timestamp>) -> Result<(), TranscriptsError> {
        let write = self.client.put_item().table_name(&self.table);
        let mut item = Item::from([
            ("id".to_owned(), text(&id)),
            ("speech".to_owned(), AttributeValue::B(Blob::new(bytes))),
        ]);
        if let Some(expires) = expires {
            item.insert("expires_at_unix".into(), number(expires.as_second()));
        }
        write.set_item(Some(item)).send().await?;
        Ok(())
    }

    /// The part at this place of the lease's run, when an earlier lease has left it.
    pub async fn part(&self, lease: &Lease, channel: u8, index: u32) -> Result<Option<StoredPart>, TranscriptsError> {
        match self.bytes(lease.part_item(channel, index)).await? {
            Some(packed) => Ok(Some(unpack(&packed)?)),
            None => Ok(None),
        }
    }

    /// Keeps a part for the leases to come.
    pub async fn put_part(
        &self,
        lease: &Lease,
        channel: u8,
        index: u32,
        part: &StoredPart,
    ) -> Result<(), TranscriptsError> {
        let expires = Timestamp::now() + PART_LIFE;
        self.put_bytes(lease.part_item(channel, index), &pack(part)?, Some(expires))
            .await
    }

    /// Notes how far the lease's work is. `false` when the lease is lost.
    pub async fn note_progress(&self, lease: &Lease, progress: &Progress) -> Result<bool, TranscriptsError> {
        let progress = serde_json::to_string(progress).map_err(|error| TranscriptsError(error.to_string()))?;
        let write = self
            .update(&lease.id, "SET progress = :progress", HELD)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":progress", text(&progress))
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":version", number(lease.version));
        was_not_refused(write.send().await)
    }

    /// Takes the lease on `id` until `until`, unless someone holds an unfinished one, or it is queued or completed and `taking` leaves that.
    pub async fn claim(&self, id: &TranscriptId, taking: Taking, until: Timestamp) -> Result<Claim, TranscriptsError> {
        let mut condition = format!("{FREE} OR lease_owner = :owner");
        if taking.queued {
            condition.push_str(" OR #state = :queued");
        }
        if taking.completed {
            condition.push_str(" OR #state = :completed");
        }
        let mut write = self.update(
            id,
            "SET #state = :in_progress, lease_until = :until, lease_owner = :owner, run = if_not_exists(run, :owner) ADD #version :one",
            &condition,
        );
        if taking.queued {
            write = write.expression_attribute_values(":queued", text("queued"));
        }
        let answer = write
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":completed", text("completed"))
            .expression_attribute_values(":failed", text("failed"))
            .expression_attribute_values(":in_progress", text("in_progress"))
            // The SDK repeats a write whose answer was lost; the repetition must not be refused by the first one.
            .expression_attribute_values(":owner", text(&format!("{:032x}", fastrand::u128(..))))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .expression_attribute_values(":now", number(Timestamp::now().as_millisecond()))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let item = answer.attributes.unwrap_or_default();
                let version = get_number(&item, "version");
                let version = version.ok_or_else(|| TranscriptsError("a lease without a version".into()))?;
                Ok(Claim::Granted(Lease {
                    id: id.clone(),
                    version,
                    run: get_text(&item, "run").unwrap_or_default(),
                    again: item.contains_key("completed_at"),
                }))
            }
            Err(error) => match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(refused) => {
                    Ok(Claim::Refused(self.known(refused.item).await?))
                }
                other => Err(TranscriptsError(causes(&other))),
            },
        }
    }

    /// Notes that `id` is in the queue, for at most `valid`, unless it is completed or someone is at work already.
    pub async fn queue(&self, id: &TranscriptId, valid: Duration) -> Result<(), TranscriptsError> {
        let now = Timestamp::now();
        let write = self
            .update(
                id,
                "SET #state = :queued, lease_until = :until REMOVE lease_owner",
                FREE,
            )
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":completed", text("completed"))
            .expression_attribute_values(":failed", text("failed"))
            .expression_attribute_values(":until", number((now + valid).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        was_not_refused(write.send().await)?;
        Ok(())
    }

    /// Gives the lease back to the queue, where the job waits for at most `valid`.
    pub async fn requeue(&self, lease: &Lease, valid: Duration) -> Result<(), TranscriptsError> {
        let write = self
            .update(
                &lease.id,
                "SET #state = :queued, lease_until = :until REMOVE lease_owner",
                HELD,
            )
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":until", number((Timestamp::now() + valid).as_millisecond()))
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":version", number(lease.version));
        was_not_refused(write.send().await)?;
        Ok(())
    }

    /// Ends the lease with a failure, so that the next request can try again at once. What was completed before is so again.
    pub async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<(), TranscriptsError> {
        let write = self
            .update(
                &lease.id,
                "SET #state = :failed, code = :code, message = :message, retryable = :retryable REMOVE lease_owner, lease_until",
                HELD,
            )
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":failed", text(if lease.again { "completed" } else { "failed" }))
            .expression_attribute_values(":code", text(&failure.code))
            .expression_attribute_values(":message", text(&failure.message))
            .expression_attribute_values(":retryable", AttributeValue::Bool(failure.retryable))
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":version", number(lease.version));
        was_not_refused(write.send().await)?;
        Ok(())
    }

    fn update(&self, id: &TranscriptId, update: &str, condition: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&id.0))
            .update_expression(update)
            .condition_expression(condition)
            .expression_attribute_names("#state", "state")
    }

    /// Stores the result under the lease. `false` when the lease was lost to someone else, whose result counts instead.
    pub async fn complete(&self, lease: &Lease, transcript: &Transcript) -> Result<bool, TranscriptsError> {
        let mut item = item_from_transcript(transcript);
        item.insert("id".into(), text(&lease.id.0));
        item.insert("state".into(), text("completed"));
        item.insert("version".into(), number(lease.version));
        let speech = pack(&transcript.speech)?;
        let text_items = match speech.len() <= ITEM_TEXT {
            true => 0,
            false => speech.chunks(ITEM_TEXT).len(),
        };
        if text_items == 0 {
            item.insert("speech".into(), AttributeValue::B(Blob::new(speech)));
        } else {
            let pieces = speech.chunks(ITEM_TEXT);
            item.insert("text_items".into(), number(text_items as i64));
            item.insert("text_version".into(), number(lease.version));
            let writes = pieces
                .enumerate()
                .map(|(n, piece)| self.put_bytes(lease.id.text_item(lease.version, n as i64), piece, None));
            futures_util::future::try_join_all(writes).await?;
        }
        let write = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(lease.version))
            .return_values(ReturnValue::AllOld);
        match write.send().await {
            Ok(answer) => {
                let replaced = answer.attributes.unwrap_or_default();
                let version = get_number(&replaced, "text_version").unwrap_or_default();
                let count = get_number(&replaced, "text_items").unwrap_or_default();
                // The SDK repeats a write whose answer was lost: then the item that is replaced is this very one.
                if version != lease.version {
                    self.delete_text(&lease.id, version, count).await;
                }
                Ok(true)
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|service| service.is_conditional_check_failed_exception()) =>
            {
                self.delete_text(&lease.id, lease.version, text_items as i64).await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the further items of a transcript that does not count any more.
    async fn delete_text(&self, id: &TranscriptId, version: i64, count: i64) {
        for n in 0..count {
            let item = self.client.delete_item().table_name(&self.table);
            if let Err(error) = item.key("id", text(&id.text_item(version, n))).send().await {
                tracing::warn!(error = causes(&error), "text of a replaced transcript not deleted");
            }
        }
    }
}

/// Condition: nobody has it and nobody is at it.
const FREE: &str = "(attribute_not_exists(id) OR #state = :failed OR (#state <> :completed AND lease_until < :now))";
/// Condition: the lease is still the writer's.
const HELD: &str = "#version = :version AND #state = :in_progress";

/// `false` for a write that came too late: it changes nothing, which is what its condition is for.
pub(crate) fn was_not_refused<T, R: fmt::Debug + 'static>(
    result: Result<T, SdkError<UpdateItemError, R>>,
) -> Result<bool, TranscriptsError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(service) if service.is_conditional_check_failed_exception() => Ok(false),
            _ => Err(error.into()),
        },
    }
}

fn known(item: &Item) -> Result<Known, TranscriptsError> {
    let until = get_number(item, "lease_until").and_then(|until| Timestamp::from_millisecond(until).ok());
    let until = until.unwrap_or_default();
    let progress = get_text(item, "progress").and_then(|text| serde_json::from_str(&text).ok());
    Ok(match get_text(item, "state").as_deref() {
        Some("completed") => Known::Completed(Box::new(transcript_from_item(item)?)),
        Some("failed") => Known::Failed(Failure {
            code: get_text(item, "code").unwrap_or_default(),
            message: get_text(item, "message").unwrap_or_default(),
            retryable: item
                .get("retryable")
                .and_then(|value| value.as_bool().ok().copied())
                .unwrap_or_default(),
            retry_after: None,
        }),
        Some("in_progress" | "queued") if until < Timestamp::now() => match item.contains_key("completed_at") {
            true => Known::Lapsed(Box::new(transcript_from_item(item)?)),
            false => Known::Failed(Failure {
                code: INTERRUPTED.into(),
                message: "The transcription was interrupted".into(),
                retryable: true,
                retry_after: None,
            }),
        },
        Some("in_progress") => Known::InProgress { until, progress },
        Some("queued") => Known::Queued(progress),
        _ => Known::Nothing,
    })
}

/// All but the words.
fn item_from_transcript(transcript: &Transcript) -> Item {
    let mut item = Item::from([
        ("model".to_owned(), text(&transcript.model)),
        ("billed_seconds".to_owned(), number(transcript.billed_seconds as i64)),
        (
            "cost_usd".to_owned(),
            AttributeValue::N(transcript.cost_usd.to_string()),
        ),
        (
            "dropped_segments".to_owned(),
            number(transcript.dropped_segments as i64),
        ),
        ("speakers".to_owned(), number(i64::from(transcript.speakers))),
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

fn transcript_from_item(item: &Item) -> Result<Transcript, TranscriptsError> {
    let time = |name| get_text(item, name).and_then(|text| text.parse().ok());
    let float = |name| item.get(name).and_then(|value| value.as_n().ok()?.parse().ok());
    let whole = |name| get_number(item, name).and_then(|number| u64::try_from(number).ok());
    let speech = item.get("speech").and_then(|value| value.as_b().ok());
    Ok(Transcript {
        speech: unpack(
            speech
                .ok_or_else(|| TranscriptsError("a completed item without its text".into()))?
                .as_ref(),
        )?,
        language: get_text(item, "language"),
        audio_seconds: float("audio_seconds"),
        billed_seconds: whole("billed_seconds").unwrap_or_default(),
        cost_usd: float("cost_usd").unwrap_or_default(),
        dropped_segments: whole("dropped_segments").unwrap_or_default() as usize,
        speakers: whole("speakers").unwrap_or_default() as u8,
        model: get_text(item, "model").unwrap_or_default(),
        completed_at: time("completed_at").unwrap_or_default(),
        recording_duration: whole("recording_duration"),
        recording_created: time("recording_created"),
        call_sid: get_text(item, "call_sid"),
    })
}

/// Compressed JSON: two hours of speech with the time of every word stay below an item's 400 KB.
fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, TranscriptsError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut encoder, value).map_err(|error| TranscriptsError(error.to_string()))?;
    encoder.finish().map_err(|error| TranscriptsError(error.to_string()))
}

fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, TranscriptsError> {
    serde_json::from_reader(BufReader::new(DeflateDecoder::new(packed)))
        .map_err(|error| TranscriptsError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_survives_the_table_even_when_nothing_was_said() {
        for words in ["", "Grüezi — hello"] {
            let segment = Segment {
                start: 0.1,
                end: 1.7,
                text: words.into(),
                channel: Some(1),
            };
            let word = Word {
                start: 0.1,
                end: 0.7,
                word: words.into(),
                channel: None,
            };
            let transcript = Transcript {
                speech: Speech {
                    text: words.into(),
                    segments: vec![segment],
                    words: vec![word],
                },
                language: Some("english".into()),
                audio_seconds: Some(45.25),
                billed_seconds: 46,
                cost_usd: 0.0046,
                dropped_segments: 3,
                speakers: 2,
                model: "whisper-1".into(),
                completed_at: "2024-01-15T10:35:00Z".parse().unwrap(),
                recording_duration: Some(45),
                recording_created: "2024-01-15T10:30:00Z".parse().ok(),
                call_sid: Some("CA1234567890abcdef".into()),
            };
            let mut item = item_from_transcript(&transcript);
            item.insert("state".into(), text("completed"));
            let speech = pack(&transcript.speech).unwrap();
            item.insert("speech".into(), AttributeValue::B(Blob::new(speech)));
            assert_eq!(known(&item).unwrap(), Known::Completed(Box::new(transcript)));
        }
    }

    #[test]
    fn two_hours_of_speech_fit_into_an_item() {
        let word = |n: u32| Word {
            start: f64::from(n) * 0.4137,
            end: f64::from(n) * 0.4137 + 0.31,
            word: format!("word{}", n * 7919 % 3001),
            channel: None,
        };
        let words: Vec<Word> = (0..18_000).map(word).collect();
        let text = words
            .iter()
            .map(|word| word.word.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        assert!(
            pack(&Speech {
                text,
                segments: Vec::new(),
                words
            })
            .unwrap()
            .len()
                < 380_000
        );
    }

    #[test]
    fn a_variant_stands_for_its_options_alone() {
        let options = |language: Option<&str>, prompt: Option<&str>| Options {
            language: language.map(str::to_owned),
            prompt: prompt.map(str::to_owned),
            ..Options::default()
        };
        assert_eq!(Variant::of(&options(None, None)).as_str(), "default");
        let variants = [
            options(Some("en"), None),
            options(None, Some("en")),
            options(Some("e"), Some("n")),
            options(Some("de"), None),
            Options {
                mixed: true,
                ..Options::default()
            },
        ];
        let words: std::collections::HashSet<String> = variants.iter().map(|options| Variant::of(options).0).collect();
        assert_eq!(words.len(), variants.len());
        assert!(words.iter().all(|word| Variant::parse(word).is_some()));
        for junk in ["", "DEFAULT", "0123456789ABCDEF", "0123", "#########default"] {
            assert_eq!(Variant::parse(junk), None);
        }
    }
}
