//! What can be wrong with a request, and with what it names.

use super::code::{ErrorCode, error, perhaps_transient, transient};

/// Errors of all requests.
pub(super) const REQUEST: &[ErrorCode] = &[
    error(400, "unknown_parameter", "The query string has an unknown parameter."),
    error(400, "repeated_parameter", "The query string has a parameter twice."),
    error(400, "invalid_query", "The query string is not UTF-8."),
    error(400, "invalid_path", "The path is not UTF-8."),
    error(404, "path_not_found", "There is no such path in this API."),
    error(
        413,
        "answer_too_large",
        "The response would have more than 5,000,000 bytes. Request less.",
    ),
    error(
        500,
        "internal_error",
        "The function panicked, and its log has the place.",
    ),
    transient(
        503,
        "timeout",
        "The request took too long. Try again, or request less at once.",
    ),
];

const NO_KEYS: ErrorCode = error(500, "api_keys_not_configured", "The deployment has no usable API keys.");
const RATE_LIMITED: ErrorCode = transient(
    429,
    "rate_limited",
    "The key, or the address without a valid key, sent too many requests within a minute. `Retry-After` says when the next is allowed.",
);
const KEYS_UNAVAILABLE: ErrorCode = transient(503, "api_keys_unavailable", "API keys can't be checked right now.");

/// Errors of requests that need an API key.
pub(super) const KEY: &[ErrorCode] = &[
    error(
        401,
        "unauthorized",
        "There is no valid API key or no valid token from LiveKit.",
    ),
    error(403, "forbidden", "The key lacks the scope that the message names."),
    RATE_LIMITED,
    NO_KEYS,
    KEYS_UNAVAILABLE,
];

/// Errors of looking up who is signed in.
pub(super) const KEYS: &[ErrorCode] = &[RATE_LIMITED, NO_KEYS, KEYS_UNAVAILABLE];

/// Errors of requests by which the console changes something.
pub const SESSION: &[ErrorCode] = &[error(
    403,
    "other_origin",
    "A session of the console changes something only from the console's own page.",
)];

/// Errors of drawing a waveform.
pub(super) const WAVEFORM: &[ErrorCode] = &[
    error(
        413,
        "recording_too_long",
        "The recording can't be decoded within one request. Its transcript has its waveform.",
    ),
    error(
        422,
        "media_not_audio",
        "The recording is not audio, or none that can be decoded.",
    ),
    error(422, "media_empty", "The recording has no audio."),
    error(422, "audio_unsupported", "The recording's codec can't be decoded."),
    transient(
        503,
        "recording_overwritten",
        "The recording was overwritten while it was read.",
    ),
];

/// Errors of JSON bodies.
pub(super) const BODY: &[ErrorCode] = &[
    error(400, "invalid_json", "The body is not a JSON object."),
    error(
        400,
        "invalid_body",
        "A field of the body is unknown or has the wrong type.",
    ),
    error(413, "body_too_large", "The body has more than 65,536 bytes."),
    error(
        415,
        "unsupported_media_type",
        "The body is not sent as application/json.",
    ),
];

/// Errors of values.
pub(super) const VALUE: &[ErrorCode] = &[error(
    400,
    "invalid_parameter",
    "A value is invalid; the message contains the accepted values.",
)];

/// Errors of dispatch ids.
pub(super) const DISPATCH_ID: &[ErrorCode] = &[error(
    400,
    "invalid_dispatch_id",
    "The dispatch id is not 1 to 128 letters, digits, underscores or hyphens.",
)];

/// Errors of recording SIDs.
pub(super) const RECORDING_SID: &[ErrorCode] = &[error(
    400,
    "invalid_recording_sid",
    "The recording SID is not RE and 16 to 32 hexadecimal digits.",
)];

/// Errors of missing parameters.
pub(super) const MISSING: &[ErrorCode] = &[error(400, "missing_parameter", "A required parameter is missing.")];

/// Errors of lists.
pub(super) const LIST: &[ErrorCode] = &[error(
    400,
    "offset_too_deep",
    "The offset skips too many calls. Use next_cursor, or narrow the list by time.",
)];

/// Errors of Twilio lists.
pub(super) const PAGE_TOKEN: &[ErrorCode] = &[error(
    400,
    "page_token_expired",
    "The page token names a position that no longer exists. Start again without it.",
)];

/// Errors of reported interactions.
pub(super) const INTERACTION: &[ErrorCode] = &[error(
    400,
    "invalid_interaction",
    "A field of the interaction is missing, unknown or invalid.",
)];

