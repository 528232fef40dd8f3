//! Presigned URLs: how a recording is played, downloaded and shared.

use std::{fmt::Write, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::endpoint::{DefaultResolver, ParamsBuilder, ResolveEndpoint};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

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
    /// The bucket's name or the region can't be part of an address.
    #[error("the bucket has no address: {0}")]
    Address(String),
}

/// Signs URLs for the recordings bucket.
///
/// The SDK finds the bucket's address, as for its own requests. Signing is done here, because the SDK runs its whole request machinery for
/// each URL: a list has up to 100, and signing was half of a warm request's CPU.
pub struct Playback {
    bucket: ParamsBuilder,
    addresses: DefaultResolver,
    region: String,
    role: Credentials,
    signer: Option<Secret<SignerKeys>>,
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
        self.signed_at + SignedDuration::from_secs(self.seconds as i64)
    }
}

/// Signs any number of URLs that expire together.
pub struct Presigner {
    /// Scheme and host.
    origin: String,
    host: String,
    /// What comes before a key: nothing, or the bucket where it is not part of the host.
    path: String,
    /// Date, region and service, for which the key is good.
    scope: String,
    signing_key: Vec<u8>,
    access_key_id: String,
    session_token: Option<String>,
    /// Until when the URLs work.
    pub expiry: Expiry,
}

impl Playback {
    /// Reads `RECORDINGS_BUCKET` and `SIGNER_SECRET`, without which the function's own credentials sign. `None` without a bucket.
    pub fn from_env(env: &Env, aws: &Aws) -> Option<Self> {
        let bucket = env.optional("RECORDINGS_BUCKET")?;
        Some(Self {
            bucket: aws.s3_address(bucket),
            addresses: DefaultResolver::new(),
            region: aws.region().to_owned(),
            role: aws.credentials().clone(),
            signer: env
                .optional("SIGNER_SECRET")
                .map(|id| Secret::new(aws.secrets_manager(), id)),
        })
    }

    /// Reads the signer's keys ahead of the first request.
    pub async fn preload(&self) {
        if let Some(secret) = &self.signer {
            secret.preload().await;
        }
    }

    /// Gets ready to sign URLs that live `expires_in` seconds from now, or as long as the credentials allow.
    pub async fn presigner(&self, expires_in: u64) -> Result<Presigner, PlaybackError> {
        let signer = match &self.signer {
            Some(secret) => Some(secret.get().await?),
            None => None,
        };
        let bucket = self.bucket.clone().build();
        let bucket = bucket.map_err(|error| PlaybackError::Address(error.to_string()))?;
        let endpoint = ResolveEndpoint::resolve_endpoint(&self.addresses, &bucket).await;
        let endpoint = endpoint.map_err(|error| PlaybackError::Address(error.to_string()))?;
        self.presigner_at(endpoint.url(), signer.as_deref(), Timestamp::now(), expires_in)
    }

    fn presigner_at(
        &self,
        address: &str,
        signer: Option<&SignerKeys>,
        now: Timestamp,
        expires_in: u64,
    ) -> Result<Presigner, PlaybackError> {
        let (access_key_id, secret, session_token) = match signer {
            Some(keys) => (keys.access_key_id.as_str(), keys.secret_access_key.as_str(), None),
            None => (
                self.role.access_key_id(),
                self.role.secret_access_key(),
                self.role.session_token(),
            ),
        };
        let limited = session_token.is_some() && expires_in > TEMPORARY_CREDENTIALS_LIMIT;
        // SigV4 counts from a whole second.
        let signed_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let uri: Uri = address
            .parse()
            .map_err(|_| PlaybackError::Address(format!("{address} is not a URL")))?;
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let scheme = uri.scheme_str().unwrap_or("https");
        Ok(Presigner {
            origin: format!("{scheme}://{host}"),
            host: host.to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
            scope: format!("{}/{}/s3/aws4_request", signed_at.strftime("%Y%m%d"), self.region),
            signing_key: generate_signing_key(secret, SystemTime::from(signed_at), &self.region, "s3")
                .as_ref()
                .to_vec(),
            access_key_id: access_key_id.to_owned(),
            session_token: session_token.map(str::to_owned),
            expiry: Expiry {
                signed_at,
                seconds: if limited {
                    TEMPORARY_CREDENTIALS_LIMIT
                } else {
                    expires_in
                },
                limited_by: limited.then_some("temporary_credentials"),
            },
        })
    }
}

impl Presigner {
    /// A URL that plays the recording in a browser or player, and seeks.
    pub fn play(&self, key: &str) -> String {
        self.sign(key, None)
    }

    /// A URL that downloads the recording under its own name.
    pub fn download(&self, key: &str) -> String {
        self.sign(key, Some(&content_disposition(key)))
    }

    /// Signature version 4 in the query string:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>. The parameters are in the order that is signed.
    fn sign(&self, key: &str, disposition: Option<&str>) -> String {
        const PATH: &AsciiSet = &UNRESERVED.remove(b'/');
        let path = format!("{}/{}", self.path, utf8_percent_encode(key, PATH));
        let time = self.expiry.signed_at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}%2F{}&X-Amz-Date={time}&X-Amz-Expires={}",
            encoded(&self.access_key_id),
            encoded(&self.scope),
            self.expiry.seconds,
        );
        // Egress may store a file as application/octet-stream, which a browser would download instead of play.
        for (name, value) in [
            ("X-Amz-Security-Token", self.session_token.as_deref()),
            ("X-Amz-SignedHeaders", Some("host")),
            ("response-content-disposition", disposition),
            ("response-content-type", media_type(key)),
        ] {
            if let Some(value) = value {
                // Writing to a string can't fail.
                let _ = write!(query, "&{name}={}", encoded(value));
            }
        }
        let request = format!("GET\n{path}\n{query}\nhost:{}\n\nhost\nUNSIGNED-PAYLOAD", self.host);
        let digest = hex::encode(Sha256::digest(request));
        let signed = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{digest}", self.scope);
        let signature = calculate_signature(&self.signing_key, signed.as_bytes());
        format!("{}{path}?{query}&X-Amz-Signature={signature}", self.origin)
    }
}

/// What stays as it is in a signed path or query; all else is percent-encoded.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
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

    /// The example of AWS's own documentation.
    #[test]
    fn a_url_is_signed_like_in_the_documentation() {
        let env = Env::from_iter([
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("RECORDINGS_BUCKET", "examplebucket"),
        ]);
        let playback = Playback::from_env(&env, &Aws::from_env(&env).unwrap()).unwrap();
        let presigner = playback.presigner_at(
            "https://examplebucket.s3.amazonaws.com",
            None,
            "2013-05-24T00:00:00Z".parse().unwrap(),
            86400,
        );
        assert_eq!(
            presigner.unwrap().play("test.txt"),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z\
             &X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[tokio::test]
    async fn a_bucket_is_addressed_as_the_sdk_addresses_it() {
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
            let playback = Playback::from_env(&env, &Aws::from_env(&env).unwrap()).unwrap();
            let url = playback.presigner(60).await.unwrap().play("k");
            assert!(url.starts_with(expected), "{url}");
        }
    }

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
