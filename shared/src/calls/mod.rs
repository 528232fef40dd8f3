//! The calls table in DynamoDB: the index of all calls and recordings.
//!
//! Each reported thing has an item: a dispatch (the dispatch id itself), an interaction (`interaction#ID`), an object of the bucket
//! (`object#KEY`), a LiveKit recording that failed without a file (`egress#ID`), a call that Twilio recorded (`twilio#CALL_SID`). A recording or
//! an interaction that belongs to a call, because a report says so or because phone number and time match, has the call's item as its owner and
//! is copied into the owner's item. An item without an owner is a row of the list.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `id` | partition key |
//! | `rev` | revision: increases with each write, and each write is conditional on it |
//! | `facts` | JSON: the reported values with their times, the owner, and copies of the members |
//! | the attributes that the indexes project (template.yaml), `size`, `etag` | the row, derived from `facts` |
//! | `list_order` with `list_kind`, `list_phone`, `list_interaction` | keys of the list indexes `by-time`, `by-phone` and `by-interaction`. The sort key is start time and id; the partition is all calls (`playable` or `missing`), a phone number or an interaction. Calls without a recording are in separate partitions, `missing#…` |
//! | `near_number`, `near_time` | keys of the index `by-number`, which pairing queries to match recordings with calls, and interactions with dispatches |
//!
//! A change of one item is one conditional write; a change of several items is a transaction. The day ledger has separate items (`ledger.rs`).

mod copies;
mod cursor;
mod encoding;
mod error;
mod interaction;
mod item;
mod item_id;
mod keep;
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

pub use copies::IndexedRecording;
pub use cursor::Cursor;
pub use error::CallsError;
pub use interaction::{Field, Interaction};
pub use keep::{CallContents, KeepChange, KeepError};
pub use ledger::{DueDay, Total};
pub use ledger_day::LedgerDay;
pub use list::{CallPage, ListError, ListStart, MAX_OFFSET};
pub use list_filter::{ListFilter, ListOrder};
pub use model::Call;
pub use observations::{CopyFailure, CopyResult, Hold, TwilioCopy, TwilioRecording};
pub use pairing::NEIGHBOURHOOD;
pub use reconciliation::{ReconcilerState, TwilioUpdate};
pub use record::{Observed, RecordingKey};
pub use reindex::ReindexPage;
pub use resolve::{CallRecording, NotCopied, ResolveError, Resolver, Search, index_egress, index_object};
pub use table::Calls;
