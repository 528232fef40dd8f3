//! Schemas of the contract for fields whose Rust types are less specific.

use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, Type},
};

/// The fields of a transcript that identify the recording: a Twilio recording by `recording_sid` and `audio_url`, a LiveKit recording by `dispatch_id`.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct Label {
    #[schema(nullable = false, example = "RE1234567890abcdef")]
    recording_sid: Option<String>,
    /// URL of the audio on the configured Twilio host, which needs the account's credentials.
    #[schema(nullable = false, format = "uri")]
    audio_url: Option<String>,
    #[schema(nullable = false)]
    dispatch_id: Option<String>,
}

/// The field of a state that identifies the recording: by `recording_sid` or by `dispatch_id`.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct Recording {
    #[schema(nullable = false, example = "RE1234567890abcdef")]
    recording_sid: Option<String>,
    #[schema(nullable = false)]
    dispatch_id: Option<String>,
}

fn one_of(words: &[&str]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.iter().copied()))
        .build()
}

pub(super) fn completed() -> Object {
    one_of(&["completed"])
}

pub(super) fn processing() -> Object {
    one_of(&["processing"])
}

pub(super) fn pending() -> Object {
    one_of(&["queued", "processing"])
}

pub(super) fn estimate() -> Object {
    one_of(&["estimate"])
}

pub(super) fn failed() -> Object {
    one_of(&["failed"])
}
