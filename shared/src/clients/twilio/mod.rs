//! Twilio's Recordings resource, API version 2010-04-01.
//!
//! Wire formats: Twilio's OpenAPI description (`twilio_api_v2010`) and the Recordings resource documentation.

mod client;
mod credentials;
mod error;
mod media;
mod recording;
mod sid;
pub mod signature;
mod status;

pub use client::{DEFAULT_BASE_URL, Rest, Twilio};
pub use error::TwilioError;
pub use media::{Media, MediaFormat, MediaPlace};
pub use recording::{Page, PageQuery, Recording, media_url};
pub use sid::{AccountSid, RecordingSid, is_call_sid};
pub use status::{RecordingStatus, StatusGroup};
