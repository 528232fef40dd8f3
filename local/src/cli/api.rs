//! The API, for commands that send many requests to it.

use std::{error::Error, time::Duration};

use reqwest::{Client, Method, StatusCode, Url, redirect::Policy};
use serde_json::{Map, Value};
use shared::retry::{backoff, retry_after};

/// Attempts per request while the API is not reachable.
const ATTEMPTS: u32 = 8;
/// Attempts per request while the API throttles requests, which a command can cause: about ten minutes.
const THROTTLED_ATTEMPTS: u32 = 200;

/// The API of a deployment, and a key for it.
pub(super) struct Api {
    client: Client,
    base_url: Url,
    key: String,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiFault {
    /// The API answered with this status and reason.
    #[error("the API returned {0}: {1}")]
    Refused(StatusCode, String),
    /// The API does not respond.
    #[error("the API does not respond: {0}")]
    Unreachable(reqwest::Error),
}

impl Api {
    pub(super) fn new(base_url: &str, key: String) -> Result<Self, Box<dyn Error + Send + Sync>> {
        // A redirect would send the key to another host.
        let client = Client::builder().no_proxy().redirect(Policy::none());
        Ok(Self {
            client: client.timeout(Duration::from_secs(40)).build()?,
            base_url: Url::parse(base_url).map_err(|error| format!("{base_url} is not a URL: {error}"))?,
            key,
        })
    }

    /// Sends a request to this path, and again while the API is unavailable or throttles, and returns the body of its answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Map<String, Value>>,
    ) -> Result<Value, ApiFault> {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let (mut away, mut busy) = (0, 0);
        loop {
            let request = self.client.request(method.clone(), url.clone());
            let request = request.header("x-api-key", &self.key);
            let answer = match body {
                Some(body) => request.json(body),
                None => request,
            };
            let answer = answer.send().await;
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
            let answer = answer.map_err(|error| ApiFault::Unreachable(error.without_url()))?;
            let status = answer.status();
            let body: Value = answer.json().await.unwrap_or_default();
            return match status.is_success() {
                true => Ok(body),
                false => {
                    let detail = body["detail"].as_str().unwrap_or("no reason given");
                    Err(ApiFault::Refused(status, detail.to_owned()))
                }
            };
        }
    }
}
