//! What can happen at AWS, Twilio and the transcription API while a request is processed.

use super::code::{ErrorCode, error, perhaps_transient, transient};

/// What can happen in the database.
pub(super) const DATABASE: &[ErrorCode] = &[transient(
    503,
    "database_unavailable",
    "DynamoDB does not respond right now.",
)];

/// What can happen in the audit.
pub(super) const AUDIT: &[ErrorCode] = &[transient(
    503,
    "audit_unavailable",
    "What the request does can't be written to the audit right now, so it was not done.",
)];

/// What can happen to a URL that has to be signed.
pub(super) const SIGNER: &[ErrorCode] = &[
    error(
        500,
        "s3_not_configured",
        "No recordings bucket is configured, or the bucket does not exist.",
    ),
    error(
        500,
        "signer_not_configured",
        "The deployment's signing keys are not usable.",
    ),
    transient(503, "signer_unavailable", "The signing keys can't be read right now."),
];

/// What can happen in the bucket.
pub(super) const STORAGE: &[ErrorCode] = &[
    error(404, "recording_not_found", "The recording does not exist (yet)."),
    error(
        500,
        "s3_not_configured",
        "No recordings bucket is configured, or the bucket does not exist.",
    ),
    error(
        500,
        "storage_access_denied",
        "The deployment may not read its recordings bucket.",
    ),
    transient(503, "storage_unavailable", "S3 does not respond right now."),
];

/// What can happen in the queue.
pub(super) const QUEUE: &[ErrorCode] = &[transient(503, "queue_unavailable", "SQS does not respond right now.")];

/// What can happen at Twilio. The Twilio API document makes these 500.
pub(super) const TWILIO: &[ErrorCode] = &[
    error(
        500,
        "twilio_not_configured",
        "The deployment has no usable Twilio credentials.",
    ),
    error(500, "twilio_unauthorized", "Twilio refused the configured credentials."),
    error(500, "twilio_error", "Twilio returned an unexpected response."),
    transient(500, "twilio_rate_limited", "Twilio is limiting the rate of requests."),
    transient(500, "twilio_unavailable", "Twilio is not reachable right now."),
    transient(500, "twilio_timeout", "Twilio did not respond in time."),
    transient(
        500,
        "twilio_secret_unavailable",
        "The Twilio credentials can't be read right now.",
    ),
];

/// What can be wrong with the address of a recording.
pub(super) const AUDIO_URL: &[ErrorCode] = &[
    error(
        400,
        "invalid_audio_url",
        "The URL is not a recording of the configured Twilio account.",
    ),
    error(
        400,
        "conflicting_parameters",
        "recording_sid and audio_url name different recordings.",
    ),
    error(404, "recording_not_found", "Twilio does not have the recording."),
];

/// What can happen to a transcription. Both API documents make these 500.
pub(super) const TRANSCRIPTION: &[ErrorCode] = &[
    error(
        400,
        "whisper_model_not_found",
        "The transcription API does not have the model of the request.",
    ),
    error(
        402,
        "budget_exceeded",
        "The month's budget does not cover the transcription.",
    ),
    perhaps_transient(
        500,
        "recording_not_completed",
        "The call is in progress, or its recording is absent, failed or deleted.",
    ),
    error(
        500,
        "recording_encrypted",
        "The recording is encrypted with a key that only its owner has.",
    ),
    error(
        500,
        "recording_stored_externally",
        "The audio is on a host that ExternalMediaHosts does not name.",
    ),
    perhaps_transient(
        500,
        "external_storage_refused",
        "The request to the external storage failed.",
    ),
    perhaps_transient(500, "media_not_found", "The audio does not exist (yet)."),
    error(500, "media_not_audio", "The recording is not audio."),
    error(500, "media_empty", "The recording is empty."),
    error(500, "audio_too_short", "The audio is shorter than 0.1 seconds."),
    error(
        500,
        "audio_unsupported",
        "The audio is corrupted or has an unsupported format.",
    ),
    error(
        500,
        "audio_too_large",
        "The recording is larger than the deployment or the model accepts.",
    ),
    error(500, "audio_too_long", "The recording is longer than the model accepts."),
    error(
        500,
        "whisper_not_configured",
        "The deployment has no usable key for the transcription API.",
    ),
    error(
        500,
        "whisper_unauthorized",
        "The transcription API refused the configured key.",
    ),
    error(
        500,
        "whisper_quota_exceeded",
        "The transcription API's account has no credit left.",
    ),
    error(
        500,
        "whisper_model_not_found",
        "The transcription API does not have the model.",
    ),
    error(
        500,
        "whisper_error",
        "The transcription API returned an unexpected response.",
    ),
    transient(
        500,
        "whisper_rate_limited",
        "The transcription API is limiting the rate of requests.",
    ),
    transient(
        500,
        "whisper_unavailable",
        "The transcription API is not reachable right now.",
    ),
    transient(500, "whisper_timeout", "The transcription API did not respond in time."),
    transient(
        500,
        "whisper_secret_unavailable",
        "The key of the transcription API can't be read right now.",
    ),
    transient(
        500,
        "transcription_interrupted",
        "A worker was stopped. Stored parts are reused.",
    ),
    transient(
        500,
        "transcription_timeout",
        "A worker ran out of time. Stored parts are reused.",
    ),
    transient(500, "transcription_given_up", "Workers were stopped five times."),
    perhaps_transient(
        500,
        "internal_error",
        "The function could not store the audio on its disk, or it panicked.",
    ),
    perhaps_transient(
        500,
        "storage_access_denied",
        "The deployment may not read its recordings bucket.",
    ),
    perhaps_transient(500, "storage_unavailable", "S3 does not respond right now."),
    perhaps_transient(500, "database_unavailable", "DynamoDB does not respond right now."),
    perhaps_transient(500, "recording_not_found", "The recording no longer exists."),
];
