//! The Lambda bootstrap; the function itself is in the library.

use lambda_http::{Error, tracing};
use shared::{config::Env, http};
use twilio_callback::{State, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let state = State::from_env(&Env::process()).await?;
    http::run(|request| handle(&state, request)).await
}
