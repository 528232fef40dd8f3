//! Presigned URLs: how a recording is played, downloaded and shared.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_s3::{Client, config::SharedCredentialsProvider, error::DisplayErrorContext, presigning::PresigningConfig};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{
    aws::Aws,
    config::Env,
    dispatch::media_type,
    secrets::{Secret, SecretError},
};

/// The longest life of a presigned URL, in seconds: seven days, SigV4's own limit.
pub const MAX_EXPIRES_IN: u64 = 604_800;
/// What is promised for a URL signed with temporary credentials: it dies with them, and when that is nobody says.
const TEMPORARY_CREDENTIALS_LIMIT: u64 = 900;

/// The signer secret: `{"access_key_id","secret_access_key"}` of an IAM user that may only read recordings.
#[derive(Deserialize)]
struct SignerKeys {
    access_key_id: String,
    secret_access_key: String,
}

/// Why no URL could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlaybackError {
    /// The signer secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The SDK refused to sign.
    #[error("presigning failed: {0}")]
    Signing(String),
}

/// Signs URLs for the recordings bucket.
pub struct Playback {
    config: aws_sdk_s3::Config,
    role: Client,
    role_is_temporary: bool,
    signer: Option<Secret<SignerKeys>>,
    signer_client: Mutex<Option<(Arc<SignerKeys>, Client)>>,
    bucket: String,
}

/// Until when URLs work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When the URLs were signed.
    pub signed_at: Timestamp,
    /// Their life in seconds, which may be shorter than asked.
    pub seconds: u64,
    /// Why it is shorter than asked: `temporary_credentials`.
    pub limited_by: Option<&'static str>,
}

impl Expiry {
    /// The moment the URLs stop working.
    pub fn at(&self) -> Timestamp {
        self.signed_at + Duration::from_secs(self.seconds)
    }
}

/// Signs any number of URLs that expire together.
pub struct Presigner<'a> {
    client: Client,
    bucket: &'a str,
    presigning: PresigningConfig,
    /// Until when the URLs work.
    pub expiry: Expiry,
}

impl Playback {
    /// Reads `RECORDINGS_BUCKET` and `SIGNER_SECRET`, without which the function's own credentials sign. `None` without a bucket.
    pub fn from_env(env: &Env, aws: &Aws) -> Option<Self> {
        let bucket = env.optional("RECORDINGS_BUCKET")?;
        let config = aws.s3_config();
        Some(Self {
            role: Client::from_conf(config.clone()),
            role_is_temporary: aws.credentials().session_token().is_some(),
            signer: env
                .optional("SIGNER_SECRET")
                .map(|id| Secret::new(aws.secrets_manager(), id)),
            signer_client: Mutex::new(None),
            bucket: bucket.to_owned(),
            config,
        })
    }

    /// Reads the signer's keys ahead of the first request.
    pub async fn preload(&self) {
        if let Some(secret) = &self.signer {
            secret.preload().await;
        }
    }

    /// Gets ready to sign URLs that live `expires_in` seconds from now, or as long as the credentials allow.
    pub async fn presigner(&self, expires_in: u64) -> Result<Presigner<'_>, PlaybackError> {
        let (client, temporary) = match &self.signer {
            Some(secret) => (self.signer_client(secret.get().await?), false),
            None => (self.role.clone(), self.role_is_temporary),
        };
        let limited = temporary && expires_in > TEMPORARY_CREDENTIALS_LIMIT;
        let now = Timestamp::now();
        // SigV4 counts from a whole second.
        let signed_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let expiry = Expiry {
            signed_at,
            seconds: if limited {
                TEMPORARY_CREDENTIALS_LIMIT
            } else {
                expires_in
            },
            limited_by: limited.then_some("temporary_credentials"),
        };
        let presigning = PresigningConfig::builder()
            .start_time(SystemTime::from(signed_at))
            .expires_in(Duration::from_secs(expiry.seconds))
            .build()
            .map_err(|error| PlaybackError::Signing(error.to_string()))?;
        Ok(Presigner {
            client,
            bucket: &self.bucket,
            presigning,
            expiry,
        })
    }

    fn signer_client(&self, keys: Arc<SignerKeys>) -> Client {
        let mut known = self.signer_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = known.as_ref().filter(|(known, _)| Arc::ptr_eq(known, &keys)) {
            return client.clone();
        }
        let credentials = Credentials::new(
            &keys.access_key_id,
            &keys.secret_access_key,
            None,
            None,
            "signer secret",
        );
        let config = self
            .config
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let client = Client::from_conf(config);
        *known = Some((keys, client.clone()));
        client
    }
}

impl Presigner<'_> {
    /// A URL that plays the recording in a browser or player, and seeks.
    pub async fn play(&self, key: &str) -> Result<String, PlaybackError> {
        self.sign(key, None).await
    }

    /// A URL that downloads the recording under its own name.
    pub async fn download(&self, key: &str) -> Result<String, PlaybackError> {
        self.sign(key, Some(content_disposition(key))).await
    }

    async fn sign(&self, key: &str, disposition: Option<String>) -> Result<String, PlaybackError> {
        self.client
            .get_object()
            .bucket(self.bucket)
            .key(key)
            .set_response_content_disposition(disposition)
            // Egress may store a file as application/octet-stream, which a browser would download instead of play.
            .set_response_content_type(media_type(key).map(str::to_owned))
            .presigned(self.presigning.clone())
            .await
            .map(|request| request.uri().to_owned())
            .map_err(|error| PlaybackError::Signing(DisplayErrorContext(&error).to_string()))
    }
}

/// `attachment` with the key's file name, in the plain and the RFC 6266 form.
fn content_disposition(key: &str) -> String {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
    let name = key.rsplit('/').next().unwrap_or(key);
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | ';') || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!(
        "attachment; filename=\"{plain}\"; filename*=UTF-8''{}",
        utf8_percent_encode(name, ENCODED)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_download_is_named_like_the_recording() {
        assert_eq!(
            content_disposition("egress-recordings/2025/08/08/outbound-1_2.mp4"),
            "attachment; filename=\"outbound-1_2.mp4\"; filename*=UTF-8''outbound-1_2.mp4"
        );
    }

    proptest! {
        #[test]
        fn no_key_breaks_out_of_the_header(key in ".*") {
            let header = content_disposition(&key);
            prop_assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(header.matches('"').count(), 2);
        }
    }
}
