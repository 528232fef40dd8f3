//! The secret with the API keys: read, changed and written as a whole.

use std::{error::Error, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_secret_version_stage::UpdateSecretVersionStageError,
};
use shared::{clients::aws::reason, http::access::KeysSecret};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The label of the version that everybody reads.
const CURRENT: &str = "AWSCURRENT";
/// The label of a version that is written and not current yet. It is the same in all commands, so that an interrupted one leaves no label of its own:
/// a secret can have 20. It stays on the last version that was written.
const PENDING: &str = "KEYSPENDING";
/// How often a command tries to write its change while others write theirs.
const ATTEMPTS: u32 = 20;
/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The secret in Secrets Manager.
pub(super) struct Store {
    client: Client,
    secret_id: String,
}

/// What came of an attempt to make a version current.
enum Moved {
    /// It is the current one.
    Yes,
    /// Another version became current since the secret was read, or the attempt's response was lost.
    Unknown,
}

impl Store {
    pub(super) fn new(config: &SdkConfig, secret_id: String) -> Self {
        Self {
            client: Client::new(config),
            secret_id,
        }
    }

    /// Reads the secret.
    pub(super) async fn read(&self) -> Result<KeysSecret> {
        Ok(self.read_version().await?.1)
    }

    /// Makes a change and writes the secret, on condition that nobody has written it since it was read; otherwise it is read and changed again.
    /// Returns what the last call of `change` returned.
    pub(super) async fn change<T>(&self, mut change: impl FnMut(&mut KeysSecret) -> Result<T>) -> Result<T> {
        let mut written: Option<(String, T)> = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(pause(attempt)).await;
            }
            let (version, mut secret) = self.read_version().await?;
            // The version became current, and only the response was lost.
            if let Some((_, result)) = written.take_if(|(written, _)| *written == version) {
                return Ok(result);
            }
            let result = change(&mut secret)?;
            let new = self.put(&secret).await?;
            match self.make_current(&new, &version).await? {
                Moved::Yes => return Ok(result),
                Moved::Unknown => written = Some((new, result)),
            }
        }
        Err(format!(
            "the secret {} is being changed by others all the time; nothing was changed, try again",
            self.secret_id
        )
        .into())
    }

    /// The id of the current version and its content.
    async fn read_version(&self) -> Result<(String, KeysSecret)> {
        let id = &self.secret_id;
        let stored = self.client.get_secret_value().secret_id(id).send().await;
        let stored = stored.map_err(|error| format!("the secret {id} can't be read: {}", reason(&error)))?;
        let text = stored
            .secret_string()
            .ok_or_else(|| format!("the secret {id} has no text value"))?;
        let version = stored
            .version_id()
            .ok_or_else(|| format!("the version of the secret {id} is not known"))?;
        // The parser's message could quote the secret.
        let secret = serde_json::from_str(text)
            .map_err(|_| format!("the secret {id} is not of the form {{\"keys\": [...]}}"))?;
        Ok((version.to_owned(), secret))
    }

    /// Writes a version of the secret that is not current yet. Returns its id.
    async fn put(&self, secret: &KeysSecret) -> Result<String> {
        let id = &self.secret_id;
        let put = self.client.put_secret_value().secret_id(id).version_stages(PENDING);
        let put = put.secret_string(serde_json::to_string(secret)?).send().await;
        let put = put.map_err(|error| format!("the secret {id} can't be written: {}", reason(&error)))?;
        let version = put.version_id();
        Ok(version
            .ok_or_else(|| format!("the new version of the secret {id} is not known"))?
            .to_owned())
    }

    /// Makes the version `new` current if `old` still is.
    async fn make_current(&self, new: &str, old: &str) -> Result<Moved> {
        let moved = self
            .client
            .update_secret_version_stage()
            .secret_id(&self.secret_id)
            .version_stage(CURRENT)
            .move_to_version_id(new)
            .remove_from_version_id(old)
            .send()
            .await;
        match moved {
            Ok(_) => Ok(Moved::Yes),
            Err(error) if may_be_moved(&error) => Ok(Moved::Unknown),
            Err(error) => Err(format!("the secret {} can't be written: {}", self.secret_id, reason(&error)).into()),
        }
    }
}

/// Whether the error says that another version is current, or leaves open what became of the request.
fn may_be_moved(error: &SdkError<UpdateSecretVersionStageError>) -> bool {
    match error.as_service_error() {
        Some(service) => {
            service.is_invalid_parameter_exception()
                || service.is_invalid_request_exception()
                || service.is_resource_not_found_exception()
                || service.is_internal_service_error()
                || service.code() == Some("ThrottlingException")
        }
        None => true,
    }
}

/// A pause of random length, so that commands which met once don't meet again.
fn pause(attempt: u32) -> Duration {
    let longest = Duration::from_millis(20)
        .saturating_mul(1 << attempt.min(10))
        .min(LONGEST_PAUSE);
    longest.mul_f64(fastrand::f64())
}
