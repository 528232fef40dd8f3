//! Errors of the transcription API, and the classification of errors of OpenAI and compatible servers.

use std::time::Duration;

use reqwest::StatusCode;

use super::error_body::ErrorBody;
use crate::{
    clients::secrets::SecretError,
    retry::{Classify, Retry},
};

/// A request to the transcription API failed. Strings in variants are messages of the server that are safe to show to the caller, or empty. The
/// text for the log has none of them, because they can quote the request.
#[derive(Debug, thiserror::Error)]
pub enum WhisperError {
    /// The Whisper secret is missing or unusable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The server rejected the key, the network or the region.
    #[error("the transcription API refused the credentials (HTTP {0})")]
    Unauthorized(u16),
    /// The account has no credit or has reached a spending limit. A retry can't help.
    #[error("the transcription API refused for reasons of billing ({0})")]
    Quota(String),
    /// Too many requests or tokens per minute.
    #[error("the transcription API answered 429, too many requests")]
    RateLimited(Option<Duration>),
    /// The server is overloaded or broken.
    #[error("the transcription API answered HTTP {0}")]
    Server(u16, Option<Duration>),
    /// The file exceeds the server's size limit.
    #[error("the audio is too large for the transcription API")]
    TooLarge,
    /// The audio is longer than the model accepts.
    #[error("the audio is too long for the model")]
    TooLong(String),
    /// The audio is shorter than 0.1 s.
    #[error("the audio is too short")]
    TooShort,
    /// The server can't decode the audio, or does not recognize its format by the file name.
    #[error("the audio can't be decoded")]
    UnsupportedAudio(String),
    /// The server does not have the configured model.
    #[error("the transcription API has no such model or endpoint")]
    ModelNotFound(String),
    /// The server rejected a parameter. The next request is sent without it or with another value.
    #[error("the transcription API refused a parameter, which is left out or replaced from now on")]
    Adapted(String),
    /// The server rejected the request for another reason.
    #[error("the transcription API answered HTTP {0}")]
    Rejected(u16, String),
    /// The connection failed or broke.
    #[error("the connection to the transcription API failed: {0}")]
    Connection(String),
    /// The server did not respond before the deadline.
    #[error("the transcription API did not answer in time")]
    Timeout,
    /// An error that is usually transient, for which the server asked not to retry.
    #[error("{0}, not to be retried")]
    Final(Box<WhisperError>),
    /// A successful response could not be parsed.
    #[error("the transcription API's answer was not understood: {0}")]
    Unexpected(String),
}

impl Classify for WhisperError {
    fn retry(&self) -> Retry {
        match self {
            Self::RateLimited(after) | Self::Server(_, after) => Retry::After(*after),
            Self::Connection(_) => Retry::After(None),
            Self::Adapted(_) => Retry::After(Some(Duration::ZERO)),
            _ => Retry::Never,
        }
    }
}

impl WhisperError {
    /// Whether the API is at fault, the connection or the deployment's settings, and not this audio or what the caller asked for. A parameter
    /// that the API does not take is learned.
    pub(super) fn is_failure(&self, is_model_of_caller: bool) -> bool {
        match self {
            Self::TooLarge | Self::TooLong(_) | Self::TooShort | Self::UnsupportedAudio(_) => false,
            Self::Adapted(_) | Self::Rejected(..) => false,
            Self::ModelNotFound(_) => !is_model_of_caller,
            _ => true,
        }
    }

