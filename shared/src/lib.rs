//! The code that the Call Recordings functions share, in floors: a module imports only from the floors below its own. ARCHITECTURE.md shows the
//! floors, and `tests/floors.rs` checks the imports.

pub mod archive;
pub mod audit;
pub mod batch;
pub mod calls;
pub mod clients;
pub mod config;
mod cursor;
pub mod erasure;
pub mod http;
pub mod ids;
pub mod invocation;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod names;
pub mod panics;
#[cfg(feature = "phones")]
pub mod phones;
pub mod reconcile;
pub mod retry;
pub mod shares;
pub mod time;
pub mod transcript_api;
pub mod transcription;
pub mod transcripts;

pub use split;
