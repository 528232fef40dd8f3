//! Concurrent processing of items, and the handling of their failures.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use shared::{
    archive::CopyError,
    calls::{CallsError, ResolveError},
    clients::{bucket::BucketError, twilio::TwilioError},
    panics::{Panicked, caught},
    reconcile::{Checkpoint, Subject},
    transcription::EnqueueError,
};

/// Items that are processed concurrently.
const CONCURRENCY: usize = 8;

/// Why an item was not indexed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Calls(#[from] CallsError),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error(transparent)]
    Twilio(#[from] TwilioError),
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("Twilio does not find the call of the recording yet, so its number is not known")]
    CallNotFound,
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl From<ResolveError> for Fault {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Calls(error) => Self::Calls(error),
            ResolveError::Bucket(error) => Self::Bucket(error),
            // Only finding a recording has these results.
            ResolveError::NotCopied(_) | ResolveError::TooManySearches(_) => Self::Bucket(BucketError::NotFound),
        }
    }
}

impl Fault {
    /// Whether other items would probably fail, too.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Calls(error) => error.is_outage(),
            Self::Bucket(error) => error.is_outage(),
            Self::Twilio(error) => error.is_outage(),
            Self::Enqueue(_) | Self::Copy(_) | Self::CallNotFound | Self::Panicked(_) => false,
        }
    }

    /// A stable code for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Calls(_) => "database_unavailable",
            Self::Bucket(BucketError::AccessDenied) => "s3_access_denied",
            Self::Bucket(BucketError::NoSuchBucket) => "s3_no_such_bucket",
            Self::Bucket(_) => "s3_unavailable",
            Self::Twilio(error) => error.code(),
            Self::Enqueue(_) | Self::Copy(_) => "queue_unavailable",
            Self::CallNotFound => "twilio_call_not_found",
            Self::Panicked(_) => "internal_error",
        }
    }
}

/// Processes items concurrently. A failure of a single item is added to the list of failures, and processing continues. After an outage no
/// further item is started, and the outage is returned as the error.
pub(crate) async fn process_all<T, F: Future<Output = Result<(), Fault>>>(
    at: &mut Checkpoint,
    items: Vec<(Subject, bool, T)>,
    process: impl Fn(T) -> F,
) -> Result<(), Fault> {
    let is_over = AtomicBool::new(false);
    let process_item = async |(subject, transcribe, item)| {
        if is_over.load(Ordering::Relaxed) {
            return (subject, transcribe, None);
        }
        let done = caught(async { process(item).await })
            .await
            .map_err(Fault::from)
            .flatten();
        if done.as_ref().is_err_and(Fault::is_outage) {
            is_over.store(true, Ordering::Relaxed);
        }
        (subject, transcribe, Some(done))
    };
    let tasks: Vec<_> = items.into_iter().map(process_item).collect();
    let done: Vec<_> = stream::iter(tasks).buffer_unordered(CONCURRENCY).collect().await;
    let (mut outage, now) = (None, Timestamp::now());
    for (subject, transcribe, result) in done {
        match result {
            None => {}
            Some(Ok(())) => at.failures.remove(&subject),
            Some(Err(fault)) => {
                // The key of an object contains the customer's number; the report names it.
                tracing::warn!(kind = subject.kind(), %fault, "not indexed; it will be retried");
                // An outage of the table is not a failure of the item.
                if !matches!(&fault, Fault::Calls(error) if error.is_outage()) {
                    at.fail(subject, fault.code(), &fault.to_string(), transcribe, now);
                }
                outage = outage.or(Some(fault).filter(Fault::is_outage));
            }
        }
    }
    match outage {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}
