//! AWS clients, made once during INIT.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Region, SharedCredentialsProvider, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_http_client::tls;
use aws_types::SdkConfig;

use crate::config::{ConfigError, Env};

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
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            // A frozen Lambda wakes up with sockets that the other side closed long ago.
            .pool_idle_timeout(Duration::from_secs(20))
            .build_https();
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(env.required("AWS_REGION")?.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .http_client(http_client)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(3)
                    .with_initial_backoff(Duration::from_millis(100)),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(2))
                    .operation_attempt_timeout(Duration::from_secs(4))
                    .operation_timeout(Duration::from_secs(9))
                    .build(),
            );
        let endpoint = env.optional("AWS_ENDPOINT_URL");
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
