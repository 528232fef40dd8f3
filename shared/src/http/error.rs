//! The one place that knows all errors, and turns each into what a caller is answered.

use std::{borrow::Cow, fmt, time::Duration};

use lambda_http::{
    Body, Response,
    http::{StatusCode, header},
};
use serde::Serialize;

use super::reply::Reply;
use crate::{
    calls::{CallsError, DEEPEST_OFFSET, ListError, ResolveError},
    clients::{
        bucket::BucketError, livekit::LiveKitError, presign::PresignError, secrets::SecretError, twilio::TwilioError,
    },
    ids::DispatchId,
    transcription::EnqueueError,
    transcripts::{Failure, TranscriptsError},
};

/// The two shapes of an error body, one for each API document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `/api/twilio/*`: `{"error", "details"?}`.
    Twilio,
    /// Everything else: `{"detail"}`.
    Recordings,
}

/// An answer that is not a success. `message` and `details` are for the caller, the cause is for the log only.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    details: Option<String>,
    retry: Option<Option<Duration>>,
    cause: Option<String>,
    expected: bool,
}

/// What an error says in the log line of its request.
pub(super) struct ErrorLog {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) cause: Option<String>,
    /// Whether this deployment, or something that it depends on, is at fault.
    pub(super) is_fault: bool,
}

impl ApiError {
    /// An error with this status, stable code and sentence for the caller.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            details: None,
            retry: None,
            cause: None,
            expected: false,
        }
    }

    /// 400: the caller can correct the request; the sentence says how.
    pub fn bad_request(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404.
    pub fn not_found(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 404 for a path inside a greedy route that leads nowhere.
    pub fn no_such_path() -> Self {
        Self::not_found("path_not_found", "There is no such path in this API.")
    }

    /// 500: the deployment or something it depends on is at fault, and trying again will not help by itself.
    pub fn internal(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message)
    }

    /// 503: something this depends on does not answer right now.
    pub fn unavailable(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retryable(None)
    }

    /// Adds the second sentence that the Twilio document calls `details`.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Says that trying again may help, and when if that is known.
    pub fn retryable(mut self, after: Option<Duration>) -> Self {
        self.retry = Some(after);
        self
    }

    /// [`ApiError::retryable`], if the cause is transient.
    pub fn transient(self, transient: bool, after: Option<Duration>) -> Self {
        match transient {
            true => self.retryable(after),
            false => self,
        }
    }

    /// Says that nothing is at fault although the documented status is a 500, as for a call that is still in progress. The log and the alarms
    /// then do not count it as a failure.
    pub fn expected(mut self) -> Self {
        self.expected = true;
        self
    }

    /// What happened, for the log. Must hold no secret, URL or customer data.
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The body in this format, with its headers, and what the log says about it.
    pub(super) fn into_response(self, format: ErrorFormat, request_id: &str) -> (Response<Body>, ErrorLog) {
        let common = ErrorCommon {
            code: &self.code,
            request_id,
            retryable: self.retry.is_some().then_some(true),
        };
        let reply = match format {
            ErrorFormat::Twilio => Reply::from((
                self.status,
                TwilioErrorBody {
                    error: self.message,
                    details: self.details,
                    common,
                },
            )),
            ErrorFormat::Recordings => Reply::from((
                self.status,
                RecordingsErrorBody {
                    detail: self.message,
                    common,
                },
            )),
        };
        let mut response = Response::from(reply);
        if let Some(after) = self.retry.flatten() {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        let log = ErrorLog {
            is_fault: self.status.is_server_error() && !self.expected,
            status: self.status,
            code: self.code,
            cause: self.cause,
        };
        (response, log)
    }
}

/// An error of `/api/twilio`.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TwilioApiError))]
pub(super) struct TwilioErrorBody<'a> {
    /// What was wrong, and what would be right.
    error: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    details: Option<String>,
    #[serde(flatten)]
    common: ErrorCommon<'a>,
}

/// An error of every other path.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ApiError))]
pub(super) struct RecordingsErrorBody<'a> {
    /// What was wrong, and what would be right.
    detail: String,
    #[serde(flatten)]
    common: ErrorCommon<'a>,
}

/// What every error has.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct ErrorCommon<'a> {
    /// The kind of error, as a stable word for programs.
    code: &'a str,
    /// The request's id, which the logs have too.
    request_id: &'a str,
    /// Present, and `true`, where another attempt may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    retryable: Option<bool>,
}

