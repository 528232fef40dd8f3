//! Presigned URLs for playing, downloading and sharing recordings.

use std::{
    error::Error,
    fmt::Write,
    iter,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::endpoint::{DefaultResolver, ParamsBuilder, ResolveEndpoint};
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4::SigningParams,
};
use aws_smithy_runtime_api::client::identity::Identity;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::{
    clients::{
        aws::Aws,
        bucket::requester_pays,
        secrets::{Secret, SecretError},
    },
    config::{ConfigError, Env},
    ids::media_type,
};

/// The maximum lifetime of a presigned URL in seconds: seven days, SigV4's limit.
pub const MAX_EXPIRES_IN: u64 = 604_800;
/// The lifetime that is stated for a URL signed with temporary credentials. The URL expires together with the credentials, and Lambda does not
/// say when that is.
const TEMPORARY_CREDENTIALS_LIMIT: u64 = 900;

/// How often the signer secret is read again while it has another key than the function was deployed with.
const SIGNER_REFRESH: Duration = Duration::from_secs(30);

/// The signer secret: `{"access_key_id","secret_access_key"}` of an IAM user that may only read recordings.
#[derive(Deserialize)]
struct SignerKeys {
    access_key_id: String,
    secret_access_key: String,
}

/// Why a URL could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum PresignError {
    /// The signer secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The SDK resolves no endpoint for the bucket's name and the region.
    #[error("the bucket has no address: {0}")]
    Address(String),
    /// The URL could not be signed.
    #[error("presigning failed: {0}")]
    Signing(String),
}

/// Signs URLs for the recordings bucket.
///
/// The SDK's endpoint resolver and signer are called directly. The SDK's presigning runs its whole request pipeline for each URL, which took
/// half of the CPU time of a warm request for a list of 100 calls.
pub struct Presign {
    bucket: ParamsBuilder,
    addresses: DefaultResolver,
    region: String,
    role: Credentials,
    signer: Option<Secret<SignerKeys>>,
    /// The id of the key that the secret must have.
    signer_key_id: Option<String>,
    requester_pays: bool,
}

/// When URLs expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When the URLs were signed.
    pub signed_at: Timestamp,
    /// The lifetime in seconds, which may be shorter than requested.
    pub seconds: u64,
    /// Why the lifetime is shorter than requested: `temporary_credentials`.
    pub limited_by: Option<&'static str>,
}

impl Expiry {
    /// When the URLs expire.
    pub fn at(&self) -> Timestamp {
        self.signed_at + SignedDuration::from_secs(self.seconds as i64)
    }
}

/// Signs URLs that all expire at the same time.
pub struct Presigner {
    /// The bucket's address, without a trailing slash.
    address: String,
    identity: Identity,
    region: String,
    requester_pays: bool,
    /// When the URLs expire.
    pub expiry: Expiry,
}

