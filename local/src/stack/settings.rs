//! The settings of the stack, and the functions' environment for them.

use std::path::PathBuf;

use axum::Router;
use jiff::Timestamp;
use reqwest::Url;
use shared::metrics::Metrics;

use super::account;
use crate::{
    aws::{self, DatabaseKind, Storage},
    demo,
    hosts::Hosts,
    serve::Reach,
};

/// The settings of the stack.
pub struct Settings {
    /// Port of the API; 0 for a free one.
    pub port: u16,
    /// Port of AWS and the stand-ins; 0 for a free one.
    pub aws_port: u16,
    /// Who can reach the AWS port. Containers need [`Reach::Network`].
    pub aws_reach: Reach,
    /// Where the state is stored.
    pub storage: Storage,
    /// Whether the state of earlier runs is deleted first.
    pub reset: bool,
    /// Whether only AWS and the stand-ins are started, without the API.
    pub aws_only: bool,
    /// Whether the stack starts without demo data.
    pub empty: bool,
    /// The time up to which the demo has dates; `None` is the time at which the tables were created, so that the dates do not change after a
    /// restart.
    pub demo_time: Option<Timestamp>,
    /// A Twilio account in place of the stand-in.
    pub twilio: Option<TwilioAccount>,
    /// A transcription API in place of the stand-in.
    pub whisper: Option<TranscriptionApi>,
    /// Whether functions run on their schedules.
    pub schedules: bool,
    /// Origins whose pages may call the API from a browser.
    pub cors_allowed_origins: Vec<String>,
    /// Host names for which requests are accepted, besides this machine's own and that of `PUBLIC_BASE_URL`.
    pub allowed_hosts: Vec<String>,
    /// A wrapper around the API that checks its responses.
    pub around_api: Option<fn(Router) -> Router>,
    /// Where the functions' metrics go instead of stdout.
    pub metrics: Option<Metrics>,
    /// Additional variables of the functions' environment, which override those of the stack.
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// The host names for which both ports accept requests.
    pub(super) fn hosts(&self) -> Hosts {
        let public = self.environment.iter().rfind(|(name, _)| name == "PUBLIC_BASE_URL");
        let public = public.and_then(|(_, url)| Url::parse(url).ok());
        let public = public.as_ref().and_then(Url::host_str);
        Hosts::new(self.allowed_hosts.iter().map(String::as_str).chain(public))
    }

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
            allowed_hosts: Vec::new(),
            around_api: None,
            metrics: None,
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
    /// Base URL of its API, without a path.
    pub base_url: String,
}

/// A real transcription API, or another stand-in.
pub struct TranscriptionApi {
    /// The API key; empty if the server needs none.
    pub api_key: String,
    /// Base URL, for example `https://api.openai.com/v1`.
    pub base_url: String,
}

/// The environment of the functions, without the variables that are known only after the stack is started.
pub(super) fn environment(settings: &Settings, aws_url: &str, api_url: Option<&str>) -> Vec<(String, String)> {
    let twilio = settings.twilio.as_ref().map_or(aws_url, |account| &account.base_url);
    let stand_in_whisper = format!("{aws_url}/v1");
    let whisper = settings.whisper.as_ref().map_or(&stand_in_whisper, |api| &api.base_url);
    let own = [
        ("PUBLIC_BASE_URL", api_url.unwrap_or("http://localhost:8000")),
        ("LIVEKIT_SECRET", account::LIVEKIT_SECRET),
        ("AWS_REGION", aws::REGION),
        ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", aws::SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL", aws_url),
        ("CALLS_TABLE", account::CALLS_TABLE),
        ("TRANSCRIPTS_TABLE", account::TRANSCRIPTS_TABLE),
        ("LIFECYCLE_TABLE", account::LIFECYCLE_TABLE),
        ("SHARES_TABLE", account::SHARES_TABLE),
        ("AUDIT_TABLE", account::AUDIT_TABLE),
        ("RECORDINGS_BUCKET", account::BUCKET),
        ("RECORDINGS_AUTH", "open"),
        ("API_KEYS_SECRET", account::API_KEYS_SECRET),
        ("TWILIO_SECRET", account::TWILIO_SECRET),
        ("WHISPER_SECRET", account::WHISPER_SECRET),
        ("TOMBSTONE_SECRET", account::TOMBSTONE_SECRET),
        ("RECEIPT_SECRET", account::RECEIPT_SECRET),
        ("SIGNER_SECRET", account::SIGNER_SECRET),
        ("TWILIO_BASE_URL", twilio),
        ("WHISPER_BASE_URL", whisper),
    ];
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}
