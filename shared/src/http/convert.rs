//! Converts the errors of the lower floors to error responses. No other module does.

use lambda_http::http::StatusCode;

use super::error::{ApiError, ErrorFormat, recording_archived, recording_not_archived, s3_missing};
use crate::{
    archive::CopyError,
    audit::AuditError,
    calls::{CallsError, KeepError, ListError, MAX_OFFSET, ResolveError},
    clients::{
        bucket::BucketError, livekit::LiveKitError, presign::PresignError, queue::QueueError, secrets::SecretError,
        twilio::TwilioError,
    },
    erasure::ErasureError,
    limits::{Allowance, LimitExceeded},
    shares::SharesError,
    transcription::{AdoptError, EnqueueError},
    transcripts::{Failure, TranscriptsError},
};

/// The purpose of a secret, which selects the error message.
#[derive(Debug, Clone, Copy)]
pub enum SecretUse {
    /// Checking API keys.
    ApiKeys,
    /// Presigning URLs.
    Signer,
    /// Verifying LiveKit's webhooks.
    LiveKit,
}

impl ApiError {
    /// 503 if the secret can't be read right now, 500 (for a webhook 404) if it is missing or malformed.
    pub fn from_secret(error: SecretError, needed_for: SecretUse) -> Self {
        let (unavailable, unusable) = match needed_for {
            SecretUse::ApiKeys => (
                (
                    "api_keys_unavailable",
                    "API keys can't be checked right now. Try again shortly.",
                ),
                (
                    "api_keys_not_configured",
                    "This deployment has no usable API keys configured.",
                ),
            ),
            SecretUse::Signer => (
                (
                    "signer_unavailable",
                    "Recording URLs can't be signed right now. Try again shortly.",
                ),
                (
                    "signer_not_configured",
                    "Recording URLs can't be signed: this deployment's signing keys are not usable.",
                ),
            ),
            SecretUse::LiveKit => (
                (
                    "livekit_secret_unavailable",
                    "Webhooks can't be checked right now. Try again shortly.",
                ),
                (
                    "livekit_not_configured",
                    "This deployment has no usable LiveKit key configured.",
                ),
            ),
        };
        match error {
            SecretError::Unavailable(..) => Self::unavailable(unavailable.0, unavailable.1),
            // An anonymous request to a webhook that nobody configured is no fault of the deployment.
            _ if matches!(needed_for, SecretUse::LiveKit) => Self::not_found(unusable.0, unusable.1),
            SecretError::Missing(_) | SecretError::Malformed(_) => Self::internal(unusable.0, unusable.1),
        }
        .caused_by(error)
    }

    /// 404 if Twilio has no such resource, otherwise 500, marked as retryable if the error is transient.
    pub fn from_twilio(error: TwilioError, message: impl Into<String>) -> Self {
        let answer = match error {
            TwilioError::NotFound => Self::not_found(error.code(), message),
            _ => Self::internal(error.code(), message),
        };
        answer
            .transient(error.is_transient(), error.retry_after())
            .caused_by(error)
    }

    /// The documented 500 for a failed transcription, or 402 if the budget is exceeded.
    pub fn not_transcribed(format: ErrorFormat, failure: Failure) -> Self {
        if failure.code == "budget_exceeded" {
            return Self::over_budget(format, &format!("{}.", failure.message));
        }
        if failure.code == "recording_archived" {
            return recording_archived();
        }
        let sentence = format!("Transcription failed: {}", failure.message);
        let is_expected = matches!(
            failure.code.as_str(),
            "recording_not_completed" | "recording_encrypted" | "recording_stored_externally"
        );
        let answer = match format {
            ErrorFormat::Twilio => Self::internal(failure.code, "Unexpected error occurred").details(sentence),
            ErrorFormat::Recordings | ErrorFormat::Page => Self::internal(failure.code, sentence),
        };
        let answer = answer.transient(failure.retryable, failure.retry_after);
        match is_expected {
            true => answer.expected(),
            false => answer,
        }
    }

    /// 402: the price exceeds what remains of the month's transcription budget.
    pub fn over_budget(format: ErrorFormat, details: &str) -> Self {
        let message = "Monthly transcription budget exceeded";
        let (status, code) = (StatusCode::PAYMENT_REQUIRED, "budget_exceeded");
        match format {
            ErrorFormat::Twilio => Self::new(status, code, message).details(details),
            ErrorFormat::Recordings | ErrorFormat::Page => Self::new(status, code, format!("{message}. {details}")),
        }
    }
}

impl From<LimitExceeded> for ApiError {
    fn from(exceeded: LimitExceeded) -> Self {
        let Allowance { per_minute, reset, .. } = exceeded.0;
        let message = format!(
            "Too many requests: at most {per_minute} of this kind are allowed in a minute. Try again in {} s.",
            reset.as_secs_f64().ceil()
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
            .retryable(Some(reset))
            .limited_by(exceeded.0)
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Off => Self::not_found(
                "audit_off",
                "This deployment stores no audit: its AuditDays is 0. The functions' logs have a line for each action.",
            ),
            AuditError::Unavailable(_) | AuditError::Duplicate => Self::unavailable(
                "audit_unavailable",
                "The audit can't be reached right now, so nothing is disclosed or changed. Try again shortly.",
            )
            .caused_by(error),
        }
    }
}