impl Presign {
    /// Reads `RECORDINGS_BUCKET`, `RECORDINGS_REQUESTER_PAYS`, `SIGNER_SECRET` and `SIGNER_KEY_ID`. Without `SIGNER_SECRET`, URLs are signed with the function's own credentials. `None` if no
    /// bucket is configured.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Option<Self>, ConfigError> {
        let Some(bucket) = env.optional("RECORDINGS_BUCKET") else {
            return Ok(None);
        };
        Ok(Some(Self {
            bucket: aws.s3_address(bucket),
            addresses: DefaultResolver::new(),
            region: aws.region().to_owned(),
            role: aws.credentials().clone(),
            signer: env
                .optional("SIGNER_SECRET")
                .map(|id| Secret::new(aws.secrets_manager(), id)),
            signer_key_id: env.optional("SIGNER_KEY_ID").map(str::to_owned),
            requester_pays: requester_pays(env)?,
        }))
    }

    /// Reads the signer's keys before the first request.
    pub async fn preload(&self) {
        if let Some(secret) = &self.signer {
            secret.preload().await;
        }
    }

    /// Returns a presigner for URLs that expire after `expires_in` seconds, or earlier if the credentials require it.
    pub async fn presigner(&self, expires_in: u64) -> Result<Presigner, PresignError> {
        let signer = match &self.signer {
            Some(secret) => {
                let known = secret.get().await?;
                let is_other = self.signer_key_id.as_ref().is_some_and(|id| *id != known.access_key_id);
                // The function was deployed with a new key after this secret was read: the old key is about to be deleted.
                Some(match is_other {
                    true => secret.refresh(SIGNER_REFRESH).await?,
                    false => known,
                })
            }
            None => None,
        };
        let address = self.address().await?;
        Ok(self.presigner_at(&address, signer.as_deref(), Timestamp::now(), expires_in))
    }

    /// The origin (scheme, host and port) of all URLs, which needs no key.
    pub async fn origin(&self) -> Result<String, PresignError> {
        let mut address = self.address().await?;
        let end = address.match_indices('/').nth(2).map_or(address.len(), |(at, _)| at);
        address.truncate(end);
        Ok(address)
    }

    async fn address(&self) -> Result<String, PresignError> {
        let bucket = self.bucket.clone().build();
        let bucket = bucket.map_err(|error| PresignError::Address(error.to_string()))?;
        let endpoint = ResolveEndpoint::resolve_endpoint(&self.addresses, &bucket).await;
        let endpoint = endpoint.map_err(|error| PresignError::Address(error.to_string()))?;
        Ok(endpoint.url().to_owned())
    }

    fn presigner_at(&self, address: &str, signer: Option<&SignerKeys>, now: Timestamp, expires_in: u64) -> Presigner {
        let credentials = match signer {
            Some(keys) => Credentials::new(
                &keys.access_key_id,
                &keys.secret_access_key,
                None,
                None,
                "signer secret",
            ),
            None => self.role.clone(),
        };
        let limited = credentials.session_token().is_some() && expires_in > TEMPORARY_CREDENTIALS_LIMIT;
        Presigner {
            address: address.trim_end_matches('/').to_owned(),
            identity: credentials.into(),
            region: self.region.clone(),
            requester_pays: self.requester_pays,
            expiry: Expiry {
                // SigV4 timestamps have whole seconds.
                signed_at: Timestamp::from_second(now.as_second()).unwrap_or(now),
                seconds: if limited {
                    TEMPORARY_CREDENTIALS_LIMIT
                } else {
                    expires_in
                },
                limited_by: limited.then_some("temporary_credentials"),
            },
        }
    }
}

impl Presigner {
    /// A URL for playing the recording in a browser or player, including seeking.
    pub fn presign(&self, key: &str) -> Result<String, PresignError> {
        self.sign("GET", key, None)
    }

    /// A URL for downloading the recording under its file name.
    pub fn presign_download(&self, key: &str) -> Result<String, PresignError> {
        self.sign("GET", key, Some(&content_disposition(key)))
    }

    /// A URL for this method, `GET` or `HEAD`: S3 returns 403 for any other than the one that was signed.
    pub fn presign_for(&self, method: &str, key: &str, is_download: bool) -> Result<String, PresignError> {
        let disposition = is_download.then(|| content_disposition(key));
        self.sign(method, key, disposition.as_deref())
    }

