//! The AWS of the local stack: S3, DynamoDB, Secrets Manager, SQS and EventBridge in this process, on one router, so that all SDK clients use
//! the same `AWS_ENDPOINT_URL`. S3 verifies signatures; the other services do not.

mod dynamodb;
mod error;
mod event_bus;
mod faults;
mod file_backed;
mod identity;
mod messages;
mod permissions;
mod query;
mod response;
mod s3;
mod secrets;
mod server;
mod service;
mod storage;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use faults::Faults;
pub use identity::{
    ACCESS_KEY_ID, ACCOUNT_ID, REGION, SECRET_ACCESS_KEY, SIGNER_ACCESS_KEY_ID, SIGNER_SECRET_ACCESS_KEY,
    function_access_key,
};
pub use messages::StoredMessage;
pub use permissions::{Permissions, Use};
pub use server::Aws;
pub use service::{Service, identify};
pub use storage::{DatabaseKind, Lock, Storage};
