//! The demo: the recordings of the Twilio account and the calls with their egress files, as plain values. They include the examples of the
//! documentation, field by field.

mod calls;
mod credentials;
mod dates;
mod recordings;

pub use calls::{DemoCall, DemoObject, calls, unindexed_objects};
pub use credentials::{
    ACCOUNT_SID, API_KEY, AUTH_TOKEN, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, SHARE_TOKEN, SHARED_CALL, WHISPER_API_KEY,
};
pub use dates::DOCUMENTED_TIME;
pub use recordings::twilio_recordings;
