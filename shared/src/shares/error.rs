//! Errors of the shares table.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::UpdateItemError,
};

use crate::clients::aws::cause;

/// A request to the shares table failed, or this machine has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the shares table did not answer: {0}")]
pub struct SharesError(pub(super) String);

impl<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for SharesError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(cause(&error))
    }
}

/// Converts the result of a conditional write: `None` if its condition was not met.
pub(super) fn if_condition_met<T, R: fmt::Debug + 'static>(
    result: Result<T, SdkError<UpdateItemError, R>>,
) -> Result<Option<T>, SharesError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) => match error.as_service_error() {
            Some(service) if service.is_conditional_check_failed_exception() => Ok(None),
            _ => Err(error.into()),
        },
    }
}
