//! `cargo run -- archive`: copies older Twilio recordings into the bucket, through the API.

use std::{error::Error, time::Duration};

use clap::Args;
use jiff::civil::Date;
use reqwest::{Client, Method, StatusCode, Url, redirect::Policy};
use serde_json::Value;
use shared::retry::{backoff, retry_after};
use tokio::time::{Instant, sleep_until};

/// Attempts per request while the API is not reachable or throttles.
const ATTEMPTS: u32 = 20;

/// The arguments of `archive`.
#[derive(Args)]
pub struct Archive {
    /// The UTC day of the first calls whose recordings are copied
    #[arg(long)]
    since: Date,
    /// Base URL of the API
    #[arg(long, default_value = "http://localhost:8000")]
    api: String,
    /// A key with the scopes recordings:read and recordings:archive
    #[arg(long, env = "CALL_RECORDINGS_API_KEY", hide_env_values = true)]
    api_key: String,
    /// Count the recordings and copy nothing
    #[arg(long)]
    dry_run: bool,
    /// The maximum number of recordings a second
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
}

/// The result so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Recordings of Twilio that were seen.
    pub seen: u64,
    /// Of these, the recordings that the bucket has.
    pub archived: u64,
    /// Recordings that were sent to the queue, or with `--dry-run` would be.
    pub queued: u64,
    /// The start time of the last call that was read.
    pub reached: String,
}

type Fault = Box<dyn Error + Send + Sync>;

impl Archive {
    /// Queues every recording that the bucket does not have, oldest first, and calls `progress` after each page. A run that was interrupted is
    /// repeated: what is copied by then is not copied again.
    pub async fn run(&self, mut progress: impl FnMut(&Requested)) -> Result<Requested, Fault> {
        // A redirect would send the key to another host.
        let client = Client::builder().no_proxy().redirect(Policy::none());
        let client = client.timeout(Duration::from_secs(40)).build()?;
        let mut done = Requested::default();
        let mut next: Option<String> = None;
        let pause = Duration::from_secs(1) / self.rate;
        let mut due = Instant::now();
        loop {
            let mut query = vec![
                ("order", "asc".to_owned()),
                ("limit", "100".to_owned()),
                ("started_after", self.since.to_string()),
            ];
            query.extend(next.take().map(|cursor| ("cursor", cursor)));
            let page = self.send(&client, Method::GET, "/recordings", &query).await?;
            for row in page["recordings"].as_array().into_iter().flatten() {
                if let Some(start) = row["start_time"].as_str() {
                    start.clone_into(&mut done.reached);
                }
                let recordings = row["recordings"].as_array().into_iter().flatten();
                for recording in recordings.filter(|recording| recording["source"] == "twilio") {
                    done.seen += 1;
                    let (Some(sid), false) = (recording["sid"].as_str(), recording["archived"] == true) else {
                        done.archived += 1;
                        continue;
                    };
                    if !self.dry_run {
                        sleep_until(due).await;
                        due = Instant::now() + pause;
                        let path = format!("/recordings/{sid}/archive");
                        self.send(&client, Method::POST, &path, &[]).await?;
                    }
                    done.queued += 1;
                }
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => next = Some(cursor.to_owned()),
                None => return Ok(done),
            }
            progress(&done);
        }
    }

    async fn send(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Value, Fault> {
        let url = format!("{}{path}", self.api.trim_end_matches('/'));
        let url = Url::parse_with_params(&url, query)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let request = client.request(method.clone(), url.clone());
            let answer = request.header("x-api-key", &self.api_key).send().await;
            let status = answer.as_ref().map(|answer| answer.status()).ok();
            let passing = status.is_none_or(|it| it == StatusCode::TOO_MANY_REQUESTS || it.is_server_error());
            if passing && tries < ATTEMPTS {
                let asked = answer.ok().and_then(|answer| retry_after(answer.headers()));
                tokio::time::sleep(backoff(tries).max(asked.unwrap_or_default())).await;
                continue;
            }
            let answer = answer.map_err(|error| format!("the API does not respond: {}", error.without_url()))?;
            let status = answer.status();
            let body: Value = answer.json().await.unwrap_or_default();
            if status.is_success() {
                return Ok(body);
            }
            let detail = body["detail"].as_str().unwrap_or("no reason given");
            return Err(format!("the API returned {status}: {detail}").into());
        }
    }
}
