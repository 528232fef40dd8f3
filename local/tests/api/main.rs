//! The system from outside: real requests to a running stack, one stack per test, all in parallel.

mod stack;
mod transcript;
mod twilio_list;
mod whisper_errors;
