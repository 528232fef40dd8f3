//! `cargo run -- archive`: copies older Twilio recordings into the bucket, through the API.

use std::{error::Error, time::Duration};

use clap::Args;
use jiff::civil::Date;
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep_until};

use super::api::{Api, ApiFault};

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
        let api = Api::new(&self.api, self.api_key.clone())?;
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
            let page = api.send(Method::GET, "/recordings", &query, None).await?;
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
                        match api.send(Method::POST, &path, &[], None).await {
                            Ok(_) => {}
                            // It was deleted or erased since the list was read.
                            Err(ApiFault::Refused(StatusCode::NOT_FOUND, _)) => continue,
                            Err(fault) => return Err(fault.into()),
                        }
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
}
