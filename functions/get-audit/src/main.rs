//! The Lambda bootstrap; the function itself is in the library.

use get_audit::{State, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::serve(State::from_env, handle).await
}
