//! Secrets Manager, with a cache: a secret is read during INIT and again when it is older than [`TTL`].

use std::{sync::Arc, time::Duration};

use aws_sdk_secretsmanager::Client;
use serde::de::DeserializeOwned;
use tokio::{sync::Mutex, time::Instant};

use crate::clients::aws::causes;

/// How long a secret is used before it is read again. This is the delay until a rotated or revoked key takes effect.
pub const TTL: Duration = Duration::from_secs(300);

/// How long the last known value is used while Secrets Manager does not answer.
const STALE_LIMIT: Duration = Duration::from_secs(3600);

/// Why a secret can't be used. No variant holds any of its contents.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// No such secret, or it has no value yet.
    #[error("the secret {0} does not exist or has no value")]
    Missing(String),
    /// The secret is not the JSON that is expected.
    #[error("the secret {0} is not of the documented JSON form")]
    Malformed(String),
    /// Secrets Manager could not be asked.
    #[error("the secret {0} could not be read: {1}")]
    Unavailable(String, String),
}

/// One secret: JSON of the form `T`.
pub struct Secret<T> {
    id: String,
    client: Client,
    // Held across the read: concurrent callers wait for one answer instead of asking each for itself.
    state: Mutex<State<T>>,
}

struct State<T> {
    cached: Option<Cached<T>>,
    refreshed: Option<Instant>,
}

struct Cached<T> {
    value: Arc<T>,
    loaded: Instant,
    checked: Instant,
}

impl<T: DeserializeOwned> Secret<T> {
    /// The secret with this name or ARN. Nothing is read yet.
    pub fn new(client: Client, id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            client,
            state: Mutex::new(State {
                cached: None,
                refreshed: None,
            }),
        }
    }

    /// Reads the secret ahead of its first use. A failure is only logged: each request will try again and say what is wrong.
    pub async fn preload(&self) {
        if let Err(error) = self.get().await {
            tracing::warn!(%error, "secret not available during INIT");
        }
    }

    /// The secret, at most [`TTL`] old; older only while Secrets Manager does not answer, and then up to an hour.
    pub async fn get(&self) -> Result<Arc<T>, SecretError> {
        let mut state = self.state.lock().await;
        match state.cached.as_ref().filter(|known| known.checked.elapsed() < TTL) {
            Some(known) => Ok(known.value.clone()),
            None => self.load(&mut state.cached).await,
        }
    }

    /// The secret, read again whatever its age, for a caller that did not find in it what it looked for; but not more often than once in `interval`.
    pub async fn refresh(&self, interval: Duration) -> Result<Arc<T>, SecretError> {
        let mut state = self.state.lock().await;
        if let Some(known) = &state.cached
            && state.refreshed.is_some_and(|last| last.elapsed() < interval)
        {
            return Ok(known.value.clone());
        }
        state.refreshed = Some(Instant::now());
        self.load(&mut state.cached).await
    }

    async fn load(&self, cached: &mut Option<Cached<T>>) -> Result<Arc<T>, SecretError> {
        match self.read().await {
            Ok(value) => {
                let (value, now) = (Arc::new(value), Instant::now());
                *cached = Some(Cached {
                    value: value.clone(),
                    loaded: now,
                    checked: now,
                });
                Ok(value)
            }
            Err(error @ SecretError::Unavailable(..)) => match cached.as_mut() {
                Some(known) if known.loaded.elapsed() < STALE_LIMIT => {
                    tracing::warn!(%error, "using the last known value");
                    known.checked = Instant::now();
                    Ok(known.value.clone())
                }
                _ => Err(error),
            },
            Err(error) => {
                *cached = None;
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<T, SecretError> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(&self.id)
            .send()
            .await
            .map_err(|error| match error.as_service_error() {
                Some(service) if service.is_resource_not_found_exception() => SecretError::Missing(self.id.clone()),
                _ => SecretError::Unavailable(self.id.clone(), causes(&error)),
            })?;
        let text = answer
            .secret_string()
            .ok_or_else(|| SecretError::Missing(self.id.clone()))?;
        // The parser's own message could quote the secret.
        serde_json::from_str(text).map_err(|_| SecretError::Malformed(self.id.clone()))
    }
}
