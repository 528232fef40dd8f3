//! The Lambda bootstrap; the function itself is in the library.

use std::convert::Infallible;

use erase_recording::{State, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::http::serve_events(State::from_env, async |state, batch, context| {
        Ok::<_, Infallible>(handle(state, batch, context.deadline()).await)
    })
    .await
}
