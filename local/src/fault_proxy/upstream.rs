//! The upstreams, told apart by their requests.

use axum::http::request::Parts;

use crate::aws::{self, Service};

/// A service that functions call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Upstream {
    /// Tables.
    DynamoDb,
    /// Objects.
    S3,
    /// Queues.
    Sqs,
    /// Secrets.
    SecretsManager,
    /// Recordings and calls.
    Twilio,
    /// Transcriptions.
    Whisper,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of whom.
    pub upstream: Upstream,
    /// The operation of an AWS service, otherwise the method and the last segment of the path.
    pub operation: String,
}

/// What a request asks for; `None` for a presigned URL and for services that functions do not call.
pub(super) fn asked(parts: &Parts) -> Option<Asked> {
    let path = parts.uri.path();
    let of_http = |upstream| {
        let file = path.rsplit('/').next().unwrap_or_default();
        Asked {
            upstream,
            operation: format!("{} {file}", parts.method),
        }
    };
    if path.starts_with("/2010-04-01/") {
        return Some(of_http(Upstream::Twilio));
    }
    if path.starts_with("/v1/") {
        return Some(of_http(Upstream::Whisper));
    }
    if parts
        .uri
        .query()
        .is_some_and(|query| query.contains("X-Amz-Signature="))
    {
        return None;
    }
    let (service, operation) = aws::identify(parts)?;
    let upstream = match service {
        Service::DynamoDb => Upstream::DynamoDb,
        Service::S3 => Upstream::S3,
        Service::Sqs => Upstream::Sqs,
        Service::SecretsManager => Upstream::SecretsManager,
        Service::EventBridge => return None,
    };
    Some(Asked { upstream, operation })
}
