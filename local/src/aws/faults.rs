//! Simulated outages.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{http::StatusCode, response::Response};

use super::{response::json_error, s3, service::Service};

/// The services with a simulated outage. Only tests in this process can set them.
#[derive(Debug, Default)]
pub struct Faults(Mutex<HashMap<Service, StatusCode>>);

impl Faults {
    /// Makes every request to `service` fail with `status` and an error body in the service's format, until it is set to `None`.
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

/// The response of a service with a simulated outage.
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
