//! Secrets Manager: a winterbaume service that also refuses to move a label from a version that does not have it, or to one that does not exist, as
//! AWS does.

use std::{collections::HashMap, path::PathBuf};

use axum::{
    body::Bytes,
    http::{HeaderValue, StatusCode, request::Parts},
};
use serde::Deserialize;
use tokio::sync::Mutex;
use winterbaume_secretsmanager::SecretsManagerService;

use super::{error::Error, file_backed::FileBacked};

pub(super) struct Secrets {
    service: FileBacked<SecretsManagerService>,
    /// Locked while a secret is changed, so that no other request moves the label between the check and the move.
    changing: Mutex<()>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Move {
    secret_id: String,
    version_stage: String,
    move_to_version_id: Option<String>,
    remove_from_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(default)]
    version_ids_to_stages: HashMap<String, Vec<String>>,
}

impl Secrets {
    /// The service with the state in `file`, if the file exists.
    pub(super) async fn open(file: PathBuf) -> Result<Self, Error> {
        Ok(Self {
            service: FileBacked::open(SecretsManagerService::new(), file).await?,
            changing: Mutex::default(),
        })
    }

    /// Processes a JSON request.
    pub(super) async fn answer(&self, parts: &Parts, body: Bytes, operation: &str) -> (StatusCode, Bytes) {
        let _changing = match operation.starts_with("Get") {
            true => None,
            false => Some(self.changing.lock().await),
        };
        if operation == "UpdateSecretVersionStage"
            && let Some(refusal) = self.refuse_move(parts, &body).await
        {
            return refusal;
        }
        self.service.answer(parts, body, operation).await
    }

    pub(super) async fn save(&self) -> Result<(), Error> {
        self.service.save().await
    }

    /// AWS's refusal if another version than the one in `RemoveFromVersionId` has the label, or if the other version does not exist.
    async fn refuse_move(&self, parts: &Parts, body: &[u8]) -> Option<(StatusCode, Bytes)> {
        let wanted: Move = serde_json::from_slice(body).ok()?;
        let described = self.describe(parts, &wanted.secret_id).await?;
        let target = wanted.move_to_version_id.as_ref();
        if target.is_some_and(|version| !described.version_ids_to_stages.contains_key(version)) {
            let message = "Secrets Manager can't find the specified secret version.";
            return Some(refusal("ResourceNotFoundException", message));
        }
        let versions = described.version_ids_to_stages;
        let holder = versions
            .into_iter()
            .find(|(_, labels)| labels.contains(&wanted.version_stage))
            .map(|(version, _)| version);
        if holder == wanted.remove_from_version_id || (holder.is_some() && holder == wanted.move_to_version_id) {
            return None;
        }
        let message = format!(
            "Staging label {} is currently attached to version {}, so you must explicitly reference that version in RemoveFromVersionId.",
            wanted.version_stage,
            holder.unwrap_or_default()
        );
        Some(refusal("InvalidParameterException", &message))
    }

    async fn describe(&self, parts: &Parts, secret_id: &str) -> Option<Described> {
        let mut parts = parts.clone();
        let target = HeaderValue::from_static("secretsmanager.DescribeSecret");
        parts.headers.insert("x-amz-target", target);
        let body = serde_json::json!({"SecretId": secret_id}).to_string();
        let (_, body) = self.service.answer(&parts, body.into(), "DescribeSecret").await;
        serde_json::from_slice(&body).ok()
    }
}

fn refusal(code: &str, message: &str) -> (StatusCode, Bytes) {
    let body = serde_json::json!({"__type": code, "message": message});
    (StatusCode::BAD_REQUEST, body.to_string().into())
}
