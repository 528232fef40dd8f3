//! Errors of one attempt to transcribe, and the failures that are stored and returned for them.

use std::{borrow::Cow, fmt, io, time::Duration};

use crate::{
    calls::ResolveError,
    clients::{bucket::BucketError, twilio::TwilioError, whisper::WhisperError},
    retry::{Classify, Retry},
    split::SplitError,
    transcripts::{Failure, INTERRUPTED, TranscriptsError},
};

/// The failure code for an object that was overwritten after it was resolved and before it was read.
pub const OVERWRITTEN: &str = "recording_overwritten";

/// The pause before requesting media again that Twilio does not have yet.
const NOT_YET: Duration = Duration::from_secs(1);

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum TranscribeError {
    /// The download from Twilio failed.
    Twilio(TwilioError),
    /// Twilio does not have the audio of a call that has just ended. Media can be available later than the metadata.
    NotYet,
    /// The download from the bucket failed.
    Bucket(BucketError),
    /// The file is not audio, or it can't be decoded.
    NotAudio,
    /// The audio is in a codec that neither this system nor the transcription API decodes.
    UnsupportedCodec(String),
    /// The file claims more audio than a file of its size can hold.
    Implausible,
    /// The audio is empty.
    Empty,
    /// The audio could not be stored on disk.
    Disk(io::Error),
    /// A part could not be encoded.
    Encoding,
    /// The request to the transcription API failed.
    Whisper(WhisperError),
    /// The price exceeds the remaining monthly budget.
    OverBudget,
    /// The transcripts table did not respond.
    Table(TranscriptsError),
    /// Another process holds the lease now.
    LeaseLost,
    /// There is not enough time; the next invocation continues.
    OutOfTime,
    /// The transcription API takes less at once than the recording was cut for. It has to be cut again.
    LimitsLearned,
}

impl Classify for TranscribeError {
    fn retry(&self) -> Retry {
        match self {
            Self::Twilio(error) => error.retry(),
            Self::NotYet => Retry::After(Some(NOT_YET)),
            Self::Bucket(BucketError::Unavailable(_)) => Retry::After(None),
            Self::Whisper(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

impl TranscribeError {
    /// Whether the deadline was reached, as opposed to a failed attempt.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Twilio(TwilioError::Timeout) | Self::Whisper(WhisperError::Timeout) | Self::OutOfTime
        )
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Twilio(error) => error.is_transient(),
            Self::Whisper(error) => error.is_transient(),
            Self::NotYet | Self::Bucket(BucketError::Unavailable(_) | BucketError::Overwritten) | Self::Table(_) => {
                true
            }
            Self::LeaseLost | Self::OutOfTime | Self::LimitsLearned => true,
            _ => false,
        }
    }

    /// A stable code for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::Twilio(TwilioError::NotFound) | Self::NotYet => "media_not_found",
            Self::Twilio(error) => error.code(),
            Self::Bucket(BucketError::NotFound) => "recording_not_found",
            Self::Bucket(BucketError::NoSuchBucket) => "s3_not_configured",
            Self::Bucket(BucketError::Archived) => "recording_archived",
            Self::Bucket(BucketError::Overwritten) => OVERWRITTEN,
            Self::Bucket(BucketError::AccessDenied) => "storage_access_denied",
            Self::Bucket(BucketError::Unavailable(_)) => "storage_unavailable",
            Self::NotAudio => "media_not_audio",
            Self::Empty => "media_empty",
            Self::Disk(error) if is_full(error) => "audio_too_large",
            Self::Disk(_) => "internal_error",
            Self::Encoding | Self::UnsupportedCodec(_) | Self::Implausible => "audio_unsupported",
            Self::Whisper(error) => error.code(),
            Self::OverBudget => "budget_exceeded",
            Self::Table(_) => "database_unavailable",
            Self::LeaseLost | Self::OutOfTime | Self::LimitsLearned => INTERRUPTED,
        }
    }

    /// The message for the caller.
    fn user_message(&self) -> Cow<'static, str> {
        let message = match self {
            Self::UnsupportedCodec(codec) => return format!("The recording's codec cannot be decoded: {codec}").into(),
            Self::Twilio(TwilioError::NotFound) => "Twilio does not have the recording's audio",
            Self::Twilio(error) => error.user_message(),
            Self::NotYet => "Twilio does not have the audio yet",
            Self::Bucket(BucketError::NotFound) => "The recording is no longer in the bucket",
            Self::Bucket(BucketError::Archived) => "The recording is archived in S3 Glacier and must be restored first",
            Self::Bucket(BucketError::Overwritten) => "The recording was overwritten while it was read",
            Self::Bucket(BucketError::NoSuchBucket) => "The recordings bucket does not exist",
            Self::Bucket(BucketError::AccessDenied) => "This deployment may not read the recording in its bucket",
            Self::Bucket(BucketError::Unavailable(_)) => "The recordings bucket is not reachable right now",
            Self::NotAudio => "The recording is not audio, or none that can be decoded",
            Self::Implausible => "The recording claims to be longer than a file of its size can be",
            Self::Empty => "The recording has no audio",
            Self::Disk(error) if is_full(error) => "The recording is larger than this deployment's disk",
            Self::Disk(_) => "The audio could not be kept for the upload",
            Self::Encoding => "A part of the recording could not be encoded",
            Self::Whisper(error) => error.user_message(),
            Self::OverBudget => "This month's transcription budget is used up",
            Self::Table(_) => "Stored transcripts can't be reached right now",
            Self::LeaseLost | Self::OutOfTime | Self::LimitsLearned => "The transcription was interrupted",
        };
        message.into()
    }

    /// The transcription API's own sentence, if there is one that can be shown.
    fn server_sentence(&self) -> Option<&str> {
        match self {
            Self::Whisper(error) => error.server_sentence(),
            _ => None,
        }
    }
}

