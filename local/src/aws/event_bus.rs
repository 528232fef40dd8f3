//! EventBridge with one bus, for S3 events and `PutEvents`.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::identity::{ACCOUNT_ID, REGION};

#[derive(Default)]
pub(super) struct EventBus(Mutex<Option<UnboundedSender<Value>>>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    /// In Unix seconds.
    time: Option<f64>,
    #[serde(default)]
    resources: Vec<String>,
}

impl EventBus {
    /// A receiver for all events from now on. There is one receiver at a time: a new one replaces the previous one.
    pub(super) fn events(&self) -> UnboundedReceiver<Value> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Sends an S3 event if `operation` wrote or deleted an object. Later requests must have a greater `number`.
    pub(super) fn send_object_event(&self, operation: &str, path: &str, number: u64) {
        let detail_type = match operation {
            "PutObject" | "CopyObject" | "CompleteMultipartUpload" => "Object Created",
            "DeleteObject" => "Object Deleted",
            _ => return,
        };
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let Some((bucket, key)) = path.trim_start_matches('/').split_once('/') else {
            return;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let sequencer = format!("{:016X}{number:08X}", now.unwrap_or_default().as_nanos());
        let resources = vec![format!("arn:aws:s3:::{bucket}")];
        let detail =
            json!({"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "sequencer": sequencer}});
        self.send("aws.s3", detail_type, Timestamp::now(), resources, detail);
    }

    pub(super) fn answer(&self, operation: &str, body: &[u8]) -> (StatusCode, String) {
        let refused = |kind: &str, message: &str| {
            let body = json!({"__type": kind, "message": message});
            (StatusCode::BAD_REQUEST, body.to_string())
        };
        if operation != "PutEvents" {
            return refused(
                "UnknownOperationException",
                "The local EventBridge has only the operation PutEvents.",
            );
        }
        let put: PutEvents = match serde_json::from_slice(body) {
            Ok(put) => put,
            Err(error) => return refused("ValidationException", &error.to_string()),
        };
        if !(1..=10).contains(&put.entries.len()) {
            return refused("ValidationException", "Entries must have 1 to 10 members.");
        }
        let entries: Vec<Value> = put.entries.into_iter().map(|entry| self.put(entry)).collect();
        let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
        let body = json!({"FailedEntryCount": failed, "Entries": entries});
        (StatusCode::OK, body.to_string())
    }

    fn put(&self, entry: Entry) -> Value {
        let refused = |code: &str, message: &str| json!({"ErrorCode": code, "ErrorMessage": message});
        let (Some(source), Some(detail_type), Some(detail)) = (entry.source, entry.detail_type, entry.detail) else {
            return refused("InvalidArgument", "Source, DetailType and Detail are required.");
        };
        if source.starts_with("aws.") {
            return refused(
                "NotAuthorizedForSourceException",
                "Sources that begin with aws. are reserved for AWS.",
            );
        }
        let detail: Value = match serde_json::from_str(&detail) {
            Ok(detail @ Value::Object(_)) => detail,
            _ => return refused("MalformedDetail", "Detail is malformed."),
        };
        let milliseconds = entry.time.map(|seconds| (seconds * 1000.0) as i64);
        let time = milliseconds.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok());
        let time = time.unwrap_or_else(Timestamp::now);
        json!({"EventId": self.send(&source, &detail_type, time, entry.resources, detail)})
    }

    /// Puts an event on the bus and returns its id. Without a receiver the event is dropped, which is not an error.
    fn send(&self, source: &str, detail_type: &str, time: Timestamp, resources: Vec<String>, detail: Value) -> String {
        let id = format!("{:032x}", fastrand::u128(..));
        let event = json!({
            "version": "0",
            "id": id,
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT_ID,
            "time": time,
            "region": REGION,
            "resources": resources,
            "detail": detail,
        });
        if let Some(sender) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = sender.send(event);
        }
        id
    }
}
