//! The audit table in DynamoDB: who listed, played, downloaded, read, made, changed or erased what.
//!
//! | key `day`, `order` | what it is |
//! | --- | --- |
//! | a UTC day, `{time}#{request id}` | what one request did |
//! | `key#{id}`, … | when an API key was last used (`http/access`) |
//!
//! A request writes one item, however many rows it shows. Items are only ever added, and end after `AUDIT_DAYS`; the one change is made by an erasure,
//! which removes the call. An item has no name and no value of a filter. It has the id of a call, which can contain the call's number, so that the
//! index `by-subject` finds the items of a call.

mod action;
mod cursor;
mod erase;
mod error;
mod event;
mod filter;
mod list;
mod log;

pub use action::Action;
pub use cursor::AuditCursor;
pub use error::AuditError;
pub use event::{Actor, Event, Origin};
pub use filter::AuditFilter;
pub use list::{AuditItem, AuditPage};
pub use log::AuditLog;
