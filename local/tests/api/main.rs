//! The system from outside: real requests to a running stack, one stack per test, all in parallel.

mod auth;
mod command_line;
mod events;
mod list;
mod recordings;
mod stack;
