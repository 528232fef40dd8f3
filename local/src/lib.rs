//! The whole of Call Recordings on one machine. `main.rs` is the `cargo run` that a person starts; the tests start the same [`stack`] on port 0.

pub mod aws;
pub mod cli;
pub mod clips;
pub mod contract;
pub mod demo;
pub mod gateway;
pub mod serve;
pub mod stack;
pub mod standins;
pub mod template;
