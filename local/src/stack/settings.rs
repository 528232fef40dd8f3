//! What to start, and the functions' environment that follows from it.

use std::path::PathBuf;

use axum::Router;
use jiff::Timestamp;

use super::account;
use crate::{
    aws::{self, DatabaseKind, Storage},
    demo,
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
    /// Origins whose pages may call the API from a browser.
    pub cors_allowed_origins: Vec<String>,
    /// A wrapper around the API that checks its responses.
    pub around_api: Option<fn(Router) -> Router>,
    /// Further variables of the functions' environment, which win over the stack's own.
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// Free ports, stand-ins, no demo data, and state under `dir` with the tables in memory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            port: 0,
            aws_port: 0,
            aws_reach: Reach::Machine,
            storage: Storage {
                dir,
                database: DatabaseKind::Memory,
            },
            reset: false,
            aws_only: false,
            empty: true,
            demo_time: Some(demo::DOCUMENTED_TIME),
            twilio: None,
            whisper: None,
            schedules: false,
            cors_allowed_origins: Vec::new(),
            around_api: None,
            environment: Vec::new(),
        }
    }
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
