//! Outages made on purpose.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{http::StatusCode, response::Response};

use super::{response::json_error, s3, service::Service};

/// Which services are down, for tests of what a caller does then. Nothing on the wire can set it.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<Service, StatusCode>>);

impl Faults {
    /// Makes every request to `service` answer `status` and an error body of the service's shape, until set to `None`.
    pub fn set(&self, service: Service, status: Option<StatusCode>) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match status {
            Some(status) => faults.insert(service, status),
            None => faults.remove(&service),
        };
    }

    pub(super) fn get(&self, service: Service) -> Option<StatusCode> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&service)
            .copied()
    }
}

/// The error of a service that is down.
pub(super) fn response(service: Service, status: StatusCode) -> Response {
    let message = "Set by a test.";
    match (service, status) {
        (Service::S3, StatusCode::FORBIDDEN) => s3::error(status, "AccessDenied", message),
        (Service::S3, StatusCode::SERVICE_UNAVAILABLE) => s3::error(status, "ServiceUnavailable", message),
        (Service::S3, _) => s3::error(status, "InternalError", message),
        (_, StatusCode::SERVICE_UNAVAILABLE) => json_error(status, "ServiceUnavailable", message),
        (_, status) if status.is_client_error() => json_error(status, "AccessDeniedException", message),
        (Service::SecretsManager, _) => json_error(status, "InternalServiceError", message),
        _ => json_error(status, "InternalServerError", message),
    }
}
