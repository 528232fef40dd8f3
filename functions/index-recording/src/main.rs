//! The Lambda bootstrap; the function itself is in the library.

use index_recording::{State, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::http::serve_events(State::from_env, |state, event, _| handle(state, event)).await
}