/// 400 for what is not a recording SID.
pub fn invalid_recording_sid() -> ApiError {
    ApiError::bad_request(
        "invalid_recording_sid",
        "recording_sid must be RE and 16 to 32 hexadecimal digits, like RE1234567890abcdef.",
    )
}

/// 400 for what is not a dispatch id.
pub fn invalid_dispatch_id() -> ApiError {
    let sentence = format!("dispatch_id must be {}.", DispatchId::EXPECTED);
    ApiError::bad_request("invalid_dispatch_id", sentence)
}

/// 400 for a parameter whose value can't be used.
pub fn invalid_parameter(name: &str, value: &str, accepted: &str) -> ApiError {
    ApiError::bad_request(
        "invalid_parameter",
        format!("{name} must be {accepted}; it was {}.", quoted(value)),
    )
}

/// A caller's text, quoted, escaped and short enough to be shown back.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The documented 404 of a call without a recording.
pub fn recording_not_found() -> ApiError {
    ApiError::not_found(
        "recording_not_found",
        "Recording not found. Call may still be in progress or recording failed.",
    )
}

/// The documented error of a deployment that names no recordings bucket.
pub fn s3_missing() -> ApiError {
    ApiError::internal(
        "s3_not_configured",
        "S3 configuration missing. Recording URLs not available.",
    )
}

/// What a secret is needed for, where its errors become answers.
#[derive(Debug, Clone, Copy)]
pub enum SecretUse {
    /// Checking API keys.
    ApiKeys,
    /// Presigning URLs.
    Signer,
    /// Checking LiveKit's webhooks.
    LiveKit,
}

impl ApiError {
    /// 503 while the secret can't be read, 500 when it is missing or not of the documented form.
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
            SecretError::Missing(_) | SecretError::Malformed(_) => Self::internal(unusable.0, unusable.1),
        }
        .caused_by(error)
    }

    /// What Twilio's error is for a caller: 404 for what is not there, else 500, to be tried again where that may help.
    pub fn from_twilio(error: TwilioError, message: impl Into<String>) -> Self {
        let answer = match error {
            TwilioError::NotFound => Self::not_found(error.code(), message),
            _ => Self::internal(error.code(), message),
        };
        answer
            .transient(error.is_transient(), error.retry_after())
            .caused_by(error)
    }

    /// The documented 500 for everything that keeps a recording from being transcribed, and 402 for the budget.
    pub fn not_transcribed(format: ErrorFormat, failure: Failure) -> Self {
        if failure.code == "budget_exceeded" {
            return Self::over_budget(format, &format!("{}.", failure.message));
        }
        let sentence = format!("Transcription failed: {}", failure.message);
        let is_expected = matches!(
            failure.code.as_str(),
            "recording_not_completed" | "recording_encrypted" | "recording_stored_externally"
        );
        let answer = match format {
            ErrorFormat::Twilio => Self::internal(failure.code, "Unexpected error occurred").details(sentence),
            ErrorFormat::Recordings => Self::internal(failure.code, sentence),
        };
        let answer = answer.transient(failure.retryable, failure.retry_after);
        match is_expected {
            true => answer.expected(),
            false => answer,
        }
    }

    /// 402: the month's transcription budget does not hold the price.
    pub fn over_budget(format: ErrorFormat, details: &str) -> Self {
        let message = "Monthly transcription budget exceeded";
        let (status, code) = (StatusCode::PAYMENT_REQUIRED, "budget_exceeded");
        match format {
            ErrorFormat::Twilio => Self::new(status, code, message).details(details),
            ErrorFormat::Recordings => Self::new(status, code, format!("{message}. {details}")),
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
                    "offset must not pass over more than {DEEPEST_OFFSET} calls; follow next_cursor (parameter cursor) instead, or narrow the list by started_after and started_before."
                ),
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

impl From<TranscriptsError> for ApiError {
    fn from(error: TranscriptsError) -> Self {
        Self::unavailable(
            "database_unavailable",
            "Stored transcripts can't be reached right now. Try again shortly.",
        )
        .caused_by(error)
    }
}

impl From<ResolveError> for ApiError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Calls(error) => error.into(),
            ResolveError::Bucket(error) => error.into(),
        }
    }
}

impl From<BucketError> for ApiError {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::NotFound => Self::not_found("recording_not_found", "The recording is no longer in the bucket."),
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
            LiveKitError::IncompleteSecret => Self::internal(
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
