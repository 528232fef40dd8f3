//! Clients for external services. Each module contains the wire format, errors and retry rules of one service and does not depend on HTTP
//! routes.

mod attempt;
pub mod aws;
mod body;
pub mod bucket;
pub(crate) mod dynamodb;
pub mod livekit;
pub mod presign;
pub mod queue;
pub mod secrets;
mod tls;
pub mod twilio;
pub mod whisper;
