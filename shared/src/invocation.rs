//! The id of the request that is being processed: in every log line, and in every message that the request causes.

use std::{pin::Pin, sync::Arc};

use tokio::task::futures::TaskLocalFuture;
use tracing::{Instrument, instrument::Instrumented};

tokio::task_local! {
    static REQUEST_ID: Arc<str>;
}

/// A future whose log lines and messages have a request's id.
pub type OnBehalf<F> = TaskLocalFuture<Arc<str>, Instrumented<Pin<Box<F>>>>;

/// Runs `work` for the request with this id. The log lines also have Lambda's id of the invocation if it is another one, as for a message of a
/// batch.
pub fn on_behalf_of<F: Future>(request_id: &str, invocation_id: Option<&str>, work: F) -> OnBehalf<F> {
    let invocation_id = invocation_id.filter(|id| *id != request_id);
    // A span of the highest level, so that lines of every level are inside it.
    let span = tracing::error_span!("request", request_id, invocation_id);
    // On the heap, because a future that is moved through each of these would need the stack several times.
    REQUEST_ID.scope(request_id.into(), Box::pin(work).instrument(span))
}

/// The id of the request that is being processed; `None` outside of a request.
pub fn request_id() -> Option<String> {
    REQUEST_ID.try_with(|id| id.as_ref().to_owned()).ok()
}

/// Whether a text that came with a message or an event can be a request's id. Anything else could be words of a customer.
pub fn is_request_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
    // A phone number has at most 15 digits, and an id has letters.
    (8..=64).contains(&text.len())
        && text.bytes().all(is_allowed)
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_knows_the_request_that_it_is_done_for() {
        assert_eq!(request_id(), None);
        let (inner, outer) = on_behalf_of("outer", None, async {
            let inner = on_behalf_of("inner", Some("outer"), async { request_id() }).await;
            (inner, request_id())
        })
        .await;
        assert_eq!((inner.as_deref(), outer.as_deref()), (Some("inner"), Some("outer")));
    }

    #[test]
    fn only_ids_are_ids() {
        for id in [
            "JKJaXmPLvHcESHA=",
            "79104EXAMPLEB723",
            "b25f48e8-84fd-11e6-80d9-574e0c4664cb",
        ] {
            assert!(is_request_id(id), "{id}");
        }
        for other in [
            "",
            "short",
            "+14155550123",
            "14155550123",
            "Ada Byrne of London",
            &"a".repeat(65),
        ] {
            assert!(!is_request_id(other), "{other}");
        }
    }
}
