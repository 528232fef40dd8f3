//! The errors in the contract (`openapi.json`): the schemas of their bodies, and every code with its status and meaning.

mod code;
mod requests;
mod services;

pub use code::ErrorCode;
pub use requests::SESSION;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use self::{
    requests::{
        ARCHIVED, AUDIT_LIST, BODY, CALL, CALLBACK, DISPATCH_ID, ERASE, ERASURE, INTERACTION, KEEP, KEY, KEYS, LIST,
        LIVEKIT, MISSING, NOT_ARCHIVED, PAGE_TOKEN, RECORDING_SID, REPORT, REQUEST, SHARE, SHARE_PAGE, SHARE_PASSCODE,
        STORED_TRANSCRIPT, VALUE, WAVEFORM,
    },
    services::{AUDIO_URL, AUDIT, DATABASE, QUEUE, SIGNER, STORAGE, TRANSCRIPTION, TWILIO},
};
use super::error::{RecordingsErrorBody, TwilioErrorBody};

/// The groups of codes by the names that operations use for them in `x-errors`.
pub const GROUPS: &[(&str, &[ErrorCode])] = &[
    ("request", REQUEST),
    ("key", KEY),
    ("keys", KEYS),
    ("archived", ARCHIVED),
    ("audit", AUDIT),
    ("audit_list", AUDIT_LIST),
    ("not_archived", NOT_ARCHIVED),
    ("call", CALL),
    ("keep", KEEP),
    ("erase", ERASE),
    ("erasure", ERASURE),
    ("waveform", WAVEFORM),
    ("body", BODY),
    ("value", VALUE),
    ("dispatch_id", DISPATCH_ID),
    ("recording_sid", RECORDING_SID),
    ("missing", MISSING),
    ("list", LIST),
    ("page_token", PAGE_TOKEN),
    ("interaction", INTERACTION),
    ("report", REPORT),
    ("share", SHARE),
    ("share_page", SHARE_PAGE),
    ("share_passcode", SHARE_PASSCODE),
    ("stored_transcript", STORED_TRANSCRIPT),
    ("database", DATABASE),
    ("signer", SIGNER),
    ("storage", STORAGE),
    ("livekit", LIVEKIT),
    ("callback", CALLBACK),
    ("queue", QUEUE),
    ("twilio", TWILIO),
    ("audio_url", AUDIO_URL),
    ("transcription", TRANSCRIPTION),
];

/// The schemas of the two error bodies and what they have in common, with their names.
pub fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        (TwilioErrorBody::name().into_owned(), TwilioErrorBody::schema()),
        (RecordingsErrorBody::name().into_owned(), RecordingsErrorBody::schema()),
    ];
    RecordingsErrorBody::schemas(&mut schemas);
    schemas
}
