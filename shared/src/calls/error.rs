//! Why the calls table could not be used.

use std::{error::Error, fmt};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::clients::aws::causes;

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the calls table did not answer: {text}")]
pub struct CallsError {
    text: String,
    is_outage: bool,
}

impl CallsError {
    /// A mistake of this program.
    pub(super) fn bug(error: impl fmt::Display) -> Self {
        Self {
            text: error.to_string(),
            is_outage: false,
        }
    }

    /// Other writers were faster, too often.
    pub(super) fn busy() -> Self {
        Self::bug("other writers kept changing the same calls")
    }

    /// Whether the table was throttled or did not answer at all, so that other requests would fare the same. What is wrong with one item is
    /// no outage.
    pub fn is_outage(&self) -> bool {
        self.is_outage
    }
}

impl<E: Error + ProvideErrorMetadata + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for CallsError {
    fn from(error: SdkError<E, R>) -> Self {
        let of_one_item = [
            "ConditionalCheckFailedException",
            "ItemCollectionSizeLimitExceededException",
            "ValidationException",
        ];
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        Self {
            is_outage: code.is_none_or(|code| !of_one_item.contains(&code)),
            text: causes(&error),
        }
    }
}
