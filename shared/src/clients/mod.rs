//! One module for each outside service. A module owns its service's wire format, errors and retry rule, and knows nothing of HTTP routes.

pub mod aws;
pub mod bucket;
pub(crate) mod dynamodb;
pub mod livekit;
pub mod presign;
pub mod queue;
pub mod secrets;
pub mod twilio;
pub mod whisper;
