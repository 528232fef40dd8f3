//! Doing the same with many things, and what it means when one of them fails.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use shared::{
    calls::{CallsError, ResolveError},
    clients::{bucket::BucketError, twilio::TwilioError},
    reconcile::{Checkpoint, Subject},
    transcription::EnqueueError,
};

/// Things processed at once.
const CONCURRENCY: usize = 8;

/// Why one thing was not indexed.
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
    #[error("Twilio does not find the call of the recording yet, so its number is not known")]
    CallNotFound,
}

impl From<ResolveError> for Fault {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Calls(error) => Self::Calls(error),
            ResolveError::Bucket(error) => Self::Bucket(error),
        }
    }
}

impl Fault {
    /// Whether other things would fare the same.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Calls(error) => error.is_outage(),
            Self::Bucket(error) => error.is_outage(),
            Self::Twilio(error) => error.is_outage(),
            Self::Enqueue(_) | Self::CallNotFound => false,
        }
    }

    /// A word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Calls(_) => "database_unavailable",
            Self::Bucket(BucketError::AccessDenied) => "s3_access_denied",
            Self::Bucket(BucketError::NoSuchBucket) => "s3_no_such_bucket",
            Self::Bucket(_) => "s3_unavailable",
            Self::Twilio(error) => error.code(),
            Self::Enqueue(_) => "queue_unavailable",
            Self::CallNotFound => "twilio_call_not_found",
        }
    }
}

/// Processes many things at once. What fails by itself goes on the list of failures and ends nothing else. After a failure that others would
/// share nothing more is begun, and it is the error.
pub(crate) async fn each<T, F: Future<Output = Result<(), Fault>>>(
    at: &mut Checkpoint,
    things: Vec<(Subject, bool, T)>,
    act: impl Fn(T) -> F,
) -> Result<(), Fault> {
    let is_over = AtomicBool::new(false);
    let one = async |(subject, transcribe, thing)| {
        if is_over.load(Ordering::Relaxed) {
            return (subject, transcribe, None);
        }
        let done = act(thing).await;
        if done.as_ref().is_err_and(Fault::is_outage) {
            is_over.store(true, Ordering::Relaxed);
        }
        (subject, transcribe, Some(done))
    };
    let acts: Vec<_> = things.into_iter().map(one).collect();
    let done: Vec<_> = stream::iter(acts).buffer_unordered(CONCURRENCY).collect().await;
    let (mut outage, now) = (None, Timestamp::now());
    for (subject, transcribe, result) in done {
        match result {
            None => {}
            Some(Ok(())) => at.failures.remove(&subject),
            Some(Err(fault)) => {
                tracing::warn!(?subject, %fault, "not indexed; it will be tried again");
                // A database that does not answer says nothing about the thing.
                if !matches!(&fault, Fault::Calls(error) if error.is_outage()) {
                    at.failures
                        .add(subject, fault.code(), &fault.to_string(), transcribe, now);
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
