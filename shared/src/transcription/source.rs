//! The source of a recording's audio, or why the recording can't be transcribed now.

use jiff::Timestamp;

use super::media::Origin;
use crate::{
    calls::{CallRecording, Calls, IndexedRecording},
    clients::{
        bucket::{RecordingRef, RecordingsBucket},
        twilio::{MediaPlace, Recording, RecordingSid, StatusGroup, Twilio},
        whisper::WhisperOptions,
    },
    transcripts::{AudioId, Failure},
};

/// Why a recording can't be transcribed now; `None` if it can.
pub fn not_ready(recording: &Recording, twilio: &Twilio) -> Option<Failure> {
    let status = &recording.status;
    if !status.is_completed() {
        let message = format!("Recording not completed (status={})", status.as_str());
        return Some(Failure {
            retryable: status.group() == StatusGroup::InProgress,
            ..Failure::permanent("recording_not_completed", message)
        });
    }
    if recording.encryption_details.is_some() {
        let message = "The recording is encrypted with a key that only its owner has";
        return Some(Failure::permanent("recording_encrypted", message));
    }
    if twilio.media_place(recording) == MediaPlace::NotAllowed {
        let message = "Twilio does not have the audio; the recording is in external storage, and this deployment's EXTERNAL_MEDIA_HOSTS does \
                       not name its host";
        return Some(Failure::permanent("recording_stored_externally", message));
    }
    None
}

/// A recording to transcribe, and its known metadata.
pub struct RecordingSource<'a> {
    /// The identity of the audio.
    pub audio: AudioId,
    /// Where the audio is stored.
    pub origin: Origin<'a>,
    /// The recording's length in seconds.
    pub seconds: Option<u64>,
    /// The maximum number of channels.
    pub channels: u32,
    /// When the recording was created.
    pub created: Option<Timestamp>,
    /// Twilio's SID of the call.
    pub call_sid: Option<String>,
    /// The customer's name; of a Twilio recording it is looked up when a prompt needs it.
    pub customer_name: Option<String>,
}

impl<'a> RecordingSource<'a> {
    /// The source of a Twilio recording for which [`not_ready`] returns `None`.
    pub fn twilio(twilio: &'a Twilio, sid: &'a RecordingSid, recording: &Recording, options: &WhisperOptions) -> Self {
        let channels = recording.channels.unwrap_or(1);
        let origin = match twilio.media_place(recording) {
            MediaPlace::External(url) => Origin::External { twilio, url },
            MediaPlace::Twilio | MediaPlace::NotAllowed => Origin::Twilio {
                twilio,
                sid,
                both_channels: channels > 1 && !options.mixed,
            },
        };
        Self {
            audio: AudioId::Twilio(sid.clone()),
            origin,
            seconds: recording.duration,
            channels,
            created: recording.date_created,
            call_sid: recording.call_sid.clone(),
            customer_name: None,
        }
    }

    /// The copy of a Twilio recording as its source; `None` if it has none that can be read now, or if the index does not answer: Twilio may
    /// still have the recording.
    pub async fn copied(bucket: &'a RecordingsBucket, calls: &Calls, sid: &RecordingSid) -> Option<Self> {
        let found = calls.twilio_recording(sid).await;
        let found = found.inspect_err(|error| tracing::warn!(%error, "the copy was not looked up"));
        Self::of_copy(bucket, sid, &found.ok()??)
    }

    fn of_copy(bucket: &'a RecordingsBucket, sid: &RecordingSid, found: &IndexedRecording) -> Option<Self> {
        let copy = found.recording.readable_copy()?;
        Some(Self {
            audio: AudioId::Twilio(sid.clone()),
            origin: Origin::Bucket {
                bucket,
                recording: RecordingRef {
                    key: copy.key.clone(),
                    etag: copy.etag.clone(),
                    size: Some(copy.size),
                    recording_sid: Some(sid.clone()),
                },
            },
            seconds: found.recording.duration.and_then(|seconds| u64::try_from(seconds).ok()),
            channels: copy.channels,
            created: copy.created,
            call_sid: Some(found.call_sid.clone()),
            customer_name: found.call.customer_name.clone(),
        })
    }

    /// The source of a call's recording in the bucket, with the length that its interaction reported.
    pub fn egress(bucket: &'a RecordingsBucket, found: &CallRecording) -> Self {
        let copied = found.copy.as_ref().map(|copy| copy.duration);
        let seconds = copied.or(found.call.as_ref().and_then(|call| call.duration));
        Self {
            audio: AudioId::Object(found.recording.clone()),
            origin: Origin::Bucket {
                bucket,
                recording: found.recording.clone(),
            },
            seconds: seconds.and_then(|seconds| u64::try_from(seconds).ok()),
            // There may be two: LiveKit can record the agent on a separate channel.
            channels: found.copy.as_ref().map_or(2, |copy| copy.channels),
            created: found.copy.as_ref().and_then(|copy| copy.created),
            call_sid: found
                .call
                .as_ref()
                .and_then(|call| call.call_sid.clone())
                .filter(|_| found.copy.is_some()),
            customer_name: found.call.as_ref().and_then(|call| call.customer_name.clone()),
        }
    }
}
