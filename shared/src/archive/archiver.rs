//! Copies one recording, and deletes one at Twilio.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    error::CopyError,
    queue::{CopyQueue, DELETION_RETRY, MAX_ATTEMPTS},
    settings::{ArchiveMode, ArchiveSettings},
    transfer::{Source, Transferred, transfer},
    verify::verify,
};
use crate::{
    calls::{Calls, CopyResult, IndexedRecording, TwilioCopy, TwilioRecording},
    clients::{
        aws::Aws,
        bucket::{Completed, CopiedObject, RecordingsBucket, checksum_text},
        queue::CopyMessage,
        twilio::{MediaPlace, Recording, RecordingSid, RecordingStatus, Twilio},
    },
    config::{ConfigError, Env},
    ids::content_type,
    lifecycle::{DueList, Lifecycle},
    transcription::not_ready,
};

/// The pause before the second attempt, which doubles with each further one up to SQS's 15 minutes.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const INTERRUPTED: &str = "The upload of the copy was interrupted";
/// The metadata of a copy: whose it is, its channels, its length in seconds, and when it was created at Twilio.
const SID: &str = "recording-sid";
const CHANNELS: &str = "channels";
const DURATION: &str = "duration";
const CREATED: &str = "created";

/// Copies Twilio's recordings into the bucket.
pub struct Archiver {
    twilio: Twilio,
    bucket: RecordingsBucket,
    calls: Calls,
    lifecycle: Lifecycle,
    queue: CopyQueue,
    settings: ArchiveSettings,
}

/// The result of processing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// The bucket has the copy.
    Copied,
    /// Another attempt was queued.
    Retried,
    /// The recording can't be copied; the index has the reason.
    Failed,
    /// The recording was deleted at Twilio, or erased.
    Deleted,
}

