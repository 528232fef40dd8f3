//! EventBridge rules and schedules: sends events to the queues whose rules in `template.yaml` match, and runs functions on their schedules.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_sqs::Client;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    task::JoinHandle,
};

use super::functions::Functions;
use crate::template::{Rule, Schedule};

/// Lambda's attempts to deliver an event.
const ATTEMPTS: u32 = 3;
/// The time before the first run of a schedule. On AWS it is one interval, but then the report would be missing for an hour.
const FIRST_RUN: Duration = Duration::from_secs(10);

/// Sends each event to the queues whose rules it matches, until `stopped`.
pub(super) fn drive_rules(
    rules: Vec<Rule>,
    mut events: UnboundedReceiver<Value>,
    client: Client,
    urls: HashMap<String, String>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = stopped.wait_for(|stopped| *stopped) => None,
            };
            let Some(event) = event else { return };
            for rule in rules.iter().filter(|rule| rule.matches(&event)) {
                let Some(url) = urls.get(&rule.queue) else {
                    tracing::error!(
                        queue = rule.queue,
                        "template.yaml has a rule for a queue without a function"
                    );
                    continue;
                };
                let sent = client.send_message().queue_url(url).message_body(event.to_string());
                if let Err(error) = sent.send().await {
                    tracing::error!(queue = rule.queue, %error, "the event could not be sent to the queue");
                }
            }
        }
    })
}

/// Runs a function on its schedule until `stopped`. The first run is after `FIRST_RUN`.
pub(super) fn drive_schedule(
    schedule: Schedule,
    functions: Arc<Functions>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut pause = schedule.every.min(FIRST_RUN);
        while tokio::time::timeout(pause, stopped.wait_for(|stopped| *stopped))
            .await
            .is_err()
        {
            pause = schedule.every;
            deliver(&functions, &schedule.function, &json!({}), schedule.timeout).await;
        }
    })
}

async fn deliver(functions: &Functions, function: &str, event: &Value, timeout: Duration) {
    for _ in 0..ATTEMPTS {
        let deadline = SystemTime::now() + timeout;
        match tokio::time::timeout(timeout, functions.deliver(function, event.clone(), deadline)).await {
            Ok(Some(Ok(_)) | None) => return,
            Ok(Some(Err(error))) => tracing::error!(function, %error, "the function failed"),
            Err(_) => tracing::error!(function, "the function timed out"),
        }
    }
}
