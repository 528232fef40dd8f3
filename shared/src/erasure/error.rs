//! Errors of erasures.

use crate::{
    audit::AuditError,
    calls::CallsError,
    clients::{bucket::BucketError, queue::QueueError, secrets::SecretError, twilio::TwilioError},
    lifecycle::LifecycleError,
    shares::SharesError,
    transcripts::TranscriptsError,
};

/// A step of an erasure failed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// A request to the calls table failed.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// A request to the lifecycle table failed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// A request to the transcripts table failed.
    #[error(transparent)]
    Transcripts(#[from] TranscriptsError),
    /// A request to the shares table failed.
    #[error(transparent)]
    Shares(#[from] SharesError),
    /// A request to the audit table failed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// S3 did not delete.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// Twilio did not delete.
    #[error(transparent)]
    Twilio(#[from] TwilioError),
    /// A message could not be sent.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The key of receipts can't be used.
    #[error("the key of receipts can't be used: {0}")]
    Key(#[from] SecretError),
    /// The stored erasure can't be used.
    #[error("{0}")]
    Invalid(String),
}

impl ErasureError {
    /// A stable code for programs, and a sentence.
    pub(super) fn explain(&self) -> (&'static str, String) {
        match self {
            Self::Bucket(BucketError::AccessDenied) => (
                "s3_access_denied",
                "The bucket refuses to delete the recording; the role needs s3:DeleteObjectVersion.".to_owned(),
            ),
            Self::Bucket(_) => ("s3_unavailable", "S3 did not delete the recording.".to_owned()),
            Self::Twilio(error) => (error.code(), format!("{}.", error.user_message())),
            Self::Queue(_) => ("queue_unavailable", "The queue did not answer.".to_owned()),
            Self::Key(_) | Self::Invalid(_) => ("erasure_failed", "The erasure can't be continued.".to_owned()),
            Self::Calls(_) | Self::Lifecycle(_) | Self::Transcripts(_) | Self::Shares(_) | Self::Audit(_) => {
                ("database_unavailable", "The database did not answer.".to_owned())
            }
        }
    }
}
