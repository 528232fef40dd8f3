//! The Lambda bootstrap; the function itself is in the library.

use index_recording::{State, handle};
use lambda_http::{Error, tracing};
use lambda_runtime::{LambdaEvent, run, service_fn};
use shared::config::Env;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let state = State::from_env(&Env::process())?;
    let state = &state;
    run(service_fn(|event: LambdaEvent<_>| async move {
        Ok::<_, Error>(handle(state, event.payload).await?)
    }))
    .await
}
