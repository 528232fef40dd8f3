//! The shares table in DynamoDB: links by which people without an API key play one recording.
//!
//! | key `id`, `item` | what it is |
//! | --- | --- |
//! | `{share id}`, `share` | a share: which recording, until when, by whom, how often opened |
//! | `{share id}`, `opening#{time}#{hash}` | one opening of its page |
//!
//! A share names the object as it was when it was shared. If the call has another recording later, or the object is overwritten, the share has ended: it
//! never shows another call's recording. Both kinds of items are deleted [`KEPT_DAYS`] days after the share's end.

mod error;
mod model;
mod openings;
mod passcode;
mod table;
mod token;

pub use error::SharesError;
pub use model::{KEPT_DAYS, Opening, Share, Visitor};
pub use openings::{OpeningToken, PASSCODE_ATTEMPTS, PASSCODE_WINDOW, PasscodeResult};
pub use passcode::PasscodeHash;
pub use table::Shares;
pub use token::{ShareId, ShareToken};