    /// The HTTP status by which it failed, where the error has it.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Unauthorized(status) | Self::Server(status, _) | Self::Rejected(status, _) => Some(*status),
            Self::RateLimited(_) => Some(StatusCode::TOO_MANY_REQUESTS.as_u16()),
            Self::Final(error) => error.status(),
            _ => None,
        }
    }

    /// Whether a later request may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Secret(SecretError::Unavailable(..)) | Self::Timeout) || self.retry() != Retry::Never
    }

    /// A stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "whisper_secret_unavailable",
            Self::Secret(_) => "whisper_not_configured",
            Self::Unauthorized(_) => "whisper_unauthorized",
            Self::Quota(_) => "whisper_quota_exceeded",
            Self::RateLimited(_) => "whisper_rate_limited",
            Self::Server(..) | Self::Connection(_) => "whisper_unavailable",
            Self::TooLarge => "audio_too_large",
            Self::TooLong(_) => "audio_too_long",
            Self::TooShort => "audio_too_short",
            Self::UnsupportedAudio(_) => "audio_unsupported",
            Self::ModelNotFound(_) => "whisper_model_not_found",
            Self::Rejected(..) | Self::Unexpected(_) | Self::Adapted(_) => "whisper_error",
            Self::Timeout => "whisper_timeout",
            Self::Final(error) => error.code(),
        }
    }

    /// The server's message, if it is safe to show.
    pub fn server_sentence(&self) -> Option<&str> {
        match self {
            Self::TooLong(sentence)
            | Self::UnsupportedAudio(sentence)
            | Self::ModelNotFound(sentence)
            | Self::Adapted(sentence)
            | Self::Rejected(_, sentence)
            | Self::Unexpected(sentence) => Some(sentence)
                .filter(|sentence| !sentence.is_empty())
                .map(String::as_str),
            Self::Final(error) => error.server_sentence(),
            _ => None,
        }
    }

    /// The message for the caller.
    pub fn user_message(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "The transcription API's key can't be read right now",
            Self::Secret(_) => "No usable transcription API key is configured",
            Self::Unauthorized(_) => "The transcription API refused the configured key",
            Self::Quota(_) => "The transcription API's account has no credit left or has reached its spending limit",
            Self::RateLimited(_) => "The transcription API is limiting the rate of requests",
            Self::Server(..) | Self::Connection(_) => "The transcription API is not reachable right now",
            Self::TooLarge => "The recording is larger than the transcription API takes",
            Self::TooLong(_) => "The recording is longer than the configured model takes",
            Self::TooShort => "The recording is shorter than the 0.1 seconds that the transcription API needs",
            Self::UnsupportedAudio(_) => "The recording's audio is corrupted or of an unsupported format",
            Self::ModelNotFound(_) => "The transcription API does not have the configured model",
            Self::Rejected(..) | Self::Unexpected(_) | Self::Adapted(_) => {
                "The transcription API gave an unexpected answer"
            }
            Self::Timeout => "The transcription API did not answer in time",
            Self::Final(error) => error.user_message(),
        }
    }
}

/// Classifies a status and an error body. `prompt` must not appear in a shown message.
pub(super) fn classify(
    status: StatusCode,
    after: Option<Duration>,
    body: &ErrorBody,
    prompt: Option<&str>,
) -> WhisperError {
    const BILLING: [&str; 7] = [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    ];
    let number = status.as_u16();
    let lower = body.message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let sentence = || body.sentence(prompt);
    if let Some(word) = BILLING.iter().find(|word| body.code == **word || body.kind == **word) {
        return WhisperError::Quota((*word).to_owned());
    }
    match number {
        401 | 403 => WhisperError::Unauthorized(number),
        // The body of a 413 may have the type server_error.
        413 => WhisperError::TooLarge,
        429 => WhisperError::RateLimited(after),
        // Gateways return rejections as 500.
        400.. if body.is_too_large() => WhisperError::TooLarge,
        400.. if body.is_too_long() => WhisperError::TooLong(sentence()),
        408 | 409 | 500.. => WhisperError::Server(number, after),
        404 => WhisperError::ModelNotFound(sentence()),
        _ if body.code == "audio_too_short" || says(&["too short"]) => WhisperError::TooShort,
        _ if body.code == "model_not_found"
            || says(&["decommissioned", "does not support transcriptions", "no such model"]) =>
        {
            WhisperError::ModelNotFound(sentence())
        }
        _ if body.refused_parameter(status).is_some() || !body.may_be_about_audio() => {
            WhisperError::Rejected(number, sentence())
        }
        _ if body.code == "unsupported_format"
            || says(&[
                "corrupted",
                "unsupported",
                "not supported",
                "does not support the format",
                "could not be decoded",
                "invalid or unsupported audio",
                "invalid file format",
                "format not recognised",
                "failed to read audio",
                "failed to decode",
            ]) =>
        {
            WhisperError::UnsupportedAudio(sentence())
        }
        _ => WhisperError::Rejected(number, sentence()),
    }
}