impl Archiver {
    /// Reads the environment.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            twilio: Twilio::from_env(env, aws)?,
            bucket: RecordingsBucket::from_env(env, aws)?.ok_or(ConfigError::Missing("RECORDINGS_BUCKET"))?,
            calls: Calls::from_env(env, aws)?,
            lifecycle: Lifecycle::from_env(env, aws)?,
            queue: CopyQueue::from_env(env, aws)?,
            settings: ArchiveSettings::from_env(env)?,
        })
    }

    /// Reads the secret before the first message.
    pub async fn preload(&self) {
        tokio::join!(self.twilio.preload(), self.calls.preload());
    }

    /// Processes a message. An error means that not even the failure could be stored, so that SQS must deliver the message again.
    pub async fn process(&self, message: &CopyMessage, deadline: Instant) -> Result<Copied, CopyError> {
        let sid = &message.recording_sid;
        if message.delete {
            return self.delete_at_twilio(sid, deadline).await;
        }
        if self.calls.is_erased_recording(sid, None).await? {
            self.lifecycle.forget_recording(sid).await?;
            return Ok(Copied::Deleted);
        }
        self.lifecycle.note_copying(sid).await?;
        match self.copy(sid, deadline).await {
            Ok(()) => Ok(Copied::Copied),
            Err(CopyError::Erased) => {
                self.lifecycle.forget_recording(sid).await?;
                Ok(Copied::Deleted)
            }
            Err(error) if error.is_transient() && message.attempts + 1 < MAX_ATTEMPTS => {
                tracing::warn!(%error, attempts = message.attempts, "not copied; it will be tried again");
                let delay = FIRST_PAUSE * (1 << message.attempts.min(5));
                self.queue.retry(sid, message.attempts + 1, delay).await?;
                Ok(Copied::Retried)
            }
            Err(error) => {
                tracing::warn!(%error, "not copied");
                self.store_failure(sid, &error, deadline).await?;
                Ok(Copied::Failed)
            }
        }
    }

    /// Stores in the index why a recording was not copied, and ends its upload.
    async fn store_failure(&self, sid: &RecordingSid, error: &CopyError, deadline: Instant) -> Result<(), CopyError> {
        let known = self.calls.twilio_recording(sid).await?;
        let known = match known {
            Some(known) => Some((known.call_sid, known.recording)),
            // Not reported yet, so Twilio says which call it belongs to. A recording that Twilio does not know either has no place in the index.
            None => match self.twilio.recording(sid, deadline).await {
                Ok(recording) => Some((recording.call().to_owned(), TwilioRecording::from(&recording))),
                Err(_) => None,
            },
        };
        if let Some(upload) = self.lifecycle.copy_state(sid).await?.upload {
            self.bucket.abort_upload(&upload).await?;
        }
        let Some((call_sid, recording)) = known else {
            return Ok(self.lifecycle.forget_recording(sid).await?);
        };
        let recording = TwilioRecording {
            copy: None,
            ..recording
        };
        let failed = CopyResult::Failed(error.failure());
        self.calls.record_copy(&call_sid, &recording, &failed).await?;
        Ok(self.lifecycle.end_copy(sid).await?)
    }

    fn key(&self, call_sid: &str, sid: &RecordingSid, began: Option<Timestamp>, extension: &str) -> String {
        let began = began.unwrap_or(Timestamp::UNIX_EPOCH);
        self.bucket.copy_key(began, call_sid, sid, extension)
    }

    async fn copy(&self, sid: &RecordingSid, deadline: Instant) -> Result<(), CopyError> {
        if let Some(known) = self.calls.twilio_recording(sid).await?
            && let Some(copy) = known.recording.copied()
            && self.bucket.copied_object(&copy.key).await?.is_some()
        {
            return self.after_copy(sid, &known.recording.status).await;
        }
        let recording = self.twilio.recording(sid, deadline).await?;
        if let Some(failure) = not_ready(&recording, &self.twilio) {
            return Err(CopyError::Recording(failure));
        }
        let call_sid = recording.call();
        if self.calls.is_erased_recording(sid, Some(call_sid)).await? {
            return Err(CopyError::Erased);
        }
        let row = TwilioRecording::from(&recording);
        let external = match self.twilio.media_place(&recording) {
            MediaPlace::External(url) => Some(url),
            MediaPlace::Twilio | MediaPlace::NotAllowed => None,
        };
        let extension = match &external {
            Some(url) => extension_of(url.path()),
            None => self.settings.format.extension(),
        };
        let key = self.key(call_sid, sid, row.start_time, extension);
        let copy = match self.bucket.copied_object(&key).await? {
            Some(object) => adopted(sid, &key, object, None)?,
            None => {
                let source = match external {
                    Some(url) => Source::External {
                        twilio: &self.twilio,
                        url,
                    },
                    None => Source::Twilio {
                        twilio: &self.twilio,
                        sid,
                        format: self.settings.format,
                        both_channels: recording.channels.unwrap_or(1) > 1,
                    },
                };
                self.upload(sid, &key, extension, &recording, &source, deadline).await?
            }
        };
        self.calls
            .record_copy(call_sid, &row, &CopyResult::Copied(copy))
            .await?;
        self.after_copy(sid, &row.status).await
    }

    /// Uploads the recording, and completes the upload only when it is verified.
    async fn upload(
        &self,
        sid: &RecordingSid,
        key: &str,
        extension: &'static str,
        recording: &Recording,
        source: &Source<'_>,
        deadline: Instant,
    ) -> Result<TwilioCopy, CopyError> {
        let content_type = content_type(key);
        let metadata = metadata(sid, recording);
        let stored = self.lifecycle.copy_state(sid).await?.upload;
        let known = match &stored {
            Some(upload) if upload.key == key => self.bucket.uploaded_parts(upload).await?,
            // The format was another one, so that nothing of it can be used.
            Some(upload) => {
                self.bucket.abort_upload(upload).await?;
                None
            }
            None => None,
        };
        let (upload, known) = match (stored, known) {
            (Some(upload), Some(known)) => (upload, known),
            (stored, _) => {
                let upload = self.bucket.begin_upload(key, content_type, &metadata).await?;
                let is_stored = self.lifecycle.put_upload(sid, &upload, stored.as_ref()).await?;
                // An erasure that began meanwhile either sees this upload and ends it, or is seen here.
                let is_erased = self.calls.is_erased_recording(sid, Some(recording.call())).await?;
                if is_erased || !is_stored {
                    self.bucket.abort_upload(&upload).await?;
                }
                match (is_erased, is_stored) {
                    (true, _) => return Err(CopyError::Erased),
                    (false, false) => return Err(CopyError::transient("copy_interrupted", INTERRUPTED)),
                    (false, true) => (upload, BTreeMap::new()),
                }
            }
        };
        let received = transfer(source, &self.bucket, &upload, &known, deadline).await?;
        let Transferred { parts, crc, size, file } = received;
        let analysis = verify(file, extension, recording.duration, deadline).await?;
        // Mixed into one channel, the two sides can't be told apart any more.
        if analysis.channels < 2 && recording.channels == Some(2) && matches!(source, Source::Twilio { .. }) {
            let message = "Twilio states two channels and sent one, so it was not stored";
            return Err(CopyError::transient("copy_mono", message));
        }
        match self.bucket.complete_upload(&upload, &parts, crc).await? {
            Completed::Written => {}
            // Another worker was faster, or the parts changed under this one: what is there now decides.
            Completed::Exists => self.bucket.abort_upload(&upload).await?,
            Completed::Gone => {}
        }
        let Some(object) = self.bucket.copied_object(key).await? else {
            return Err(CopyError::transient("copy_interrupted", INTERRUPTED));
        };
        let expected = (i64::try_from(size).unwrap_or(i64::MAX), checksum_text(crc));
        adopted(sid, key, object, Some(expected)).map(|copy| TwilioCopy {
            channels: u32::from(analysis.channels),
            duration: analysis.seconds.round() as i64,
            ..copy
        })
    }

    /// Ends the copy, or notes when the recording is to be deleted at Twilio.
    async fn after_copy(&self, sid: &RecordingSid, status: &RecordingStatus) -> Result<(), CopyError> {
        self.lifecycle.end_copy(sid).await?;
        if self.settings.mode == ArchiveMode::Move && status.is_completed() {
            let at = Timestamp::now() + self.settings.move_after;
            self.lifecycle.make_due(sid, DueList::Move, at).await?;
        }
        Ok(())
    }

    /// Deletes a recording at Twilio whose copy is still in the bucket as it was verified.
    async fn delete_at_twilio(&self, sid: &RecordingSid, deadline: Instant) -> Result<Copied, CopyError> {
        // The deployment may have changed its mind since the recording was copied.
        if self.settings.mode != ArchiveMode::Move {
            self.lifecycle.end_copy(sid).await?;
            return Ok(Copied::Copied);
        }
        let Some(known) = self.calls.twilio_recording(sid).await? else {
            self.lifecycle.end_copy(sid).await?;
            return Ok(Copied::Failed);
        };
        match self.delete_copied(sid, &known, deadline).await {
            Ok(()) => {
                self.lifecycle.end_copy(sid).await?;
                Ok(Copied::Deleted)
            }
            Err(error) => {
                tracing::warn!(%error, "not deleted at Twilio; it will be tried again");
                let at = Timestamp::now() + DELETION_RETRY;
                let reason = error.failure().reason;
                self.lifecycle.postpone(sid, DueList::Move, at, &reason).await?;
                Ok(Copied::Retried)
            }
        }
    }

    async fn delete_copied(
        &self,
        sid: &RecordingSid,
        known: &IndexedRecording,
        deadline: Instant,
    ) -> Result<(), CopyError> {
        if known.call.hold.is_some() {
            return Err(CopyError::transient(
                "recording_held",
                "The call is held, so Twilio keeps the recording, too",
            ));
        }
        let copy = known.recording.copied();
        let copy = copy.ok_or_else(|| CopyError::permanent("copy_missing", "The recording has no copy"))?;
        let stored = self.bucket.copied_object(&copy.key).await?;
        let is_verified = |object: CopiedObject| object.size == copy.size && object.etag == copy.etag;
        if copy.overwritten || !stored.is_some_and(is_verified) {
            return Err(CopyError::transient(
                "copy_changed",
                "The copy in the bucket is missing or is not the one that was verified, so Twilio keeps the recording",
            ));
        }
        self.twilio.delete_recording(sid, deadline).await?;
        let deleted = TwilioRecording {
            status: RecordingStatus::new("deleted"),
            copy: None,
            ..known.recording.clone()
        };
        let calls = &self.calls;
        Ok(calls
            .record_twilio_recording(&known.call_sid, &deleted, None, None)
            .await?)
    }
}

