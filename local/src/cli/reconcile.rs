//! `cargo run -- reconcile`: runs the reconciler of a running `cargo run` immediately instead of at its next scheduled time.

use std::error::Error;

use clap::Args;
use reqwest::Client;
use serde_json::Value;

/// Which stack.
#[derive(Args)]
pub(super) struct Reconcile {
    /// Address of the embedded AWS of a running `cargo run`. For a deployment, use `aws lambda invoke` (docs/operations.md)
    #[arg(long, default_value = "http://localhost:4566")]
    endpoint_url: String,
}

impl Reconcile {
    /// Invokes the function until its round is finished. A run ends shortly before the function's timeout, and the next one continues it.
    pub(super) async fn run(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let client = Client::builder().no_proxy().build()?;
        let base = self.endpoint_url.trim_end_matches('/');
        let url = format!("{base}/2015-03-31/functions/reconcile-recordings/invocations");
        loop {
            let response = client.post(&url).send().await;
            let response =
                response.map_err(|error| format!("no `cargo run` answers at {base}: {}", error.without_url()))?;
            let has_failed = !response.status().is_success() || response.headers().contains_key("x-amz-function-error");
            let answer: Value = response.json().await.unwrap_or_default();
            if has_failed {
                let reason = answer["errorMessage"].as_str().or(answer["Message"].as_str());
                return Err(format!("the reconciler failed: {}", reason.unwrap_or("no reason given")).into());
            }
            if answer["finished"] == true {
                return Ok(());
            }
            eprintln!("the round continues");
        }
    }
}
