//! Errors of the calls table.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::{clients::aws::cause, lifecycle::LifecycleError, log::json_error};

/// A request to the calls table failed.
#[derive(Debug, thiserror::Error)]
#[error("the calls table did not answer: {text}")]
pub struct CallsError {
    text: String,
    is_outage: bool,
}

impl CallsError {
    /// An error in this program, such as a value that can't be serialized.
    pub(super) fn bug(error: impl fmt::Display) -> Self {
        Self {
            text: error.to_string(),
            is_outage: false,
        }
    }

    /// Every attempt of a conditional write lost against another writer.
    pub(super) fn busy() -> Self {
        Self::bug("other writers kept changing the same calls")
    }

    /// Whether the table was throttled or did not answer at all, so that other requests would probably fail, too. A problem with a single item
    /// is not an outage.
    pub fn is_outage(&self) -> bool {
        self.is_outage
    }
}

impl From<serde_json::Error> for CallsError {
    fn from(error: serde_json::Error) -> Self {
        Self::bug(json_error(&error))
    }
}

impl From<LifecycleError> for CallsError {
    fn from(error: LifecycleError) -> Self {
        Self {
            text: error.to_string(),
            is_outage: true,
        }
    }
}

impl<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for CallsError {
    fn from(error: SdkError<E, R>) -> Self {
        let item_errors = [
            "ConditionalCheckFailedException",
            "ItemCollectionSizeLimitExceededException",
            "ValidationException",
        ];
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        Self {
            is_outage: code.is_none_or(|code| !item_errors.contains(&code)),
            text: cause(&error),
        }
    }
}
