//! Why the table could not be used.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::{error::SdkError, operation::update_item::UpdateItemError};

use crate::clients::aws::causes;

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the transcripts table did not answer: {0}")]
pub struct TranscriptsError(pub(super) String);

impl<E: Error + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for TranscriptsError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(causes(&error))
    }
}

/// `false` for a write that came too late: it changes nothing, which is what its condition is for.
pub(super) fn was_not_refused<T, R: fmt::Debug + 'static>(
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
