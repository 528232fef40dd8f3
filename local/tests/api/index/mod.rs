//! The index of calls: random histories compared with a simple model, and concurrent writers on a table with faults.

mod history;
mod model;
mod world;
mod writers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use local::{demo, stack::account, standins::twilio};
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};
use serde_json::{Value, json};
use shared::{
    calls::{
        Call, Calls, CallsError, Field, Interaction, ListFilter, ListOrder, ListStart, RecordingKey, TwilioRecording,
        index_object,
    },
    clients::{
        bucket::{ObjectInfo, RecordingRef, RecordingsBucket},
        livekit::FailedEgress,
        twilio::RecordingStatus,
    },
    config::Env,
    ids::DispatchId,
    names::RecordingName,
    time::to_millis,
};

use crate::stack::{TestStack, serve};
use history::{listed, row_of};
use model::*;
use world::*;

const PHONES: [&str; 2] = ["15103455686", "14155550123"];

/// Counts all days of the ledger that are due.
pub(crate) async fn count_ledger(calls: &Calls, now: Timestamp) {
    for due in calls.due_days(now).await.unwrap() {
        calls.count_day(&due, now, |_| {}).await.unwrap();
    }
    while let Some(due) = calls.next_day_to_close(now).await.unwrap() {
        calls.count_day(&due, now, |_| {}).await.unwrap();
    }
    calls.finish_ledger_round(now).await.unwrap();
}
