//! From the name of a recording to what can be transcribed, or to why it can't be.

use super::{Origin, Subject};
use crate::{
    calls::CallsError,
    dispatch::DispatchId,
    queue::Source,
    recordings::Recordings,
    transcripts::Failure,
    twilio::{MediaPlace, Recording, RecordingSid, StatusGroup, Twilio},
    whisper::Options,
};

fn final_failure(code: &str, message: impl Into<String>) -> Failure {
    Failure {
        code: code.into(),
        message: message.into(),
        retryable: false,
        retry_after: None,
    }
}

/// What keeps a recording from being transcribed now; `None` when nothing does.
pub fn obstacle(recording: &Recording, twilio: &Twilio) -> Option<Failure> {
    let status = recording.status.as_str();
    let group = StatusGroup::of(status);
    if group != StatusGroup::Completed {
        let message = format!("Recording not completed (status={status})");
        return Some(Failure {
            retryable: group == StatusGroup::InProgress,
            ..final_failure("recording_not_completed", message)
        });
    }
    if recording.encryption_details.is_some() {
        let message = "The recording is encrypted with a key that only its owner has";
        return Some(final_failure("recording_encrypted", message));
    }
    if recording.media_place(twilio) == MediaPlace::OutOfBounds {
        let message = "Twilio does not have the audio; the recording is in external storage, and this deployment's EXTERNAL_MEDIA_HOSTS does \
                       not name its host";
        return Some(final_failure("recording_stored_externally", message));
    }
    None
}

impl<'a> Subject<'a> {
    /// A Twilio recording without an [`obstacle`].
    pub fn twilio(twilio: &'a Twilio, sid: &'a RecordingSid, recording: &Recording, options: &Options) -> Self {
        let channels = recording.channels.unwrap_or(1);
        let origin = match recording.media_place(twilio) {
            MediaPlace::External(url) => Origin::External { twilio, url },
            MediaPlace::Twilio | MediaPlace::OutOfBounds => Origin::Twilio {
                twilio,
                sid,
                both_channels: channels > 1 && !options.mixed,
            },
        };
        Self {
            source: Source::Twilio(sid.clone()),
            origin,
            seconds: recording.duration,
            channels,
            created: recording.date_created,
            call_sid: recording.call_sid.clone(),
        }
    }

    /// The recording of a call over LiveKit, with the length that its interaction reported.
    pub async fn egress(recordings: &'a Recordings, id: &DispatchId, key: String) -> Result<Self, CallsError> {
        let call = recordings.calls.get(id).await?;
        let seconds = call.and_then(|call| call.duration);
        Ok(Self {
            source: Source::Egress(id.clone()),
            origin: Origin::Bucket {
                egress: &recordings.egress,
                key,
            },
            seconds: seconds.and_then(|seconds| u64::try_from(seconds).ok()),
            // Perhaps: LiveKit can record the agent on a channel of its own.
            channels: 2,
            created: None,
            call_sid: None,
        })
    }
}
