//! The system from outside: real requests to a running stack, one stack per test, all in parallel.

// clippy.toml allows it in test functions only, not in what they call.
#![allow(clippy::unwrap_used)]

mod auth;
mod command_line;
mod events;
mod index;
mod jobs;
mod list;
mod recordings;
mod stack;
mod transcript;
mod twilio_list;
mod webhooks;
mod whisper_errors;
