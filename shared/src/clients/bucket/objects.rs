//! Reads the recordings in the bucket.

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::DateTime,
    types::{Object, ObjectStorageClass, OptionalObjectAttributes, RequestPayer, RestoreStatus, StorageClass},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        aws::{Aws, cause, causes},
        twilio::RecordingSid,
    },
    config::{ConfigError, Env},
    ids::DispatchPattern,
    names::{Ignored, RecordingName, RecordingNames},
    time::utc_day,
};

/// Metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size: i64,
    /// ETag without quotes.
    pub etag: Option<String>,
    /// When the object was last modified.
    pub modified: Option<Timestamp>,
    /// Whether it is in an archive of S3 Glacier, from which it must be restored before it can be read.
    pub is_archived: bool,
}

/// A recording in a listing of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRecording {
    /// The object's key.
    pub key: String,
    /// The object's metadata.
    pub info: ObjectInfo,
    /// The values found in its name.
    pub name: RecordingName,
}

/// One object of the bucket as it was written once: an object that was overwritten has the same key and another ETag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingRef {
    /// Its S3 key.
    pub key: String,
    /// Its ETag without quotes; `None` where nobody has reported one.
    pub etag: Option<String>,
    /// Its size in bytes.
    pub size: Option<i64>,
    /// Whose copy it is, if it is the copy of a Twilio recording. The transcripts of the recording are those of its copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_sid: Option<RecordingSid>,
}

/// A recording in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingObject {
    /// The object's key.
    pub key: String,
    /// The object's size in bytes.
    pub size: i64,
    /// The object's ETag without quotes.
    pub etag: Option<String>,
    /// When the recording began, in Unix seconds, from its name.
    pub unix: i64,
    /// Whether it must be restored before it can be read.
    pub is_archived: bool,
}

/// A request to the bucket failed. An empty search result is not an error.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The bucket does not exist.
    #[error("the recordings bucket does not exist")]
    NoSuchBucket,
    /// The function's role may not list or read the bucket under the prefix.
    #[error("the recordings bucket refused access")]
    AccessDenied,
    /// The object does not exist.
    #[error("the recording is not in the bucket")]
    NotFound,
    /// The object is in an archive of S3 Glacier and must be restored before it can be read.
    #[error("the recording is archived")]
    Archived,
    /// The object was overwritten: it no longer has the ETag that was asked for.
    #[error("the recording was overwritten")]
    Overwritten,
    /// S3 did not answer, or not with what was asked for.
    #[error("the recordings bucket did not answer: {0}")]
    Unavailable(String),
}

impl BucketError {
    /// Whether S3 did not respond at all, so that other requests would probably fail, too.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::NoSuchBucket)
    }
}

/// One page of a listing of the bucket.
#[derive(Debug)]
pub struct KeyPage {
    /// The recordings on the page.
    pub recordings: Vec<ListedRecording>,
    /// The keys on the page that are not recordings, with the reasons.
    pub ignored: Vec<(String, Ignored)>,
    /// The last key of the page, after which the next page begins; `None` on the last page.
    pub last: Option<String>,
}

/// The bucket and the prefix under which LiveKit egress writes files, in folders by UTC day.
pub struct RecordingsBucket {
    pub(super) client: Client,
    pub(super) bucket: String,
    prefix: String,
    /// The prefix of the copies of Twilio's recordings.
    twilio_prefix: String,
    names: RecordingNames,
    /// Who pays for requests, if that is not the bucket's owner.
    pub(super) payer: Option<RequestPayer>,
}

