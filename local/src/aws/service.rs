//! The services, and the detection of the service of a request.

use axum::http::{header, request::Parts};

use super::{query::query, s3};

/// The services of the local AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Objects.
    S3,
    /// Tables.
    DynamoDb,
    /// Secrets.
    SecretsManager,
    /// Queues.
    Sqs,
    /// Events.
    EventBridge,
}

/// The service of a request, or the name of an unknown service.
pub(super) fn service_of(parts: &Parts) -> Result<Service, String> {
    let name = match parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
    {
        Some(target) => target.split('.').next().map(str::to_owned),
        None => credential_scope(parts).and_then(|scope| scope.split('/').nth(3).map(str::to_owned)),
    };
    // A request without target and signature can only be a link to an object, or a mistake, which S3 rejects.
    match name.as_deref() {
        None | Some("s3") => Ok(Service::S3),
        Some("dynamodb" | "DynamoDB_20120810" | "DynamoDBStreams_20120810") => Ok(Service::DynamoDb),
        Some("secretsmanager") => Ok(Service::SecretsManager),
        Some("sqs" | "AmazonSQS") => Ok(Service::Sqs),
        Some("events" | "AWSEvents") => Ok(Service::EventBridge),
        Some(other) => Err(other.to_owned()),
    }
}

/// The service and the operation of a request; `None` for an unknown service.
pub fn identify(parts: &Parts) -> Option<(Service, String)> {
    let service = service_of(parts).ok()?;
    Some((service, operation_of(service, parts)))
}

/// The credential scope `KEY/DATE/REGION/SERVICE/aws4_request` of the signature in the header or the query string.
pub(super) fn credential_scope(parts: &Parts) -> Option<String> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match header {
        Some(value) => Some(value.split_once("Credential=")?.1.split(',').next()?.to_owned()),
        None => Some(
            query(parts)
                .find(|(name, _)| name == "X-Amz-Credential")?
                .1
                .into_owned(),
        ),
    }
}

pub(super) fn operation_of(service: Service, parts: &Parts) -> String {
    if service == Service::S3 {
        return s3::operation(parts).to_owned();
    }
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default().to_owned()
}
