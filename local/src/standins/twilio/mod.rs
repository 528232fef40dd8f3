//! A stand-in for the part of Twilio's REST API that concerns recordings: list, fetch and media of one account, under
//! `/2010-04-01/Accounts/{account}/`. Wire format: Twilio's own, version 2010-04-01.
//!
//! It differs from the real one where that helps a demo: recordings whose status is `deleted` are listed unless `IncludeSoftDeleted=false`
//! is asked for, and a recording's `track` is in its row when it is known.

mod error;
mod fault;
mod list;
mod media;
mod recording;
mod server;
#[cfg(test)]
mod tests;

pub use fault::{Fault, Logged};
pub use media::Media;
pub use recording::Recording;
pub use server::Twilio;
