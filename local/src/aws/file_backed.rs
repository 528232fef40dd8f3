//! A winterbaume service that stores its state in a JSON file.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use winterbaume_core::{MockRequest, StatefulService};

use super::{
    error::Error,
    identity::{ACCOUNT_ID, REGION},
};

pub(super) struct FileBacked<S> {
    service: S,
    file: PathBuf,
    /// Locked while the file is written, so that the last write contains the latest state.
    writing: Mutex<()>,
}

impl<S: StatefulService> FileBacked<S> {
    /// `service` with the state in `file`, if the file exists.
    pub(super) async fn open(service: S, file: PathBuf) -> Result<Self, Error> {
        let unreadable = |reason: String| Error::new("read its state from", &file, reason);
        match tokio::fs::read(&file).await {
            Ok(text) => {
                let state = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
                service
                    .restore(ACCOUNT_ID, REGION, state)
                    .await
                    .map_err(|error| unreadable(error.to_string()))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error.to_string())),
        }
        Ok(Self {
            service,
            file,
            writing: Mutex::default(),
        })
    }

    /// Processes a JSON request. A changed state is written to disk before the response is returned.
    pub(super) async fn answer(&self, parts: &Parts, body: Bytes, operation: &str) -> (StatusCode, Bytes) {
        let response = self
            .service
            .handle(MockRequest {
                method: parts.method.to_string(),
                uri: format!("https://{}.{REGION}.amazonaws.com/", self.service.service_name()),
                headers: parts.headers.clone(),
                body,
            })
            .await;
        let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_success()
            && changes_state(operation)
            && let Err(error) = self.save().await
        {
            let body = serde_json::json!({"__type": "InternalServiceError", "message": error.to_string()});
            return (StatusCode::INTERNAL_SERVER_ERROR, body.to_string().into());
        }
        (status, response.body)
    }

    pub(super) async fn save(&self) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let state = self.service.snapshot(ACCOUNT_ID, REGION).await;
        let unwritable = |reason: String| Error::new("write its state to", &self.file, reason);
        let text = serde_json::to_vec_pretty(&state).map_err(|error| unwritable(error.to_string()))?;
        replace(&self.file, &text)
            .await
            .map_err(|error| unwritable(error.to_string()))
    }
}

/// Whether an operation changes the stored state. SQS messages are stored elsewhere.
fn changes_state(operation: &str) -> bool {
    let reads = ["Get", "BatchGet", "Describe", "List", "Validate"];
    let messages = [
        "SendMessage",
        "ReceiveMessage",
        "DeleteMessage",
        "ChangeMessage",
        "PurgeQueue",
    ];
    !reads
        .iter()
        .chain(&messages)
        .any(|prefix| operation.starts_with(prefix))
}

/// Replaces `file` atomically. Only its owner can read it, because it contains secrets.
async fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let new = file.with_extension("json.new");
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut output = options.open(&new).await?;
    output.write_all(text).await?;
    output.flush().await?;
    tokio::fs::rename(&new, file).await
}
