//! Black-box tests: requests to a running stack, with a separate stack for each test, run in parallel.

// clippy.toml allows unwrap only in test functions and not in the helpers that they call.
#![allow(clippy::unwrap_used)]
#![recursion_limit = "256"]

mod archive;
mod archived;
mod audit;
mod auth;
mod bound_transcripts;
mod browsers;
mod budget;
mod command_line;
mod console;
mod contract;
mod deployment;
mod egress_transcript;
mod erasure;
mod events;
mod faults;
mod files;
mod foreign_pages;
mod import;
mod index;
mod ingest;
mod insights;
mod jobs;
mod keys;
mod killed;
mod ledger;
mod list;
mod logs;
mod lost_messages;
mod memory;
mod metrics;
mod operations;
mod pages;
mod parts;
mod permissions;
mod planted;
mod program;
mod queues;
mod quotas;
mod race;
mod reconcile;
mod reconcile_faults;
mod recordings;
mod request_ids;
mod routes;
mod runtime;
mod saved_queries;
mod servers;
mod shares;
mod stack;
mod stored;
mod transcript;
mod twilio_list;
mod upgrade;
mod upstream_errors;
mod vocabulary;
mod waveforms;
mod webhooks;
mod whisper_errors;
mod worker;
