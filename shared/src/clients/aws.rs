//! AWS clients, created once in the INIT phase.

use std::{error::Error, fmt, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Region, SharedCredentialsProvider, StalledStreamProtectionConfig, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::{
    Connector,
    tls::{self, TlsContext, TrustStore},
};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};
use aws_types::SdkConfig;

use crate::config::{ConfigError, Env};

/// The root certificates of all endpoints in AWS's commercial regions, from <https://www.amazontrust.com/repository/>. Loading the system's
/// whole certificate store took four fifths of the start-up time.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// Creates AWS clients that share one connection pool and one set of root certificates.
///
/// Lambda passes credentials and region in environment variables, so the SDK's provider chain (profiles, SSO, instance metadata) is not needed
/// and not linked.
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
                // While a Lambda environment is frozen, the other side may close idle connections.
                .pool_idle_timeout(Duration::from_secs(20))
                .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
                .tls_context(tls.map_err(|error| ConfigError::HttpClient(error.to_string()))?)
                .build(),
        );
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            // With a plain HTTP client, each SDK client would load the root certificates again.
            .http_client(http_client_fn(move |_, _| connector.clone()))
            // The timeouts below end stalled requests, and the only large body, a recording, is read with a deadline.
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

    /// The credentials with which the clients sign requests.
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

    /// The parameters from which the SDK resolves a bucket's endpoint.
    pub fn s3_address(&self, bucket: &str) -> aws_sdk_s3::config::endpoint::ParamsBuilder {
        aws_sdk_s3::config::endpoint::Params::builder()
            .bucket(bucket)
            .region(self.region())
            .set_endpoint(self.sdk.endpoint_url().map(str::to_owned))
            .force_path_style(self.custom_endpoint)
    }

    /// The configuration of an S3 client: path-style addressing with a custom endpoint, otherwise virtual hosts.
    pub fn s3_config(&self) -> aws_sdk_s3::Config {
        aws_sdk_s3::config::Builder::from(&self.sdk)
            .force_path_style(self.custom_endpoint)
            .build()
    }
}

/// Why a request to AWS failed, as a sentence for people: what the service says with its code, or the innermost cause if it did not answer.
pub fn reason<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static>(error: &SdkError<E, R>) -> String {
    let service = error.as_service_error();
    match service.map(|service| (service.message(), service.code())) {
        Some((Some(message), Some(code))) => format!("{message} ({code})"),
        Some((None, Some(code))) => code.to_owned(),
        _ => innermost(error),
    }
}

fn innermost(mut error: &dyn Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Why a request to AWS failed, for the log: the service's code, or what broke if it did not answer. It has nothing else of the answer, because the
/// messages of AWS, and those of the parser, quote values.
pub(crate) fn cause<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static>(
    error: &SdkError<E, R>,
) -> String {
    match error {
        SdkError::ServiceError(answer) => code(answer.err()),
        SdkError::ResponseError(_) => "the answer could not be parsed".to_owned(),
        other => innermost(other),
    }
}

/// The code of a service's error.
pub(crate) fn code(error: &impl ProvideErrorMetadata) -> String {
    let is_code = |code: &&str| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    error
        .code()
        .filter(is_code)
        .unwrap_or("an error without a known code")
        .to_owned()
}

/// An error and its causes, for the log. It must not be an answer of a service: see [`cause`].
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Whether the region matches the pattern of the partition `aws`. Other partitions, such as China and GovCloud, may have other root
/// certificates.
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
    fn only_commercial_regions_use_the_bundled_roots() {
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
    fn the_bundled_roots_are_valid() {
        let env = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        // Creating a client parses the certificates and panics if one of them is invalid.
        Aws::from_env(&Env::from_iter(env)).unwrap().dynamodb();
        assert_eq!(AMAZON_ROOTS.matches("BEGIN CERTIFICATE").count(), 5);
    }
}
