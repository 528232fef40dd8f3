//! Why a recording was not copied.

use std::io;

use crate::{
    calls::{CallsError, CopyFailure},
    clients::{bucket::BucketError, queue::QueueError, twilio::TwilioError},
    lifecycle::LifecycleError,
    transcripts::Failure,
};

/// A recording was not copied, or not deleted at Twilio.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Twilio did not answer, or not with the recording.
    #[error(transparent)]
    Twilio(#[from] TwilioError),
    /// S3 did not take the copy.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A request to the calls table failed.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// A request to the lifecycle table failed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// A message could not be sent.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The disk of the function is full, or could not be written.
    #[error("the recording could not be stored on disk: {0}")]
    Disk(#[from] io::Error),
    /// It was erased, or its call.
    #[error("the recording was erased")]
    Erased,
    /// The recording itself can't be copied, or not now.
    #[error("{}", .0.message)]
    Recording(Failure),
}

impl CopyError {
    /// A failure of this recording that another attempt may change.
    pub(super) fn transient(code: &str, message: impl Into<String>) -> Self {
        Self::Recording(Failure::transient(code, message))
    }

    /// A failure of this recording that no other attempt changes.
    pub(super) fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self::Recording(Failure::permanent(code, message))
    }

    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Recording(failure) => failure.retryable,
            // Twilio may have the media a little later than it reports the recording.
            Self::Twilio(TwilioError::NotFound) => true,
            Self::Twilio(error) => error.is_transient() || error.is_outage(),
            _ => true,
        }
    }

    /// What the index and the report say of it.
    pub fn failure(&self) -> CopyFailure {
        let (code, reason) = match self {
            Self::Recording(failure) => (failure.code.as_str(), failure.message.clone()),
            Self::Twilio(TwilioError::NotFound) => {
                ("recording_not_found", "Twilio does not have the recording".to_owned())
            }
            Self::Twilio(error) => (error.code(), error.user_message().to_owned()),
            Self::Bucket(BucketError::AccessDenied) => (
                "s3_access_denied",
                "The recordings bucket refused to store the copy".to_owned(),
            ),
            Self::Bucket(_) => ("s3_unavailable", "S3 did not take the copy".to_owned()),
            Self::Calls(_) | Self::Lifecycle(_) => ("database_unavailable", "The database did not answer".to_owned()),
            Self::Erased => ("recording_erased", "The recording was erased".to_owned()),
            Self::Queue(_) => ("queue_unavailable", "The queue did not answer".to_owned()),
            Self::Disk(_) => (
                "disk_full",
                "The function's disk could not hold the recording".to_owned(),
            ),
        };
        CopyFailure {
            code: code.to_owned(),
            reason: format!("{reason}."),
        }
    }
}
