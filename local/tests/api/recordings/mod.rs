//! `GET /recordings/{dispatch_id}`: presigned URLs, and the search for a recording that is not in the index.

mod faults;
mod search;
mod search_model;
mod urls;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sdk_s3::{config::SharedCredentialsProvider, presigning::PresigningConfig};
use jiff::{SignedDuration, Timestamp, ToSpan, civil, tz::TimeZone};
use local::{
    aws::{self, Service},
    clips, demo,
    stack::{account, demo_data},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use shared::{
    calls::{Call, index_object},
    clients::bucket::RecordingsBucket,
};

use crate::stack::{Answer, TestStack, pass};

const ID: &str = "dispatch_1754653479_15103455686";

const KEY: &str = "egress-recordings/2025/08/08/outbound-15103455686_1754653479.mp4";

/// 2025-08-08T11:44:39Z
const NOON: i64 = 1_754_653_479;

/// 2025-08-08T00:00:00Z
const MIDNIGHT: i64 = 1_754_611_200;

const PHONE: &str = "15103455686";

const NOT_FOUND: &str = "Recording not found. Call may still be in progress or recording failed.";

fn day(unix: i64) -> civil::Date {
    TimeZone::UTC.to_datetime(Timestamp::from_second(unix).unwrap()).date()
}

fn key_in(day: civil::Date, phone: &str, unix: i64) -> String {
    format!(
        "egress-recordings/{}/outbound-{phone}_{unix}.mp4",
        day.strftime("%Y/%m/%d")
    )
}

/// The key that egress gives to a recording with this start time.
fn key(phone: &str, unix: i64) -> String {
    key_in(day(unix), phone, unix)
}

fn path(unix: i64, phone: &str) -> String {
    format!("/recordings/dispatch_{unix}_{phone}")
}

#[track_caller]
fn assert_found(answer: &Answer, key: &str) {
    assert_eq!(
        (answer.status.as_u16(), &answer.body["s3_key"]),
        (200, &json!(key)),
        "{}",
        answer.body
    );
}

#[track_caller]
fn assert_not_found(answer: &Answer) {
    assert_eq!(answer.recordings_error(404, "recording_not_found"), NOT_FOUND);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Sound,
    Empty,
    Manifest,
}

type Listed = (String, i64, civil::Date, Kind);
