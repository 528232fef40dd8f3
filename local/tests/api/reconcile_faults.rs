//! The reconciler with temporary and permanent failures, and with more data than one round can read.

use std::time::{Duration, SystemTime};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use local::{
    aws::Service,
    stack::account,
    standins::twilio::{Fault, Media, Recording},
};
use reconcile_recordings::{RoundLimits, handle};
use serde_json::{Value, json};
use shared::config::Env;

use crate::{
    logs::invoked,
    stack::{TestStack, serve},
};

/// Small pages, and one page of each sweep per round.
const SMALL: RoundLimits = RoundLimits {
    objects: 5,
    recordings: 2,
    sweep_pages: 1,
};

async fn round_with(environment: &Env, limits: RoundLimits) {
    let state = reconcile_recordings::State::new(environment, limits).await.unwrap();
    let done = invoked(handle(&state, SystemTime::now() + Duration::from_secs(900))).await;
    assert!(done.unwrap().finished);
}

async fn round(stack: &TestStack) {
    round_with(&stack.stack.environment, RoundLimits::default()).await;
}

async fn report(stack: &TestStack) -> Value {
    stack.get("/reports/completeness").await.body
}

async fn list(stack: &TestStack, query: &str) -> Vec<Value> {
    let answer = stack.get(&format!("/recordings?limit=100&{query}")).await;
    answer.body["recordings"].as_array().unwrap().clone()
}

fn ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

/// The key of a recording with this time.
fn key(phone: u64, time: Timestamp) -> String {
    format!(
        "egress-recordings/{}/outbound-{phone}_{}.mp4",
        time.strftime("%Y/%m/%d"),
        time.as_second()
    )
}

fn recording(number: u32, time: Timestamp) -> Recording {
    Recording {
        sid: format!("RE{number:032x}"),
        call_sid: format!("CA{number:032x}"),
        date_created: time,
        date_updated: time,
        start_time: time,
        media: Media::Generated { bytes: 400 },
        ..Recording::default()
    }
}

/// Adds a recording whose call has a phone number.
fn add(stack: &TestStack, recording: Recording) {
    stack.stack.twilio.add_call(recording.call_sid.clone(), "+15103455686");
    stack.stack.twilio.add(recording);
}

/// An S3 that denies access to the objects of one number.
async fn forbid(State(number): State<String>, request: Request, next: Next) -> Response {
    match request.method() == Method::HEAD && request.uri().path().contains(&number) {
        true => StatusCode::FORBIDDEN.into_response(),
        false => next.run(request).await,
    }
}

/// The stack's environment with an S3 that denies access to the objects of one number.
async fn forbidding(stack: &TestStack, number: &str) -> Env {
    let router = stack.stack.aws.router();
    let proxy = serve(router.layer(from_fn_with_state(number.to_owned(), forbid))).await;
    let through = |(name, value): (&str, &str)| match name {
        "AWS_ENDPOINT_URL" => (name.to_owned(), proxy.clone()),
        _ => (name.to_owned(), value.to_owned()),
    };
    stack.stack.environment.iter().map(through).collect()
}

#[tokio::test]
async fn unreadable_objects_block_nothing_and_are_retried_at_growing_intervals() {
    let stack = TestStack::empty().await;
    for (phone, hours) in [(15103455686, 24), (15103455686, 25), (14155550123, 26)] {
        stack.put_object(&key(phone, ago(hours)), b"sound");
    }
    let environment = forbidding(&stack, "15103455686").await;
    for tries in [1, 2, 3, 4, 4] {
        round_with(&environment, RoundLimits::default()).await;
        let report = report(&stack).await;
        assert_eq!((&report["playable"], &report["not_indexed"]), (&json!(1), &json!(2)));
        assert_eq!(report["problems"], json!([]), "nothing else was blocked");
        let failure = &report["failures"][0];
        assert_eq!(
            (&failure["code"], &failure["tries"]),
            (&json!("s3_access_denied"), &json!(tries))
        );
        assert!(failure["s3_key"].as_str().unwrap().contains("15103455686"));
    }
    // Once access is granted, the next event or the next retry indexes them.
    let failure = report(&stack).await["failures"][0].clone();
    assert!(failure["next_try"].as_str().unwrap().parse::<Timestamp>().unwrap() > Timestamp::now());
}

