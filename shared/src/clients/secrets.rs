//! Secrets from Secrets Manager, with a cache: a secret is read in the INIT phase and again after [`TTL`].

use std::{sync::Arc, time::Duration};

use aws_sdk_secretsmanager::{Client, error::ProvideErrorMetadata};
use serde::de::DeserializeOwned;
use tokio::{sync::Mutex, time::Instant};

use crate::clients::aws::cause;

/// How long a cached secret is used before it is read again. A rotated or revoked key takes effect after at most this time.
pub const TTL: Duration = Duration::from_secs(300);

/// How long it is remembered that a secret is missing or malformed. Requests in the meantime cause no further reads of it.
const UNUSABLE_TTL: Duration = Duration::from_secs(30);

/// The same if AWS denies the access. It is short, because a key must work soon after the permission is repaired. An outage is not remembered: the
/// next request may succeed.
const DENIED_TTL: Duration = Duration::from_secs(3);

/// How long the last known value is used while Secrets Manager does not respond.
const STALE_LIMIT: Duration = Duration::from_secs(3600);

/// Why a secret can't be used. No variant contains any part of the secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// The secret does not exist or has no value.
    #[error("the secret {0} does not exist or has no value")]
    Missing(String),
    /// The secret is not JSON of the expected form.
    #[error("the secret {0} does not have the documented JSON form")]
    Malformed(String),
    /// Secrets Manager did not respond or refused the request.
    #[error("the secret {0} could not be read: {1}")]
    Unavailable(String, String),
}

/// A cached secret, parsed from JSON as `T`.
pub struct Secret<T> {
    id: String,
    client: Client,
    // Locked during the request, so that concurrent callers wait for one response instead of each sending a request.
    state: Mutex<State<T>>,
}

struct State<T> {
    cached: Option<Cached<T>>,
    refreshed: Option<Instant>,
    // Why there is no usable value, and until when that is remembered.
    failed: Option<(SecretError, Instant)>,
}

struct Cached<T> {
    value: Arc<T>,
    loaded: Instant,
    checked: Instant,
}

impl<T: DeserializeOwned> Secret<T> {
    /// The secret with this name or ARN. It is not read yet.
    pub fn new(client: Client, id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            client,
            state: Mutex::new(State {
                cached: None,
                refreshed: None,
                failed: None,
            }),
        }
    }

    /// Reads the secret before its first use. A failure is only logged, because the first request reads the secret again and reports the failure.
    pub async fn preload(&self) {
        if let Err(error) = self.get().await {
            tracing::warn!(%error, "secret not available during INIT");
            self.state.lock().await.failed = None;
        }
    }

    /// The secret, at most [`TTL`] old, or up to an hour more while Secrets Manager does not respond.
    pub async fn get(&self) -> Result<Arc<T>, SecretError> {
        let mut state = self.state.lock().await;
        match state
            .cached
            .as_ref()
            .filter(|known| Instant::now().duration_since(known.checked) < TTL)
        {
            Some(known) => Ok(known.value.clone()),
            None => self.load(&mut state).await,
        }
    }

    /// The secret, read again regardless of its age but at most once per `interval`. It is for callers whose credentials may have been rotated.
    pub async fn refresh(&self, interval: Duration) -> Result<Arc<T>, SecretError> {
        let mut state = self.state.lock().await;
        if let Some(known) = &state.cached
            && state
                .refreshed
                .is_some_and(|last| Instant::now().duration_since(last) < interval)
        {
            return Ok(known.value.clone());
        }
        state.refreshed = Some(Instant::now());
        self.load(&mut state).await
    }

    async fn load(&self, state: &mut State<T>) -> Result<Arc<T>, SecretError> {
        if let Some((error, until)) = &state.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let read = self.read().await;
        let now = Instant::now();
        state.failed = None;
        let (error, remembered) = match read {
            Ok(value) => {
                let value = Arc::new(value);
                state.cached = Some(Cached {
                    value: value.clone(),
                    loaded: now,
                    checked: now,
                });
                return Ok(value);
            }
            Err(failure) => failure,
        };
        if let Some(known) = &mut state.cached {
            // A secret that was just damaged is used until the known value is old, so that there is time to repair it.
            let is_usable = match error {
                SecretError::Unavailable(..) => now.duration_since(known.loaded) < STALE_LIMIT,
                SecretError::Missing(_) | SecretError::Malformed(_) => now.duration_since(known.checked) < TTL,
            };
            if is_usable {
                tracing::warn!(%error, "using the last known value");
                if matches!(error, SecretError::Unavailable(..)) {
                    known.checked = now;
                }
                return Ok(known.value.clone());
            }
        }
        if !matches!(error, SecretError::Unavailable(..)) {
            state.cached = None;
        }
        state.failed = Some((error.clone(), now + remembered));
        Err(error)
    }

    /// Reads the secret. An error comes with the time for which it is remembered.
    async fn read(&self) -> Result<T, (SecretError, Duration)> {
        let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
        let answer = answer.map_err(|error| {
            let unavailable = || SecretError::Unavailable(self.id.clone(), cause(&error));
            match error.as_service_error() {
                Some(service) if service.is_resource_not_found_exception() => {
                    (SecretError::Missing(self.id.clone()), UNUSABLE_TTL)
                }
                Some(service) if matches!(service.code(), Some("AccessDeniedException" | "DecryptionFailure")) => {
                    (unavailable(), DENIED_TTL)
                }
                _ => (unavailable(), Duration::ZERO),
            }
        })?;
        let text = answer.secret_string();
        let text = text.ok_or_else(|| (SecretError::Missing(self.id.clone()), UNUSABLE_TTL))?;
        // The parser's message could quote the secret.
        serde_json::from_str(text).map_err(|_| (SecretError::Malformed(self.id.clone()), UNUSABLE_TTL))
    }
}
