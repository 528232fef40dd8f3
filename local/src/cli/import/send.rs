//! Sends one line of an import to the API.

use reqwest::{Client, StatusCode};
use serde_json::{Map, Value};
use shared::retry::{backoff, retry_after};

/// Attempts per line while the API is not reachable.
const ATTEMPTS: u32 = 8;
/// Attempts per line while the API throttles requests, which an import can cause: about ten minutes.
const THROTTLED_ATTEMPTS: u32 = 200;

/// The API that gets the lines.
pub(super) struct Api {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) key: String,
}

/// The result of one line.
pub(super) enum Sent {
    Imported,
    /// The line is invalid, for this reason.
    Rejected(String),
    /// The API failed.
    Fault(String),
}

impl Api {
    /// Sends one line, and again while the API is unavailable or throttles.
    pub(super) async fn send(&self, object: &Map<String, Value>) -> Sent {
        let (mut away, mut busy) = (0, 0);
        loop {
            let answer = self
                .client
                .post(&self.url)
                .header("x-api-key", &self.key)
                .json(object)
                .send()
                .await;
            let status = answer.as_ref().map(|answer| answer.status()).ok();
            let (tries, most) = match status {
                Some(StatusCode::TOO_MANY_REQUESTS) => (&mut busy, THROTTLED_ATTEMPTS),
                _ => (&mut away, ATTEMPTS),
            };
            *tries += 1;
            let passing =
                status.is_none_or(|status| status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error());
            if passing && *tries < most {
                let asked = answer.ok().and_then(|answer| retry_after(answer.headers()));
                tokio::time::sleep(backoff(*tries).max(asked.unwrap_or_default())).await;
                continue;
            }
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Sent::Fault(format!("the API does not respond: {}", error.without_url())),
            };
            let status = answer.status();
            if status.is_success() {
                return Sent::Imported;
            }
            let body: Value = answer.json().await.unwrap_or_default();
            let detail = body["detail"].as_str().unwrap_or("no reason given").to_owned();
            return match status {
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Sent::Rejected(detail),
                _ => Sent::Fault(format!("the API returned {status}: {detail}")),
            };
        }
    }
}
