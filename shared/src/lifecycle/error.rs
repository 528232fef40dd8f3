//! Errors of the lifecycle table.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::clients::aws::cause;

/// A request to the lifecycle table failed.
#[derive(Debug, thiserror::Error)]
#[error("the lifecycle table did not answer: {0}")]
pub struct LifecycleError(pub(super) String);

impl<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for LifecycleError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(cause(&error))
    }
}
