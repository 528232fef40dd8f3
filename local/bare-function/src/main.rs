//! A Lambda function that only initializes logging and returns an empty response, as a baseline for measurements.

use lambda_http::{Body, Error, Request, Response, service_fn, tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    lambda_http::run(service_fn(async |_: Request| {
        Ok::<_, Error>(Response::new(Body::Empty))
    }))
    .await
}