    fn sign(&self, method: &str, key: &str, disposition: Option<&str>) -> Result<String, PresignError> {
        const PATH: &AsciiSet = &UNRESERVED.remove(b'/');
        let mut url = format!("{}/{}", self.address, utf8_percent_encode(key, PATH));
        let mut separator = '?';
        let mut add = |url: &mut String, name: &str, value: &str| {
            // Writing to a string can't fail.
            let _ = write!(url, "{separator}{name}={}", utf8_percent_encode(value, UNRESERVED));
            separator = '&';
        };
        // Egress may store a file as application/octet-stream, which a browser downloads instead of playing.
        let overrides = [
            ("response-content-disposition", disposition),
            ("response-content-type", media_type(key)),
            ("x-amz-request-payer", self.requester_pays.then_some("requester")),
        ];
        for (name, value) in overrides {
            if let Some(value) = value {
                add(&mut url, name, value);
            }
        }
        // The SDK uses these settings for S3: the path is encoded once and not normalized.
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(self.expiry.seconds));
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let failed = |error: &dyn Error| PresignError::Signing(error.to_string());
        let parameters = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::from(self.expiry.signed_at))
            .settings(settings)
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let request = SignableRequest::new(method, url.as_str(), iter::empty(), SignableBody::UnsignedPayload);
        let signed = sign(request.map_err(|error| failed(&error))?, &parameters).map_err(|error| failed(&error))?;
        let (_, signature) = signed.into_parts().0.into_parts();
        for (name, value) in signature {
            add(&mut url, name, &value);
        }
        Ok(url)
    }
}

/// The characters that SigV4 does not percent-encode.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `attachment` with the key's file name, in plain ASCII and in the extended form of RFC 6266.
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

    /// The example in AWS's documentation.
    #[test]
    fn a_url_is_signed_as_in_the_documentation() {
        let env = Env::from_iter([
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("RECORDINGS_BUCKET", "examplebucket"),
        ]);
        let presign = Presign::from_env(&env, &Aws::from_env(&env).unwrap()).unwrap().unwrap();
        let presigner = presign.presigner_at(
            "https://examplebucket.s3.amazonaws.com",
            None,
            "2013-05-24T00:00:00Z".parse().unwrap(),
            86400,
        );
        let url = presigner.presign("test.txt").unwrap();
        assert!(
            url.starts_with("https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&"),
            "{url}"
        );
        for parameter in [
            "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request",
            "X-Amz-Date=20130524T000000Z",
            "X-Amz-Expires=86400",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        ] {
            assert!(
                url.split(['?', '&']).any(|given| given == parameter),
                "{parameter} is not in {url}"
            );
        }
    }

    #[tokio::test]
    async fn a_bucket_has_the_same_address_as_in_the_sdk() {
        for (region, bucket, endpoint, expected) in [
            (
                "eu-central-1",
                "calls",
                "",
                "https://calls.s3.eu-central-1.amazonaws.com/k?",
            ),
            (
                "cn-north-1",
                "calls",
                "",
                "https://calls.s3.cn-north-1.amazonaws.com.cn/k?",
            ),
            (
                "us-east-1",
                "our.calls",
                "",
                "https://s3.us-east-1.amazonaws.com/our.calls/k?",
            ),
            (
                "us-east-1",
                "calls",
                "http://localhost:4566",
                "http://localhost:4566/calls/k?",
            ),
        ] {
            let env = Env::from_iter([
                ("AWS_REGION", region),
                ("AWS_ACCESS_KEY_ID", "id"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_ENDPOINT_URL", endpoint),
                ("RECORDINGS_BUCKET", bucket),
            ]);
            let presign = Presign::from_env(&env, &Aws::from_env(&env).unwrap()).unwrap().unwrap();
            let url = presign.presigner(60).await.unwrap().presign("k").unwrap();
            assert!(url.starts_with(expected), "{url}");
            let origin = presign.origin().await.unwrap();
            let path = expected.strip_prefix(&origin).unwrap();
            assert!(path.starts_with('/') && !origin.ends_with('/'), "{origin}");
        }
    }

    #[test]
    fn a_download_has_the_recordings_file_name() {
        assert_eq!(
            content_disposition("egress-recordings/2025/08/08/outbound-1_2.mp4"),
            "attachment; filename=\"outbound-1_2.mp4\"; filename*=UTF-8''outbound-1_2.mp4"
        );
    }

    proptest! {
        #[test]
        fn no_key_can_inject_header_syntax(key in ".*") {
            let header = content_disposition(&key);
            prop_assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(header.matches('"').count(), 2);
        }
    }
}
