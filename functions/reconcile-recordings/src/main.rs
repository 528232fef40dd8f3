//! The Lambda bootstrap; the function itself is in the library.

use lambda_http::{Error, tracing};
use lambda_runtime::{LambdaEvent, run, service_fn};
use reconcile_recordings::{State, handle};
use serde_json::Value;
use shared::config::Env;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let state = State::from_env(&Env::process()).await?;
    let state = &state;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        Ok::<_, Error>(handle(state, event.context.deadline()).await?)
    }))
    .await
}
