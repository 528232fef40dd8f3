//! `cargo run -- mint-key`: creates an API key, of which the deployment stores only the hash.

use std::error::Error;

use aws_sdk_secretsmanager::Client;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{clients::aws::reason, http::access};

use super::aws_config;

/// The arguments of `mint-key`.
#[derive(Args)]
pub struct MintKey {
    /// Name under which the key appears in the log, for example `ops`
    id: String,
    /// Name or ARN of the secret that holds the API keys
    #[arg(long, default_value = crate::stack::account::API_KEYS_SECRET)]
    secret_id: String,
    /// `*`, or any of recordings:read, recordings:share, recordings:transcribe, recordings:write, twilio:read, twilio:transcribe
    #[arg(long = "scope", default_value = "*", value_parser = ["*", "recordings:read", "recordings:share", "recordings:transcribe", "recordings:write", "twilio:read", "twilio:transcribe"])]
    scopes: Vec<String>,
    /// When the key expires, for example 2027-01-01T00:00:00Z; never if not given
    #[arg(long)]
    expires_at: Option<Timestamp>,
    /// Endpoint of Secrets Manager: http://localhost:4566 for a running `cargo run`; AWS if not given
    #[arg(long)]
    endpoint_url: Option<String>,
}

impl MintKey {
    /// Adds the new key's hash to the secret, with the AWS credentials of this shell, and returns the key, which is not stored.
    pub async fn run(self) -> Result<String, Box<dyn Error + Send + Sync>> {
        let config = aws_config::load(self.endpoint_url.as_deref()).await?;
        self.run_with(&Client::new(&config)).await
    }

    /// Like [`MintKey::run`], with this client.
    pub async fn run_with(self, client: &Client) -> Result<String, Box<dyn Error + Send + Sync>> {
        let stored = client.get_secret_value().secret_id(&self.secret_id).send().await;
        let stored =
            stored.map_err(|error| format!("the secret {} can't be read: {}", self.secret_id, reason(&error)))?;
        let mut secret: Value = serde_json::from_str(stored.secret_string().unwrap_or(r#"{"keys":[]}"#))?;
        let keys = secret.get_mut("keys").and_then(Value::as_array_mut);
        let keys =
            keys.ok_or_else(|| format!("the secret {} is not of the form {{\"keys\": [...]}}", self.secret_id))?;
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let key = format!("crk_{}", URL_SAFE_NO_PAD.encode(random));
        keys.push(
            json!({"id": self.id, "sha256": access::hash_key(&key), "scopes": self.scopes, "expires_at": self.expires_at}),
        );
        let put = client.put_secret_value().secret_id(&self.secret_id);
        put.secret_string(secret.to_string())
            .send()
            .await
            .map_err(|error| format!("the secret {} can't be written: {}", self.secret_id, reason(&error)))?;
        Ok(key)
    }
}
