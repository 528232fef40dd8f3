//! Errors of the audit table.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::clients::aws::cause;

/// Why the audit could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A request to the table failed.
    #[error("the audit table did not answer: {0}")]
    Unavailable(String),
    /// Another request wrote an item with the time and the id of this one.
    #[error("the audit table has another item of this request")]
    Duplicate,
    /// `AUDIT_DAYS` is 0.
    #[error("nothing is stored: AUDIT_DAYS is 0")]
    Off,
}

impl<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for AuditError {
    fn from(error: SdkError<E, R>) -> Self {
        Self::Unavailable(cause(&error))
    }
}
