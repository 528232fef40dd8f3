//! Why the calls table could not be used.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::error::SdkError;

use crate::clients::aws::causes;

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the calls table did not answer: {0}")]
pub struct CallsError(String);

impl CallsError {
    /// A mistake of this program.
    pub(super) fn bug(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }

    /// Other writers were faster, too often.
    pub(super) fn busy() -> Self {
        Self("other writers kept changing the same calls".to_owned())
    }
}

impl<E: Error + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for CallsError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(causes(&error))
    }
}
