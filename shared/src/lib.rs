//! What the Call Recordings functions have in common, in floors: a module imports from the floors below its own only. ARCHITECTURE.md
//! shows the floors, and `tests/floors.rs` holds the modules to them.

pub mod batch;
pub mod calls;
pub mod clients;
pub mod config;
pub mod http;
pub mod ids;
pub mod names;
pub mod reconcile;
pub mod retry;
pub mod time;
pub mod transcript_api;
pub mod transcription;
pub mod transcripts;

pub use split;