impl From<CallsError> for ApiError {
    fn from(error: CallsError) -> Self {
        Self::unavailable(
            "database_unavailable",
            "The index of calls does not answer right now. Try again shortly.",
        )
        .caused_by(error)
    }
}

impl From<ListError> for ApiError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Calls(error) => error.into(),
            ListError::OffsetTooDeep => Self::bad_request(
                "offset_too_deep",
                format!(
                    "At most {MAX_OFFSET} calls can be skipped; use next_cursor (parameter cursor) instead of offset, or narrow the list with started_after and started_before."
                ),
            ),
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        let message = "The queues can't be read right now. Try again shortly.";
        Self::unavailable("queue_unavailable", message).caused_by(error)
    }
}

impl From<CopyError> for ApiError {
    fn from(error: CopyError) -> Self {
        let message = "The copy can't be queued right now. Try again shortly.";
        Self::unavailable("queue_unavailable", message).caused_by(error)
    }
}

impl From<ErasureError> for ApiError {
    fn from(error: ErasureError) -> Self {
        match error {
            ErasureError::Calls(error) => error.into(),
            ErasureError::Queue(error) => Self::unavailable(
                "queue_unavailable",
                "The erasure is stored and will begin within two hours; its queue can't be reached right now.",
            )
            .caused_by(error),
            error => Self::unavailable(
                "database_unavailable",
                "Erasures can't be reached right now. Try again shortly.",
            )
            .caused_by(error),
        }
    }
}

impl From<KeepError> for ApiError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Calls(error) => error.into(),
            KeepError::BeingErased => Self::new(
                StatusCode::CONFLICT,
                "recording_erased",
                "The call is being erased, or was erased before. It can't be held any more.",
            ),
        }
    }
}

impl From<EnqueueError> for ApiError {
    fn from(error: EnqueueError) -> Self {
        let message = "The transcription can't be queued right now. Try again shortly.";
        Self::unavailable("queue_unavailable", message).caused_by(error)
    }
}

impl From<AdoptError> for ApiError {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::Resolve(error) => error.into(),
            AdoptError::Transcripts(error) => error.into(),
        }
    }
}

impl From<TranscriptsError> for ApiError {
    fn from(error: TranscriptsError) -> Self {
        Self::unavailable(
            "database_unavailable",
            "Stored transcripts can't be reached right now. Try again shortly.",
        )
        .caused_by(error)
    }
}

impl From<SharesError> for ApiError {
    fn from(error: SharesError) -> Self {
        Self::unavailable(
            "database_unavailable",
            "Shares can't be reached right now. Try again shortly.",
        )
        .caused_by(error)
    }
}

impl From<ResolveError> for ApiError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Calls(error) => error.into(),
            ResolveError::Bucket(error) => error.into(),
            ResolveError::NotCopied(missing) => recording_not_archived(&missing),
            ResolveError::TooManySearches(exceeded) => exceeded.into(),
        }
    }
}

impl From<BucketError> for ApiError {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::NotFound => Self::not_found("recording_not_found", "The recording is no longer in the bucket."),
            BucketError::Overwritten => {
                Self::unavailable("recording_overwritten", "The recording was overwritten while it was read.")
            }
            BucketError::Archived => recording_archived(),
            BucketError::NoSuchBucket => s3_missing(),
            BucketError::AccessDenied => Self::internal(
                "storage_access_denied",
                "This deployment may not list its recordings bucket. Its role needs s3:ListBucket on the recordings prefix.",
            ),
            BucketError::Unavailable(_) => {
                Self::unavailable("storage_unavailable", "Recordings can't be looked up right now. Try again shortly.")
            }
        }
        .caused_by(error)
    }
}

impl From<PresignError> for ApiError {
    fn from(error: PresignError) -> Self {
        match error {
            PresignError::Secret(error) => Self::from_secret(error, SecretUse::Signer),
            PresignError::Address(_) | PresignError::Signing(_) => Self::internal(
                "signer_not_configured",
                "Recording URLs can't be signed: this deployment's signing keys are not usable.",
            )
            .caused_by(error),
        }
    }
}

impl From<LiveKitError> for ApiError {
    fn from(error: LiveKitError) -> Self {
        match error {
            LiveKitError::Secret(error) => Self::from_secret(error, SecretUse::LiveKit),
            LiveKitError::IncompleteSecret => Self::not_found(
                "livekit_not_configured",
                "This deployment has no usable LiveKit key configured.",
            )
            .caused_by(error),
            LiveKitError::Unauthorized(_) => Self::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "A webhook must carry LiveKit's token for this body in its Authorization header.",
            )
            .caused_by(error),
        }
    }
}