#[tokio::test]
async fn more_failures_than_the_list_holds_stop_nothing_and_are_all_indexed_once_access_is_granted() {
    let stack = TestStack::empty().await;
    for number in 0..250 {
        stack.put_object(&key(15103455686, ago(24 * 40 + number)), b"sound");
    }
    // It sorts behind all others.
    stack.put_object("egress-recordings/meeting.mp4", b"sound");
    let environment = forbidding(&stack, "15103455686").await;
    for _ in 0..2 {
        round_with(
            &environment,
            RoundLimits {
                objects: 100,
                ..RoundLimits::default()
            },
        )
        .await;
        assert_eq!(list(&stack, "").await.len(), 1);
        assert_eq!(report(&stack).await["bucket_complete"], true);
    }
    round_with(&environment, RoundLimits::default()).await;
    assert_eq!(report(&stack).await["not_indexed"], 200);

    // The list is retried, and the sweep then finds the others, although a day has not passed.
    round(&stack).await;
    let total = stack.get("/recordings?include_total=true").await.body["total"].clone();
    assert_eq!(total, 251);
    assert_eq!(report(&stack).await["not_indexed"], 0);
    round(&stack).await;
    assert_eq!(report(&stack).await["objects"], 0, "nothing is read again");
}

#[tokio::test]
async fn the_number_of_a_call_that_twilio_has_archived_stays_unknown_without_a_failure() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(1, ago(24 * 400)));
    for _ in 0..2 {
        round(&stack).await;
        assert_eq!(list(&stack, "").await[0]["phone"], Value::Null);
        assert_eq!(report(&stack).await["not_indexed"], 0);
    }
}

