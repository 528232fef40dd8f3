//! What EventBridge does: the bucket's events, and the schedules of `template.yaml`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    task::JoinHandle,
};

use crate::{aws::ObjectEvent, functions::Functions, gateway::Schedule};

/// Lambda tries an event this often.
const TRIES: u32 = 3;
/// The default timeout of a function that takes events.
const TIMEOUT: Duration = Duration::from_secs(28);

/// Gives each event of the bucket to index-recording until `stopped`.
pub fn drive_objects(
    mut events: UnboundedReceiver<ObjectEvent>,
    functions: Arc<Functions>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = stopped.wait_for(|stopped| *stopped) => None,
            };
            let Some(event) = event else { return };
            deliver(&functions, "index-recording", object_event(&event), TIMEOUT).await;
        }
    })
}

/// Runs a function on its schedule until `stopped`, for the first time when one interval has passed.
pub fn drive_schedule(
    schedule: Schedule,
    functions: Arc<Functions>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while tokio::time::timeout(schedule.every, stopped.wait_for(|stopped| *stopped))
            .await
            .is_err()
        {
            deliver(&functions, &schedule.function, json!({}), schedule.timeout).await;
        }
    })
}

async fn deliver(functions: &Functions, function: &str, event: Value, timeout: Duration) {
    for _ in 0..TRIES {
        let deadline = SystemTime::now() + timeout;
        match tokio::time::timeout(timeout, functions.deliver(function, event.clone(), deadline)).await {
            Ok(Some(Ok(_)) | None) => return,
            Ok(Some(Err(error))) => tracing::error!(function, %error, "event not taken"),
            Err(_) => tracing::error!(function, "function timed out"),
        }
    }
}

fn object_event(event: &ObjectEvent) -> Value {
    json!({
        "version": "0",
        "detail-type": if event.created { "Object Created" } else { "Object Deleted" },
        "source": "aws.s3",
        "detail": {
            "version": "0",
            "bucket": {"name": event.bucket},
            "object": {"key": event.key, "sequencer": event.sequencer},
        },
    })
}
