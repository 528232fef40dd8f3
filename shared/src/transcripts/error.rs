//! Errors of the transcripts table.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::UpdateItemError,
};

use crate::{clients::aws::cause, lifecycle::LifecycleError};

/// A request to the transcripts table failed.
#[derive(Debug, thiserror::Error)]
#[error("the transcripts table did not answer: {0}")]
pub struct TranscriptsError(pub(super) String);

impl<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for TranscriptsError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(cause(&error))
    }
}

impl From<LifecycleError> for TranscriptsError {
    fn from(error: LifecycleError) -> Self {
        Self(error.to_string())
    }
}

/// Converts the result of a conditional write: `false` if its condition was not met.
pub(super) fn condition_met<T, R: fmt::Debug + 'static>(
    result: Result<T, SdkError<UpdateItemError, R>>,
) -> Result<bool, TranscriptsError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(service) if service.is_conditional_check_failed_exception() => Ok(false),
            _ => Err(error.into()),
        },
    }
}
