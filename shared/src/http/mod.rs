//! Parses HTTP requests and builds HTTP responses.

pub mod access;
mod audit;
#[cfg(feature = "openapi")]
pub mod contract;
mod convert;
mod error;
mod page;
mod query;
mod reply;
mod request;
mod response;
mod serve;

pub use audit::about_recording;
pub use convert::SecretUse;
pub use error::{
    ApiError, ErrorFormat, invalid_dispatch_id, invalid_parameter, invalid_recording_sid, readable, recording_archived,
    recording_not_found, s3_missing,
};
pub use page::Page;
pub use query::Query;
pub use reply::Reply;
pub use request::{ApiRequest, request_id, route_ends_with, tail};
pub use response::{respond, respond_leniently, respond_with_page};
pub use serve::{serve, serve_events};
