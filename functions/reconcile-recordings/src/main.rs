//! The Lambda bootstrap; the function itself is in the library.

use reconcile_recordings::{State, handle};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::http::serve_events(State::from_env, |state, _: Value, context| {
        handle(state, context.deadline())
    })
    .await
}
