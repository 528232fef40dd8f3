//! The whole of Call Recordings on one machine. `main.rs` is the `cargo run` that a person starts; the tests start the same [`stack`] on port 0.

pub mod aws;
pub mod contract;
pub mod demo;
pub mod events;
pub mod functions;
pub mod gateway;
pub mod import;
pub mod keys;
pub mod queues;
pub mod reindex;
pub mod seed;
pub mod serve;
pub mod stack;
pub mod twilio;
pub mod whisper;

pub use whisper::tones;
