//! Transcribes some calls of the demo, so that the console has something to read. The stand-in for Whisper costs nothing.

use reqwest::Client;
use serde_json::{Value, json};

use crate::demo;

/// The number of the newest calls that are transcribed.
const CALLS: &str = "8";

/// Requests the transcripts that do not exist yet. A failure is only logged.
pub(super) async fn transcribe(api: String) {
    if let Err(error) = request_all(&Client::new(), &api).await {
        tracing::warn!(%error, "the calls of the demo are not transcribed");
    }
}

async fn request_all(client: &Client, api: &str) -> reqwest::Result<()> {
    let list = client.get(format!("{api}/recordings?limit={CALLS}"));
    let list: Value = list.header("X-API-Key", demo::API_KEY).send().await?.json().await?;
    let rows = list["recordings"].as_array().into_iter().flatten();
    let open = rows.filter(|row| row["has_transcript"] == false);
    // The documented call stays as the documentation describes it.
    for id in open
        .filter_map(|row| row["dispatch_id"].as_str())
        .filter(|id| *id != demo::SHARED_CALL)
    {
        let post = client.post(format!("{api}/recordings/{id}/transcript"));
        let post = post.header("X-API-Key", demo::API_KEY).json(&json!({}));
        post.send().await?;
    }
    Ok(())
}