pub(super) fn connection(error: reqwest::Error) -> WhisperError {
    let error = error.without_url();
    let cause = std::error::Error::source(&error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    WhisperError::Connection(format!("{error}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_class_is_distinguished() {
        for (status, body, code, transient) in [
            (
                400,
                r#"{"error":{"message":"Audio file is too short. Minimum audio length is 0.1 seconds.","type":"invalid_request_error","param":"file","code":"audio_too_short"}}"#,
                "audio_too_short",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"audio duration 1830.530612 seconds is longer than 1400 seconds which is the maximum for this model","type":"invalid_request_error","param":null,"code":"invalid_value"}}"#,
                "audio_too_long",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"This model does not support the format you provided.","code":"unsupported_format","param":"messages"}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Audio file might be corrupted or unsupported","type":"invalid_request_error","code":"invalid_value"}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid file format. Supported formats: ['flac']"}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"The audio file could not be decoded or its format is not supported."}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"chunking_strategy is required for diarization models"}}"#,
                "whisper_error",
                false,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
                "whisper_unauthorized",
                false,
            ),
            (
                403,
                r#"{"error":{"message":"Country, region, or territory not supported"}}"#,
                "whisper_unauthorized",
                false,
            ),
            (
                404,
                r#"{"detail":"Model 'x' is not installed"}"#,
                "whisper_model_not_found",
                false,
            ),
            (
                413,
                r#"{"error":{"message":"413: Maximum content size limit (26214400) exceeded","type":"server_error","param":null,"code":null}}"#,
                "audio_too_large",
                false,
            ),
            (
                413,
                r#"{"error":{"message":"Request Entity Too Large","type":"invalid_request_error","code":"request_too_large"}}"#,
                "audio_too_large",
                false,
            ),
            (422, r#"{"detail":[{"msg":"field required"}]}"#, "whisper_error", false),
            (
                429,
                r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#,
                "whisper_rate_limited",
                true,
            ),
            (
                429,
                r#"{"error":{"message":"Slow down","type":"rate_limit_error","code":"slow_down"}}"#,
                "whisper_rate_limited",
                true,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                "whisper_quota_exceeded",
                false,
            ),
            (
                429,
                r#"{"error":{"message":"","type":"requests","code":"project_spend_limit_exceeded"}}"#,
                "whisper_quota_exceeded",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Billing hard limit has been reached","code":"billing_hard_limit_reached"}}"#,
                "whisper_quota_exceeded",
                false,
            ),
            (
                500,
                r#"{"error":{"message":"The server had an error","type":"server_error"}}"#,
                "whisper_unavailable",
                true,
            ),
            (
                503,
                r#"{"error":{"message":"overloaded","type":"service_unavailable_error","code":"server_is_overloaded"}}"#,
                "whisper_unavailable",
                true,
            ),
            (502, "<html>Bad gateway</html>", "whisper_unavailable", true),
            (
                400,
                r#"{"error":"failed to read audio data, unsupported"}"#,
                "audio_unsupported",
                false,
            ),
            // Errors about parameters are not errors of the audio.
            (
                400,
                r#"{"error":{"message":"`timestamp_granularities[]` not supported by this model","type":"invalid_request_error"}}"#,
                "whisper_error",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Language 'xx' is not supported","param":"language"}}"#,
                "whisper_error",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"The model `distil-whisper-large-v3-en` has been decommissioned and is no longer supported.","type":"invalid_request_error"}}"#,
                "whisper_model_not_found",
                false,
            ),
            (
                400,
                r#"{"object":"error","message":"Maximum clip duration (30s) exceeded.","type":"BadRequestError","param":null,"code":400}"#,
                "audio_too_long",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Maximum file size exceeded (parameter=audio_filesize_mb, value=27.96)","type":"BadRequestError","param":"audio_filesize_mb","code":400}}"#,
                "audio_too_large",
                false,
            ),
            (
                500,
                r#"{"error":{"message":"litellm.BadRequestError: OpenAIException - Maximum clip duration (30s) exceeded","type":"None","param":"None","code":"500"}}"#,
                "audio_too_long",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"bad","type":"BadRequestError","param":null,"code":400}}"#,
                "whisper_error",
                false,
            ),
        ] {
            let error = classify(
                StatusCode::from_u16(status).unwrap(),
                None,
                &ErrorBody::read(body.as_bytes()),
                None,
            );
            assert_eq!(
                (error.code(), error.is_transient()),
                (code, transient),
                "{status} {body}"
            );
        }
    }
}
