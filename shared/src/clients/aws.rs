//! AWS clients, made once during INIT.

use std::{error::Error, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Region, SharedCredentialsProvider, StalledStreamProtectionConfig, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Connector,
    tls::{self, TlsContext, TrustStore},
};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};
use aws_types::SdkConfig;

use crate::config::{ConfigError, Env};

/// The roots that all endpoints of AWS's commercial regions lead to: <https://www.amazontrust.com/repository/>. Reading the system's whole
/// store instead was four fifths of a start.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// Makes AWS clients that share one connection pool and one set of TLS roots.
///
/// A Lambda's credentials and region are in its environment from start to end, so the SDK's provider chain
/// (profiles, SSO, instance metadata) is not needed and not linked.
pub struct Aws {
    sdk: SdkConfig,
    credentials: Credentials,
    custom_endpoint: bool,
}

impl Aws {
    /// Reads `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_ENDPOINT_URL`.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let credentials = Credentials::new(
            env.required("AWS_ACCESS_KEY_ID")?,
            env.required("AWS_SECRET_ACCESS_KEY")?,
            env.optional("AWS_SESSION_TOKEN").map(str::to_owned),
            None,
            "environment",
        );
        let region = env.required("AWS_REGION")?;
        let endpoint = env.optional("AWS_ENDPOINT_URL");
        let own_tls_endpoint = endpoint.is_some_and(|url| url.starts_with("https:"));
        let roots = if is_commercial(region) && !own_tls_endpoint {
            TrustStore::empty().with_pem_certificate(AMAZON_ROOTS)
        } else {
            TrustStore::default()
        };
        let tls = TlsContext::builder().with_trust_store(roots).build();
        let connector = SharedHttpConnector::new(
            Connector::builder()
                .connector_settings(
                    HttpConnectorSettings::builder()
                        .connect_timeout(Duration::from_secs(2))
                        .build(),
                )
                // A frozen Lambda wakes up with sockets that the other side closed long ago.
                .pool_idle_timeout(Duration::from_secs(20))
                .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
                .tls_context(tls.map_err(|error| ConfigError::HttpClient(error.to_string()))?)
                .build(),
        );
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            // Given the bare HTTP client, each SDK client would read the roots again.
            .http_client(http_client_fn(move |_, _| connector.clone()))
            // The timeouts below end what stalls, and the only large body, a recording, is read up to a deadline.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(Duration::from_millis(100)),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(Duration::from_secs(4))
                    .operation_timeout(Duration::from_secs(9))
                    .build(),
            );
        if let Some(url) = endpoint {
            sdk = sdk.endpoint_url(url);
        }
        Ok(Self {
            sdk: sdk.build(),
            credentials,
            custom_endpoint: endpoint.is_some(),
        })
    }

    /// The credentials that the clients sign with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    /// A Secrets Manager client.
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.sdk)
    }

    /// An SQS client.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk)
    }

    /// The region of all clients.
    pub fn region(&self) -> &str {
        self.sdk.region().map_or("", Region::as_ref)
    }

    /// What the SDK's rules need to know to find a bucket's address.
    pub fn s3_address(&self, bucket: &str) -> aws_sdk_s3::config::endpoint::ParamsBuilder {
        aws_sdk_s3::config::endpoint::Params::builder()
            .bucket(bucket)
            .region(self.region())
            .set_endpoint(self.sdk.endpoint_url().map(str::to_owned))
            .force_path_style(self.custom_endpoint)
    }

    /// An S3 client's configuration: path-style addresses with a custom endpoint, virtual hosts otherwise.
    pub fn s3_config(&self) -> aws_sdk_s3::Config {
        aws_sdk_s3::config::Builder::from(&self.sdk)
            .force_path_style(self.custom_endpoint)
            .build()
    }
}

/// An error and its causes, for the log. Unlike the SDK's own `DisplayErrorContext` it prints no `Debug` form, which can hold an answer's body.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Whether the region is in the partition `aws`, by that partition's own pattern. China, GovCloud and others may have other roots.
fn is_commercial(region: &str) -> bool {
    let parts: Vec<&str> = region.split('-').collect();
    matches!(
        parts[..],
        ["af" | "ap" | "ca" | "eu" | "il" | "me" | "mx" | "sa" | "us", _, number] if number.parse::<u8>().is_ok()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commercial_regions_are_known_to_use_amazons_roots() {
        for region in ["us-east-1", "eu-central-2", "ap-southeast-5", "mx-central-1"] {
            assert!(is_commercial(region), "{region}");
        }
        for region in [
            "us-gov-west-1",
            "cn-north-1",
            "us-iso-east-1",
            "eusc-de-east-1",
            "",
            "local",
        ] {
            assert!(!is_commercial(region), "{region}");
        }
    }

    #[test]
    fn the_roots_are_read() {
        let env = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        // A client reads them when it is made, and panics on a broken one.
        Aws::from_env(&Env::from_iter(env)).unwrap().dynamodb();
        assert_eq!(AMAZON_ROOTS.matches("BEGIN CERTIFICATE").count(), 5);
    }
}
