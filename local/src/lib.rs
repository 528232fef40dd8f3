//! Call Recordings on one machine. `cargo run` starts it with `main.rs`; the tests start the same [`stack`] on free ports.

pub mod aws;
pub mod cli;
pub mod clips;
pub mod contract;
pub mod demo;
pub mod fault_proxy;
pub mod gateway;
pub mod hosts;
pub mod serve;
pub mod stack;
pub mod standins;
pub mod template;