/// What can happen to a share.
pub(super) const SHARE: &[ErrorCode] = &[error(404, "share_not_found", "This call has no share with this id.")];

/// What can happen to the page of a share. These errors are pages.
pub(super) const SHARE_PAGE: &[ErrorCode] = &[
    error(
        404,
        "share_not_found",
        "The link is malformed, unknown, expired or revoked, or its recording is gone.",
    ),
    error(
        500,
        "s3_not_configured",
        "The deployment can't read its bucket or sign URLs.",
    ),
    error(
        500,
        "internal_error",
        "The function panicked, and its log has the place.",
    ),
    transient(
        503,
        "storage_unavailable",
        "S3, DynamoDB or Secrets Manager does not respond right now.",
    ),
    transient(
        503,
        "audit_unavailable",
        "The opening can't be written to the audit right now, so nothing is shown.",
    ),
];

/// Errors of requests for a call, whatever it has.
pub(super) const CALL: &[ErrorCode] = &[error(404, "call_not_found", "There is no such call in the index.")];

/// Errors of changing how long a call is kept.
pub(super) const KEEP: &[ErrorCode] = &[error(
    409,
    "recording_erased",
    "The call is being erased, or was erased before.",
)];

/// Errors of erasing.
pub(super) const ERASE: &[ErrorCode] = &[
    error(404, "call_not_found", "The index has no call that this names."),
    error(
        409,
        "recording_held",
        "A hold keeps the call. The message has its reason.",
    ),
];

/// Errors of reading an erasure.
pub(super) const ERASURE: &[ErrorCode] = &[error(404, "erasure_not_found", "There is no erasure with this id.")];

/// Errors of recordings that only Twilio has.
pub(super) const NOT_ARCHIVED: &[ErrorCode] = &[perhaps_transient(
    409,
    "recording_not_archived",
    "The recording is at Twilio and not in the bucket. With `archiving: true` it is being copied.",
)];

/// What can happen to a recording that is to be read.
pub(super) const ARCHIVED: &[ErrorCode] = &[error(
    409,
    "recording_archived",
    "The recording is archived in S3 Glacier and must be restored before it can be read.",
)];

/// What can happen to the passcode of a share. These errors are pages.
pub(super) const SHARE_PASSCODE: &[ErrorCode] = &[
    error(
        403,
        "wrong_passcode",
        "The passcode is wrong; the page has the form again.",
    ),
    error(413, "body_too_large", "The body has more than 65,536 bytes."),
    transient(
        429,
        "too_many_passcodes",
        "Too many passcodes were tried. `Retry-After` says when the next one can be.",
    ),
];

/// What can happen to a list of the audit.
pub(super) const AUDIT_LIST: &[ErrorCode] = &[error(404, "audit_off", "The deployment stores no audit.")];

/// What can happen to the report of the reconciler.
pub(super) const REPORT: &[ErrorCode] = &[error(404, "no_report", "The reconciler has not finished a round yet.")];

/// What can happen to a request for a stored transcript.
pub(super) const STORED_TRANSCRIPT: &[ErrorCode] = &[
    error(
        404,
        "transcript_not_found",
        "No transcript of this recording has been requested.",
    ),
    error(
        409,
        "transcript_not_ready",
        "The transcript is not ready. Request JSON for details.",
    ),
];

/// What can happen to a LiveKit webhook.
pub(super) const LIVEKIT: &[ErrorCode] = &[
    error(
        401,
        "unauthorized",
        "The Authorization header does not contain LiveKit's token for this body.",
    ),
    error(400, "invalid_json", "The body is not a JSON object."),
    error(413, "body_too_large", "The body has more than 65,536 bytes."),
    error(
        404,
        "livekit_not_configured",
        "The deployment has no usable LiveKit key.",
    ),
    transient(
        503,
        "livekit_secret_unavailable",
        "The LiveKit key can't be read right now.",
    ),
];

/// What can happen to a callback of Twilio.
pub(super) const CALLBACK: &[ErrorCode] = &[
    error(
        403,
        "invalid_signature",
        "X-Twilio-Signature is not the account's signature of this request.",
    ),
    error(413, "body_too_large", "The body has more than 65,536 bytes."),
    error(
        404,
        "public_url_not_configured",
        "The deployment's public URL is not configured.",
    ),
    error(
        404,
        "twilio_not_configured",
        "The deployment has no usable Twilio credentials.",
    ),
    transient(
        503,
        "twilio_secret_unavailable",
        "The Twilio credentials can't be read right now.",
    ),
];
