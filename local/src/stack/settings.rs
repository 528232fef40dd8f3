//! What to start, and the functions' environment that follows from it.

use jiff::Timestamp;

use super::account;
use crate::{
    aws::{self, Storage},
    serve::Reach,
};

/// What to start.
pub struct Settings {
    /// Port of the API; 0 for any.
    pub port: u16,
    /// Port of AWS and the stand-ins; 0 for any.
    pub aws_port: u16,
    /// Who can reach the AWS port. Containers need [`Reach::Network`].
    pub aws_reach: Reach,
    /// Where state lives.
    pub storage: Storage,
    /// Delete the state of earlier runs first.
    pub reset: bool,
    /// Leave the API out.
    pub aws_only: bool,
    /// Leave the demo data out.
    pub empty: bool,
    /// The time that the demo's dates lead up to; `None` stands for the time at which the tables were created, so that a restart finds the same dates.
    pub demo_time: Option<Timestamp>,
    /// A Twilio account in place of the stand-in.
    pub twilio: Option<TwilioAccount>,
    /// A transcription API in place of the stand-in.
    pub whisper: Option<TranscriptionApi>,
    /// Run functions on their schedules.
    pub schedules: bool,
    /// Further variables of the functions' environment, which win over the stack's own.
    pub environment: Vec<(String, String)>,
}

/// A real Twilio account, or another stand-in.
pub struct TwilioAccount {
    /// Account SID.
    pub account_sid: String,
    /// Auth token.
    pub auth_token: String,
    /// Where its API is, without a path.
    pub base_url: String,
}

/// A real transcription API, or another stand-in.
pub struct TranscriptionApi {
    /// Key; empty for none.
    pub api_key: String,
    /// Where it is, for example `https://api.openai.com/v1`.
    pub base_url: String,
}

/// The environment of the functions, without the variables that only a running stack knows.
pub(super) fn environment(settings: &Settings, aws_url: &str) -> Vec<(String, String)> {
    let twilio = settings.twilio.as_ref().map_or(aws_url, |account| &account.base_url);
    let stand_in_whisper = format!("{aws_url}/v1");
    let whisper = settings.whisper.as_ref().map_or(&stand_in_whisper, |api| &api.base_url);
    let port = if settings.port == 0 { 8000 } else { settings.port };
    let public_url = format!("http://localhost:{port}");
    let own = [
        ("PUBLIC_BASE_URL", public_url.as_str()),
        ("LIVEKIT_SECRET", account::LIVEKIT_SECRET),
        ("AWS_REGION", aws::REGION),
        ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL", aws_url),
        ("CALLS_TABLE", account::CALLS_TABLE),
        ("TRANSCRIPTS_TABLE", account::TRANSCRIPTS_TABLE),
        ("RECORDINGS_BUCKET", account::BUCKET),
        ("RECORDINGS_AUTH", "open"),
        ("API_KEYS_SECRET", account::API_KEYS_SECRET),
        ("TWILIO_SECRET", account::TWILIO_SECRET),
        ("WHISPER_SECRET", account::WHISPER_SECRET),
        ("SIGNER_SECRET", account::SIGNER_SECRET),
        ("TWILIO_BASE_URL", twilio),
        ("WHISPER_BASE_URL", whisper),
    ];
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}
