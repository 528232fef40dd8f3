//! The calls table in DynamoDB: the index of all calls and recordings.
//!
//! Each thing that is reported has an item: a dispatch (its id as it is), an interaction (`interaction#ID`), an object of the bucket
//! (`object#KEY`), a LiveKit recording that failed without a file (`egress#ID`), a call that Twilio recorded (`twilio#CALL_SID`). What belongs to
//! a call, because it was said so or by phone number and time, has the call's item as its owner, and is copied into it: an item without an owner
//! is a row of the list.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `id` | partition key |
//! | `rev` | grows with each change, and is the condition of the next |
//! | `facts` | JSON: what was reported, with times; the owner; copies of what belongs to it |
//! | what the indexes project (template.yaml), `size`, `etag` | the row, made from `facts` |
//! | `list_order` with `list_kind`, `list_phone`, `list_interaction` | keys of the indexes of lists `by-time`, `by-phone` and `by-interaction`: start time and id, within all calls (`playable` or `missing`), those of a phone number or those of an interaction. Calls without a recording have partitions of their own there, `missing#…` |
//! | `near_number`, `near_time` | keys of the index `by-number`, by which recordings find their calls, and interactions their dispatches |
//!
//! A change of one item is one conditional write; only a change of several is a transaction. The day ledger has items of its own (`ledger.rs`).

mod cursor;
mod encoding;
mod error;
mod interaction;
mod item;
mod item_id;
mod ledger;
mod ledger_day;
mod list;
mod list_filter;
mod model;
mod observations;
mod pairing;
mod reconciliation;
mod record;
mod reindex;
mod resolve;
mod row;
mod store;
mod table;

pub use cursor::Cursor;
pub use error::CallsError;
pub use interaction::{Field, Interaction};
pub use ledger::{DueDay, Total};
pub use ledger_day::LedgerDay;
pub use list::{CallPage, DEEPEST_OFFSET, ListError, ListStart};
pub use list_filter::{ListFilter, ListOrder};
pub use model::Call;
pub use observations::TwilioRecording;
pub use pairing::NEIGHBOURHOOD;
pub use reconciliation::{ReconcilerState, TwilioUpdate};
pub use record::{Observed, RecordingKey};
pub use reindex::ReindexPage;
pub use resolve::{CallRecording, ResolveError, Resolver, index_egress, index_object};
pub use table::Calls;
