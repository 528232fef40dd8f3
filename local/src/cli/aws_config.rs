//! The AWS configuration of the commands, and their errors in one line.

use std::error::Error;

use aws_config::{BehaviorVersion, SdkConfig};

/// Loads the configuration of this shell. `endpoint_url` replaces AWS.
///
/// # Errors
/// If no region is configured.
pub(super) async fn load(endpoint_url: Option<&str>) -> Result<SdkConfig, Box<dyn Error + Send + Sync>> {
    let mut config = aws_config::defaults(BehaviorVersion::latest());
    if let Some(url) = endpoint_url {
        config = config.endpoint_url(url);
    }
    let config = config.load().await;
    match config.region() {
        Some(_) => Ok(config),
        None => Err("no AWS region is configured: set AWS_REGION, or run `aws configure`".into()),
    }
}