impl fmt::Display for TranscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twilio(error) => error.fmt(f),
            Self::Bucket(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::Whisper(error) => error.fmt(f),
            Self::Table(error) => error.fmt(f),
            _ => f.write_str(&self.user_message()),
        }
    }
}

impl From<SplitError> for TranscribeError {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::Empty => Self::Empty,
            SplitError::Unsupported => Self::NotAudio,
            SplitError::UnsupportedCodec(codec) => Self::UnsupportedCodec(codec),
            SplitError::Implausible => Self::Implausible,
            SplitError::Cancelled => Self::OutOfTime,
            SplitError::Io(error) => Self::Disk(error),
            SplitError::Encoding => Self::Encoding,
        }
    }
}

impl From<TranscribeError> for Failure {
    fn from(error: TranscribeError) -> Self {
        Self {
            code: error.code().into(),
            message: match error.server_sentence() {
                Some(sentence) => format!("{}: {sentence}", error.user_message()),
                None => error.user_message().into(),
            },
            retryable: error.is_transient(),
            retry_after: match error.retry() {
                Retry::After(after) => after,
                Retry::Never => None,
            },
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Bucket(error) => TranscribeError::Bucket(error).into(),
            ResolveError::NotCopied(missing) => Self {
                code: "recording_not_archived".into(),
                message: "The recording is at Twilio and not in the bucket".into(),
                retryable: missing.is_copying,
                retry_after: None,
            },
            ResolveError::Calls(_) => Self {
                code: "database_unavailable".into(),
                message: "The index of calls does not answer right now".into(),
                retryable: true,
                retry_after: None,
            },
            ResolveError::TooManySearches(exceeded) => Self {
                code: "rate_limited".into(),
                message: "The bucket was searched too often within a minute".into(),
                retryable: true,
                retry_after: Some(exceeded.0.reset),
            },
        }
    }
}

impl From<TwilioError> for Failure {
    fn from(error: TwilioError) -> Self {
        TranscribeError::Twilio(error).into()
    }
}