#[tokio::test]
async fn a_large_bucket_is_swept_over_many_rounds_and_recent_keys_come_first() {
    let stack = TestStack::empty().await;
    for number in 0..23 {
        stack.put_object(&key(15_103_455_000 + number, ago(24 * 400 + number as i64)), b"sound");
    }
    stack.put_object(&key(14_155_550_123, ago(2)), b"sound");
    let environment = &stack.stack.environment;
    round_with(environment, SMALL).await;
    let first = report(&stack).await;
    assert_eq!(
        (&first["playable"], &first["bucket_complete"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(list(&stack, "").await.len(), 1 + 5);
    let mut rounds = 1;
    while report(&stack).await["bucket_complete"] == false {
        round_with(environment, SMALL).await;
        rounds += 1;
    }
    assert_eq!((rounds, list(&stack, "").await.len()), (5, 24));
    // From now on only recent keys are listed, and none of them is compared again.
    round_with(environment, SMALL).await;
    let last = report(&stack).await;
    assert_eq!((&last["objects"], &last["objects_indexed"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_large_twilio_account_is_swept_over_many_rounds_and_recent_recordings_come_first() {
    let stack = TestStack::empty().await;
    for number in 0..7 {
        add(&stack, recording(number, ago(24 * 40 * i64::from(number) + 24 * 60)));
    }
    add(&stack, recording(100, ago(30)));
    let environment = &stack.stack.environment;
    round_with(environment, SMALL).await;
    assert_eq!(report(&stack).await["twilio_complete"], false);
    assert!(
        list(&stack, "")
            .await
            .iter()
            .any(|row| row["call_sid"] == recording(100, ago(0)).call_sid)
    );
    let mut rounds = 1;
    while report(&stack).await["twilio_complete"] == false {
        round_with(environment, SMALL).await;
        rounds += 1;
        assert!(rounds < 30);
    }
    assert_eq!(list(&stack, "").await.len(), 8);
    assert_eq!(report(&stack).await["not_indexed"], 0);
}

#[tokio::test]
async fn recordings_from_days_of_a_twilio_outage_are_found_afterwards() {
    let stack = TestStack::empty().await;
    round(&stack).await;
    let down = Fault::Status {
        status: 503,
        retry_after: None,
        body: None,
    };
    stack.stack.twilio.fault("Recordings.json", down, None);
    add(&stack, recording(1, ago(24 * 2)));
    round(&stack).await;
    let problem = report(&stack).await["problems"][0].clone();
    assert_eq!(problem["code"], "twilio_unavailable");
    assert_eq!(list(&stack, "").await.len(), 0);
    stack.stack.twilio.clear_faults();
    round(&stack).await;
    assert_eq!(
        (list(&stack, "").await.len(), &report(&stack).await["problems"]),
        (1, &json!([]))
    );
}

/// A Twilio that refuses to list one day.
async fn refuse(State(day): State<String>, request: Request, next: Next) -> Response {
    let is_it = request
        .uri()
        .query()
        .is_some_and(|query| query.contains(&format!("DateCreated={day}")));
    match is_it {
        true => (StatusCode::BAD_REQUEST, r#"{"code": 20001}"#).into_response(),
        false => next.run(request).await,
    }
}

#[tokio::test]
async fn a_page_of_twilios_list_that_times_out_does_not_block_other_days() {
    let stack = TestStack::empty().await;
    add(&stack, recording(1, ago(24)));
    add(&stack, recording(2, ago(48)));
    let day = ago(24).strftime("%Y-%m-%d").to_string();
    let router = stack.stack.twilio.router();
    let proxy = serve(router.layer(from_fn_with_state(day.clone(), refuse))).await;
    let through = |(name, value): (&str, &str)| match name {
        "TWILIO_BASE_URL" => (name.to_owned(), proxy.clone()),
        _ => (name.to_owned(), value.to_owned()),
    };
    let environment: Env = stack.stack.environment.iter().map(through).collect();
    let small = RoundLimits {
        sweep_pages: 0,
        ..RoundLimits::default()
    };
    for _ in 0..2 {
        round_with(&environment, small).await;
        assert_eq!(list(&stack, "").await.len(), 1);
    }
    let report = report(&stack).await;
    assert_eq!(report["failures"][0]["twilio_day"], day, "{report}");
}

#[tokio::test]
async fn the_number_of_a_call_that_twilio_does_not_find_yet_is_added_later() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(1, ago(24)));
    round(&stack).await;
    assert_eq!(list(&stack, "").await[0]["phone"], Value::Null);
    assert_eq!(report(&stack).await["failures"][0]["code"], "twilio_call_not_found");
    stack
        .stack
        .twilio
        .add_call(recording(1, ago(0)).call_sid, "+15103455686");
    round(&stack).await;
    assert_eq!(list(&stack, "").await[0]["phone"], "+15103455686");
    assert_eq!(report(&stack).await["not_indexed"], 0);
}

#[tokio::test]
async fn a_recording_without_media_is_not_listed_as_playable() {
    let stack = TestStack::empty().await;
    let without_media = Recording {
        media: Media::None,
        ..recording(1, ago(24))
    };
    add(&stack, without_media);
    add(&stack, recording(2, ago(24)));
    round(&stack).await;
    assert_eq!(list(&stack, "").await.len(), 1);
    let missing = list(&stack, "has_recording=false").await;
    assert_eq!(missing[0]["recording_error"], "The recording was deleted at Twilio.");
    stack.stack.twilio.remove(&recording(2, ago(0)).sid);
    let deleted = Recording {
        status: "deleted".into(),
        ..recording(2, ago(24))
    };
    add(&stack, deleted);
    round(&stack).await;
    assert_eq!(list(&stack, "").await.len(), 0);
    let report = report(&stack).await;
    assert_eq!(
        report["calls_without_recording"]["entries"][0]["code"],
        "twilio_deleted"
    );
}

#[tokio::test]
async fn files_that_are_not_recordings_are_counted_with_examples() {
    let stack = TestStack::with_environment([("INDEX_UNMATCHED_AUDIO", "false")]).await;
    for name in ["EG_1.json", "other-system/song.mp3"] {
        stack.put_object(&format!("egress-recordings/{name}"), b"sound");
    }
    stack.put_object(&key(15_103_455_686, ago(24)), b"");
    stack.put_object(&key(14_155_550_123, ago(24)), b"sound");
    round(&stack).await;
    let ignored = report(&stack).await["ignored"].clone();
    assert_eq!(ignored["total"], 3);
    let codes: Vec<&Value> = ignored["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["code"])
        .collect();
    assert_eq!(codes, ["empty_file", "not_audio", "unmatched_name"]);
}

#[tokio::test]
async fn a_deployment_without_twilio_reports_no_problem_with_twilio() {
    let stack = TestStack::empty().await;
    stack
        .put_secret(account::TWILIO_SECRET, r#"{"account_sid":"","auth_token":""}"#)
        .await;
    stack.put_object(&key(15_103_455_686, ago(24)), b"sound");
    round(&stack).await;
    let report = report(&stack).await;
    assert_eq!(
        (&report["problems"], &report["twilio_complete"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(
        (&report["playable"], &report["bucket_complete"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn a_clock_that_is_a_minute_ahead_loses_no_call() {
    let stack = TestStack::empty().await;
    let soon = Timestamp::now() + SignedDuration::from_mins(1);
    stack.put_object(&key(15_103_455_686, soon), b"sound");
    add(&stack, recording(1, soon));
    round(&stack).await;
    assert_eq!(report(&stack).await["playable"], list(&stack, "").await.len());
}

#[tokio::test]
async fn an_idle_deployment_reads_at_most_ten_units_a_round() {
    let stack = TestStack::empty().await;
    round(&stack).await;
    let reads = || ["GetItem", "Query", "BatchGetItem"].map(|name| stack.stack.aws.calls_of(Service::DynamoDb, name));
    let before = reads();
    round(&stack).await;
    let after = reads();
    // Each item is smaller than 4 KB: a consistent read costs one unit, an eventually consistent query half a unit.
    let [gets, queries, batches] = [0, 1, 2].map(|index| after[index] - before[index]);
    let units = gets as f64 + 0.5 * queries as f64 + batches as f64;
    assert!(units <= 10.0, "{gets} GetItem, {queries} Query, {batches} BatchGetItem");
}
