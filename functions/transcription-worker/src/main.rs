//! The Lambda bootstrap; the function itself is in the library.

use std::convert::Infallible;

use transcription_worker::{State, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::http::serve_events(State::from_env, async |state, event, context| {
        Ok::<_, Infallible>(handle(state, event, context.deadline()).await)
    })
    .await
}