impl RecordingsBucket {
    /// Reads `RECORDINGS_BUCKET`, `RECORDINGS_PREFIX` (default `egress-recordings/`), `TWILIO_PREFIX` (default `twilio-recordings/`),
    /// `RECORDINGS_REQUESTER_PAYS` and the variables of
    /// [`RecordingNames::from_env`]. `None` if no bucket is configured.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Option<Self>, ConfigError> {
        let names = RecordingNames::from_env(env)?;
        let Some(bucket) = env.optional("RECORDINGS_BUCKET").map(str::to_owned) else {
            return Ok(None);
        };
        let prefix = env
            .optional("RECORDINGS_PREFIX")
            .unwrap_or("egress-recordings/")
            .to_owned();
        let twilio_prefix = env.optional("TWILIO_PREFIX").unwrap_or("twilio-recordings/").to_owned();
        if prefix.starts_with(&twilio_prefix) || twilio_prefix.starts_with(&prefix) {
            return Err(ConfigError::Invalid {
                name: "TWILIO_PREFIX",
                expected: "a prefix outside RECORDINGS_PREFIX",
            });
        }
        Ok(Some(Self {
            twilio_prefix,
            client: Client::from_conf(aws.s3_config()),
            bucket,
            prefix,
            names,
            payer: requester_pays(env)?.then_some(RequestPayer::Requester),
        }))
    }

    /// The recordings of the dispatch's phone number that began at most `seconds` before or after it, ordered by time.
    ///
    /// The folder's date comes from the clock and time zone of the program that starts egress, so the days before and after are searched as
    /// well, concurrently.
    pub async fn recordings_near(
        &self,
        dispatch: &DispatchPattern,
        seconds: i64,
    ) -> Result<Vec<RecordingObject>, BucketError> {
        let day = Timestamp::from_second(dispatch.unix)
            .map(utc_day)
            .map_err(|error| BucketError::Unavailable(error.to_string()))?;
        let prefixes = [-1, 0, 1].into_iter().filter_map(|offset| {
            let day = day.checked_add(offset.days()).ok()?;
            Some(format!(
                "{}{}/outbound-{}_",
                self.prefix,
                day.strftime("%Y/%m/%d"),
                dispatch.phone
            ))
        });
        let found: Vec<Vec<RecordingObject>> = stream::iter(prefixes.map(|prefix| self.list(prefix)))
            .buffered(3)
            .try_collect()
            .await?;
        let window = dispatch.unix - seconds..=dispatch.unix + seconds;
        let mut candidates: Vec<RecordingObject> = found
            .into_iter()
            .flatten()
            .filter(|object| window.contains(&object.unix))
            .collect();
        candidates.sort_by(|a, b| (a.unix, &a.key).cmp(&(b.unix, &b.key)));
        Ok(candidates)
    }

    /// Opens a recording, unless it was overwritten: its size in bytes, and the bytes.
    pub async fn open(
        &self,
        recording: &RecordingRef,
    ) -> Result<
        (
            Option<u64>,
            impl Stream<Item = Result<Bytes, BucketError>> + Send + use<>,
        ),
        BucketError,
    > {
        let object = self.client.get_object().bucket(&self.bucket).key(&recording.key);
        let object = object.set_request_payer(self.payer.clone());
        let tag = recording.etag.as_ref().map(|etag| format!("\"{etag}\""));
        let object = object.set_if_match(tag).send().await.map_err(object_error)?;
        let length = object.content_length.and_then(|length| u64::try_from(length).ok());
        let bytes = stream::unfold(object.body, |mut body| async move {
            let chunk = body.next().await?;
            Some((chunk.map_err(|error| BucketError::Unavailable(causes(&error))), body))
        });
        Ok((length, bytes))
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.bucket
    }

    /// The values found in the name of an object, or why it is not a recording.
    pub fn name_of(&self, key: &str) -> Result<RecordingName, Ignored> {
        self.names.read(key)
    }

    /// The prefix of all recordings, with a trailing slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of the copy of a Twilio recording: its UTC day, its call and its SID.
    pub fn copy_key(&self, began: Timestamp, call_sid: &str, sid: &RecordingSid, extension: &str) -> String {
        let day = utc_day(began).strftime("%Y/%m/%d");
        format!("{}{day}/{call_sid}/{sid}.{extension}", self.twilio_prefix)
    }

    /// The call and the recording of a copy's key; `None` if the key is not one.
    pub fn copy_of(&self, key: &str) -> Option<(String, RecordingSid)> {
        let mut segments = key.strip_prefix(&self.twilio_prefix)?.rsplit('/');
        let (sid, _) = segments.next()?.rsplit_once('.')?;
        let sid = RecordingSid::parse(sid)?;
        Some((segments.next()?.to_owned(), sid))
    }

    /// The metadata of an object; `None` if it does not exist.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        let answer = head.set_request_payer(self.payer.clone()).send().await;
        match answer.map_err(object_error) {
            Ok(object) => Ok(Some(ObjectInfo {
                size: object.content_length().unwrap_or_default(),
                modified: object.last_modified().and_then(time),
                is_archived: match object.archive_status() {
                    // A tier of S3 Intelligent-Tiering.
                    Some(_) => !is_restored(object.restore()),
                    None => is_archive(object.storage_class()) && !is_restored(object.restore()),
                },
                etag: without_quotes(object.e_tag),
            })),
            Err(BucketError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists one page of at most `limit` (1000) keys after `after` that begin with [`RecordingsBucket::prefix`] and `folder`. Keys are in
    /// lexicographical order, which is also the order of days.
    pub async fn page(&self, folder: &str, after: Option<&str>, limit: i32) -> Result<KeyPage, BucketError> {
        let answer = self
            .client
            .list_objects_v2()
            .set_request_payer(self.payer.clone())
            .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
            .bucket(&self.bucket)
            .prefix(format!("{}{folder}", self.prefix))
            .set_start_after(after.map(str::to_owned))
            .max_keys(limit)
            .send()
            .await
            .map_err(list_error)?;
        let objects = answer.contents.unwrap_or_default();
        let last = objects.last().and_then(|object| object.key.clone());
        let (mut recordings, mut ignored) = (Vec::new(), Vec::new());
        for object in objects {
            let Some(key) = object.key.filter(|key| !key.ends_with('/')) else {
                continue;
            };
            let size = object.size.unwrap_or_default();
            let is_archived = is_archived(object.storage_class.as_ref(), object.restore_status.as_ref());
            match self.names.read(&key) {
                Ok(_) if size == 0 => ignored.push((key, Ignored::Empty)),
                Ok(name) => recordings.push(ListedRecording {
                    key,
                    info: ObjectInfo {
                        size,
                        etag: without_quotes(object.e_tag),
                        modified: object.last_modified.as_ref().and_then(time),
                        is_archived,
                    },
                    name,
                }),
                Err(reason) => ignored.push((key, reason)),
            }
        }
        Ok(KeyPage {
            recordings,
            ignored,
            last: last.filter(|_| answer.is_truncated == Some(true)),
        })
    }

    /// Lists all recordings whose keys begin with `prefix`.
    async fn list(&self, prefix: String) -> Result<Vec<RecordingObject>, BucketError> {
        let mut pages = self
            .client
            .list_objects_v2()
            .set_request_payer(self.payer.clone())
            .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
            .bucket(&self.bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(list_error)?;
            objects.extend(page.contents.unwrap_or_default().into_iter().filter_map(recording));
        }
        Ok(objects)
    }
}

pub(super) fn time(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

pub(super) fn without_quotes(etag: Option<String>) -> Option<String> {
    etag.map(|tag| tag.trim_matches('"').to_owned())
}

/// Reads `RECORDINGS_REQUESTER_PAYS` (default `false`): whether this account pays for reading a bucket of another one.
pub(in crate::clients) fn requester_pays(env: &Env) -> Result<bool, ConfigError> {
    match env.optional("RECORDINGS_REQUESTER_PAYS").unwrap_or("false") {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ConfigError::Invalid {
            name: "RECORDINGS_REQUESTER_PAYS",
            expected: "true or false",
        }),
    }
}

/// Whether objects of this class can't be read at once. S3 Glacier Instant Retrieval (`GLACIER_IR`) can.
fn is_archive(class: Option<&StorageClass>) -> bool {
    matches!(class, Some(StorageClass::Glacier | StorageClass::DeepArchive))
}

/// Whether the header `x-amz-restore` says that a restored copy can be read: `ongoing-request="false", expiry-date="..."`.
fn is_restored(header: Option<&str>) -> bool {
    header.is_some_and(|header| header.contains(r#"ongoing-request="false""#))
}

/// The same for a listed object, whose tier in S3 Intelligent-Tiering is not listed.
fn is_archived(class: Option<&ObjectStorageClass>, restored: Option<&RestoreStatus>) -> bool {
    let is_archive = matches!(
        class,
        Some(ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive)
    );
    let has_copy =
        |status: &RestoreStatus| status.is_restore_in_progress != Some(true) && status.restore_expiry_date.is_some();
    is_archive && !restored.is_some_and(has_copy)
}

/// Converts a listed object; `None` if it is not a recording. An empty file is a failed recording.
fn recording(object: Object) -> Option<RecordingObject> {
    let key = object.key?;
    Some(RecordingObject {
        is_archived: is_archived(object.storage_class.as_ref(), object.restore_status.as_ref()),
        unix: RecordingName::documented(&key)?.unix?,
        size: object.size.filter(|size| *size > 0)?,
        etag: without_quotes(object.e_tag),
        key,
    })
}

/// Converts an error of GetObject or HeadObject. A response to HEAD has no body and therefore no error code.
pub(super) fn object_error<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E>) -> BucketError {
    if code(&error) == Some("InvalidObjectState") {
        return BucketError::Archived;
    }
    match error.raw_response().map(|answer| answer.status().as_u16()) {
        Some(403) => BucketError::AccessDenied,
        Some(404) => BucketError::NotFound,
        Some(412) => BucketError::Overwritten,
        _ => BucketError::Unavailable(cause(&error)),
    }
}

/// The error of a request for a list, where 404 means that the bucket does not exist.
pub(super) fn list_error<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E>) -> BucketError {
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match (code(&error), status) {
        (Some("NoSuchBucket"), _) => BucketError::NoSuchBucket,
        (Some("AccessDenied"), _) | (_, Some(403)) => BucketError::AccessDenied,
        _ => BucketError::Unavailable(cause(&error)),
    }
}

/// S3's code of an error.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}
