//! Error responses. `convert.rs` makes them of the errors of the lower floors.

use std::{borrow::Cow, fmt, time::Duration};

use lambda_http::{
    Body, Response,
    http::{StatusCode, header},
};
use serde::Serialize;

use super::{page::error_page, reply::Reply};
use crate::{
    calls::{CallRecording, NotCopied},
    ids::DispatchId,
    limits::Allowance,
};

/// A copy usually takes less than this.
const COPY_TIME: Duration = Duration::from_secs(15);

/// The formats of an error body, one for each part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `/api/twilio/*`: `{"error", "details"?}`.
    Twilio,
    /// All other paths: `{"detail"}`.
    Recordings,
    /// Pages for people: HTML.
    Page,
}

/// An error response. `message` and `details` are sent to the caller, `cause` is only logged.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    details: Option<String>,
    retry: Option<Option<Duration>>,
    cause: Option<Box<str>>,
    expected: bool,
    archiving: Option<bool>,
    // Boxed, because few errors have it, and errors are passed by value.
    allowance: Option<Box<Allowance>>,
}

/// The fields of an error in the log line of its request.
pub(super) struct ErrorLog {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) cause: Option<Box<str>>,
    /// Whether the error is a fault of this deployment or of a service it depends on.
    pub(super) is_fault: bool,
}

impl ApiError {
    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

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
            archiving: None,
            allowance: None,
        }
    }

    /// 400. The message tells the caller how to correct the request.
    pub fn bad_request(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404.
    pub fn not_found(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 404 for a path inside a greedy route that no endpoint has.
    pub fn no_such_path() -> Self {
        Self::not_found("path_not_found", "There is no such path in this API.")
    }

    /// 500: a fault of this deployment or of a service it depends on, which a retry alone does not correct.
    pub fn internal(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message)
    }

    /// 503: a service that this deployment depends on does not respond right now.
    pub fn unavailable(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retryable(None)
    }

    /// 503: a call was found by the name of its recording and could not be written to the index.
    pub fn unindexed() -> Self {
        Self::unavailable(
            "database_unavailable",
            "The call was found and could not be written to the index. Try again.",
        )
    }

    /// Adds the `details` of the Twilio format.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Marks the error as retryable, with the wait before the retry if it is known.
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

    /// Marks an error that is not a fault although the documented status is 500, for example for a call that is still in progress. The log and
    /// the alarms do not count it as a failure.
    pub fn expected(mut self) -> Self {
        self.expected = true;
        self
    }

    /// Adds the cause for the log. It must not contain secrets, URLs or customer data.
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }

    /// Says whether the recording is being copied into the bucket.
    pub fn archiving(mut self, archiving: bool) -> Self {
        self.archiving = Some(archiving);
        self
    }

    /// Adds what the limit says that the request exceeds.
    pub(super) fn limited_by(mut self, allowance: Allowance) -> Self {
        self.allowance = Some(Box::new(allowance));
        self
    }

    /// What the limit says that the request exceeds.
    pub(super) fn allowance(&self) -> Option<Allowance> {
        self.allowance.as_deref().copied()
    }

    /// The HTTP response in this format, and the fields for the log line.
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
                    archiving: self.archiving,
                    common,
                },
            )),
            ErrorFormat::Page => error_page(self.status, &self.message, request_id),
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
    /// With `recording_not_archived`: whether the recording is being copied into the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    archiving: Option<bool>,
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

/// 400 for an invalid recording SID.
pub fn invalid_recording_sid() -> ApiError {
    ApiError::bad_request(
        "invalid_recording_sid",
        "recording_sid must be RE and 16 to 32 hexadecimal digits, like RE1234567890abcdef.",
    )
}

/// 400 for an invalid dispatch id.
pub fn invalid_dispatch_id() -> ApiError {
    let sentence = format!("dispatch_id must be {}.", DispatchId::EXPECTED);
    ApiError::bad_request("invalid_dispatch_id", sentence)
}

/// 400 for an invalid parameter value.
pub fn invalid_parameter(name: &str, value: &str, accepted: &str) -> ApiError {
    ApiError::bad_request(
        "invalid_parameter",
        format!("{name} must be {accepted}; it was {}.", quoted(value)),
    )
}

/// Text from the caller, quoted, escaped and truncated for use in an error message.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The documented 404 for a call without a recording.
pub fn recording_not_found() -> ApiError {
    ApiError::not_found(
        "recording_not_found",
        "Recording not found. Call may still be in progress or recording failed.",
    )
}

/// 409: the recording can't be read before it is restored.
pub fn recording_archived() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "recording_archived",
        "The recording is archived in S3 Glacier. Restore it in S3 (restore-object), which takes minutes to two days, and then try again.",
    )
}

/// 409: Twilio has the recording, and the bucket has no copy of it.
pub(super) fn recording_not_archived(missing: &NotCopied) -> ApiError {
    let sid = &missing.sid;
    let code = "recording_not_archived";
    let path = format!("POST /recordings/{sid}/archive");
    match (&missing.failure, missing.is_copying) {
        (_, true) => {
            let message = "The recording is being copied from Twilio into the bucket. Try again shortly.";
            ApiError::new(StatusCode::CONFLICT, code, message)
                .archiving(true)
                .retryable(Some(COPY_TIME))
        }
        (Some(failure), false) => {
            let message = format!(
                "The recording is at Twilio and could not be copied into the bucket: {} {path} tries again.",
                failure.reason
            );
            ApiError::new(StatusCode::CONFLICT, code, message).archiving(false)
        }
        (None, false) => {
            let message = format!("The recording is at Twilio and not in the bucket. {path} copies it.");
            ApiError::new(StatusCode::CONFLICT, code, message).archiving(false)
        }
    }
}

/// The call's recording, or 409 if it must be restored before it can be read.
pub fn readable(found: CallRecording) -> Result<CallRecording, ApiError> {
    match found.is_archived {
        true => Err(recording_archived()),
        false => Ok(found),
    }
}

/// The documented error of a deployment without a recordings bucket.
pub fn s3_missing() -> ApiError {
    ApiError::internal(
        "s3_not_configured",
        "S3 configuration missing. Recording URLs not available.",
    )
}