/// The extension of a file in external storage, whose name may have none.
fn extension_of(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "mp3")) => "mp3",
        _ => "wav",
    }
}

fn metadata(sid: &RecordingSid, recording: &Recording) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(SID.to_owned(), sid.to_string())]);
    let known = [
        (CHANNELS, recording.channels.map(|channels| channels.to_string())),
        (DURATION, recording.duration.map(|seconds| seconds.to_string())),
        (CREATED, recording.date_created.map(|created| created.to_string())),
    ];
    metadata.extend(
        known
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?))),
    );
    metadata
}

/// The object under the key of a copy as that copy. An upload is completed only when it is verified, so that the object with the recording's SID
/// is the whole recording.
fn adopted(
    sid: &RecordingSid,
    key: &str,
    object: CopiedObject,
    expected: Option<(i64, String)>,
) -> Result<TwilioCopy, CopyError> {
    let is_ours = object.metadata.get(SID).is_some_and(|owner| owner == sid.as_str());
    let is_expected = expected.is_none_or(|(size, checksum)| {
        object.size == size && object.checksum.as_ref().is_none_or(|stored| *stored == checksum)
    });
    if !is_ours || !is_expected {
        return Err(CopyError::permanent(
            "copy_conflict",
            "The bucket has another object under the key of the copy, which is not overwritten",
        ));
    }
    let number = |name: &str| object.metadata.get(name).and_then(|text| text.parse::<i64>().ok());
    Ok(TwilioCopy {
        key: key.to_owned(),
        etag: object.etag,
        size: object.size,
        content_type: object.content_type.unwrap_or_default(),
        channels: number(CHANNELS)
            .and_then(|channels| channels.try_into().ok())
            .unwrap_or(1),
        duration: number(DURATION).unwrap_or_default(),
        created: object.metadata.get(CREATED).and_then(|text| text.parse().ok()),
        in_glacier: false,
        overwritten: false,
    })
}
