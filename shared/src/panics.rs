//! Panics that end only the work in which they happen. A panic's message can quote values, so it becomes no text: the log has the panic's place.

use std::{io, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use tokio::task::spawn_blocking;
use tracing::Span;

/// Some work panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it panicked")]
pub struct Panicked;

impl From<Panicked> for io::Error {
    fn from(panicked: Panicked) -> Self {
        Self::other(panicked)
    }
}

/// Runs `work`. A panic ends only `work`.
pub fn caught<F: Future>(work: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    // A combinator, because an async function would need the space of `work` twice.
    let caught = AssertUnwindSafe(work).catch_unwind();
    caught.map(|done| done.map_err(|_| Panicked))
}

/// Begins `work` on a thread for blocking work, in the current span, so that its log lines have the id of the request.
pub fn blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
    work: F,
) -> impl Future<Output = Result<T, Panicked>> {
    let span = Span::current();
    #[expect(clippy::disallowed_methods, reason = "this is the replacement")]
    let working = spawn_blocking(move || span.in_scope(work));
    working.map(|done| done.map_err(|_| Panicked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_without_its_message() {
        let panicked: Result<(), _> = caught(async { panic!("planted") }).await;
        assert_eq!(panicked, Err(Panicked));
        let panicked: Result<(), _> = blocking(|| panic!("planted")).await;
        let error = io::Error::from(panicked.unwrap_err());
        assert_eq!(
            (error.to_string().as_str(), caught(async { 1 }).await),
            ("it panicked", Ok(1))
        );
        assert!(!format!("{error:?}").contains("planted"));
    }
}
