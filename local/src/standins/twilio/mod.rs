//! A stand-in for Twilio's REST API for recordings: list, fetch and media of one account, under `/2010-04-01/Accounts/{account}/`. The wire
//! format is Twilio's, version 2010-04-01.
//!
//! It differs from Twilio where that helps the demo: recordings with the status `deleted` are listed unless `IncludeSoftDeleted=false` is
//! requested, and a recording's `track` is returned if it is known.

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
