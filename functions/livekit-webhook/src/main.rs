//! The Lambda bootstrap; the function itself is in the library.

use lambda_http::{Error, tracing};
use livekit_webhook::{State, handle};
use shared::{config::Env, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let state = State::from_env(&Env::process()).await?;
    http::run(|request| handle(&state, request)).await
}
