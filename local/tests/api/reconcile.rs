//! The reconciler finds recordings that no event reported, even while other sources fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use local::{
    aws::Service,
    demo,
    stack::functions::Functions,
    standins::twilio::{Fault, Media, Recording},
};
use serde_json::{Value, json};
use shared::config::Env;

use crate::stack::{TestStack, serve};

/// Runs one invocation with this much time. Returns whether it finished a round.
async fn run_for(functions: &Functions, time: Duration) -> bool {
    let deadline = SystemTime::now() + time;
    let done = functions.deliver("reconcile-recordings", json!({}), deadline).await;
    done.unwrap().unwrap()["finished"].as_bool().unwrap()
}

async fn round(environment: &Env) {
    let functions = Functions::from_env(environment).await.unwrap();
    assert!(run_for(&functions, Duration::from_secs(900)).await);
}

async fn report(stack: &TestStack) -> Value {
    stack.get("/reports/completeness").await.body
}

/// The key of a recording from yesterday.
fn key(phone: &str) -> String {
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let day = yesterday.strftime("%Y/%m/%d");
    format!("egress-recordings/{day}/outbound-{phone}_{}.mp4", yesterday.as_second())
}

fn twilio_recording(digit: char) -> Recording {
    let hex = digit.to_string().repeat(32);
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    Recording {
        sid: format!("RE{hex}"),
        call_sid: format!("CA{hex}"),
        date_created: yesterday,
        date_updated: yesterday,
        start_time: yesterday,
        media: Media::Generated { bytes: 400 },
        ..Recording::default()
    }
}

async fn listed(stack: &TestStack) -> usize {
    let body = stack.get("/recordings?limit=100").await.body;
    body["recordings"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_report_on_the_demo_lists_only_real_gaps() {
    let stack = TestStack::demo().await;
    round(&stack.stack.environment).await;
    let report = report(&stack).await;
    assert_eq!((&report["failures"], &report["problems"]), (&json!([]), &json!([])));
    assert_eq!(report["not_indexed"], 0);
}

#[tokio::test]
async fn an_invocation_without_time_does_one_step_and_the_next_one_continues() {
    let stack = TestStack::empty().await;
    stack.put_object(&key("15103455686"), b"sound");
    stack.stack.twilio.add(twilio_recording('a'));
    let functions = Functions::from_env(&stack.stack.environment).await.unwrap();
    let mut runs = 1;
    while !run_for(&functions, Duration::ZERO).await {
        runs += 1;
    }
    // The steps are the bucket, four days of Twilio's list, the rows of three days, and the failures.
    assert!(runs > 8, "{runs}");
    let report = report(&stack).await;
    assert_eq!(
        (&report["playable"], &report["recordings_without_call"]["total"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(listed(&stack).await, 2);
}

/// An S3 that denies access to one object.
async fn forbid(State((forbidden, key)): State<(Arc<AtomicBool>, String)>, request: Request, next: Next) -> Response {
    let is_it = request.method() == Method::HEAD && request.uri().path().ends_with(&key);
    match is_it && forbidden.load(Ordering::Relaxed) {
        true => StatusCode::FORBIDDEN.into_response(),
        false => next.run(request).await,
    }
}

#[tokio::test]
async fn an_unreadable_object_blocks_nothing_and_is_retried() {
    let stack = TestStack::empty().await;
    let (bad, good) = (key("15103455686"), key("14155550123"));
    stack.put_object(&bad, b"sound");
    stack.put_object(&good, b"sound");
    stack.stack.twilio.add(twilio_recording('a'));
    stack
        .stack
        .twilio
        .add_call(twilio_recording('a').call_sid, "+12125550100");
    let forbidden = Arc::new(AtomicBool::new(true));
    let state = (forbidden.clone(), bad);
    let proxy = serve(stack.stack.aws.router().layer(from_fn_with_state(state, forbid))).await;
    let through = |(name, value): (&str, &str)| match name {
        "AWS_ENDPOINT_URL" => (name.to_owned(), proxy.clone()),
        _ => (name.to_owned(), value.to_owned()),
    };
    let environment: Env = stack.stack.environment.iter().map(through).collect();
    round(&environment).await;
    assert_eq!(listed(&stack).await, 2);
    let found = report(&stack).await;
    assert_eq!((&found["playable"], &found["not_indexed"]), (&json!(2), &json!(1)));
    forbidden.store(false, Ordering::Relaxed);
    round(&environment).await;
    assert_eq!(listed(&stack).await, 3);
    assert_eq!(report(&stack).await["not_indexed"], 0);
}

#[tokio::test]
async fn an_outage_of_the_bucket_is_reported_and_does_not_block_twilio() {
    let stack = TestStack::empty().await;
    stack.put_object(&key("15103455686"), b"sound");
    stack.stack.twilio.add(twilio_recording('a'));
    let environment = &stack.stack.environment;
    stack
        .stack
        .aws
        .faults()
        .set(Service::S3, Some(StatusCode::INTERNAL_SERVER_ERROR));
    round(environment).await;
    let problems = report(&stack).await["problems"].clone();
    assert_eq!(problems[0]["code"], "s3_unavailable", "{problems}");
    assert_eq!(listed(&stack).await, 1);
    stack.stack.aws.faults().set(Service::S3, None);
    round(environment).await;
    assert_eq!(
        (listed(&stack).await, &report(&stack).await["problems"]),
        (2, &json!([]))
    );
}

#[tokio::test]
async fn an_outage_of_twilio_is_reported_and_its_recordings_are_indexed_later() {
    let stack = TestStack::empty().await;
    stack.put_object(&key("15103455686"), b"sound");
    stack.stack.twilio.add(twilio_recording('a'));
    let down = Fault::Status {
        status: 500,
        retry_after: None,
        body: None,
    };
    stack.stack.twilio.fault("Recordings.json", down, None);
    let environment = &stack.stack.environment;
    round(environment).await;
    let problem = report(&stack).await["problems"][0].clone();
    assert_eq!(problem["code"], "twilio_unavailable", "{problem}");
    assert_eq!(listed(&stack).await, 1);
    stack.stack.twilio.clear_faults();
    round(environment).await;
    assert_eq!(report(&stack).await["problems"], json!([]));
    assert_eq!(listed(&stack).await, 2);
}

#[tokio::test]
async fn a_recording_of_a_lost_callback_is_transcribed_but_old_recordings_are_not() {
    let stack = TestStack::with_environment([("AUTO_TRANSCRIBE", "true")]).await;
    let queued = || stack.stack.aws.calls_of(Service::Sqs, "SendMessage");
    let environment = &stack.stack.environment;
    for recording in demo::twilio_recordings(demo::DOCUMENTED_TIME) {
        stack.stack.twilio.add(recording);
    }
    round(environment).await;
    assert_eq!(queued(), 0);
    stack.stack.twilio.add(twilio_recording('a'));
    stack.stack.twilio.add(Recording {
        status: "in-progress".into(),
        ..twilio_recording('b')
    });
    // The worker also sends a lease check for each job.
    round(environment).await;
    let answer = stack
        .get(&format!("/api/twilio/transcript/{}", twilio_recording('a').sid))
        .await;
    assert_ne!(answer.body["code"], "transcript_not_found", "{}", answer.body);
    let other = format!("/api/twilio/transcript/{}", twilio_recording('b').sid);
    assert_eq!(stack.get(&other).await.body["code"], "transcript_not_found");
}

#[tokio::test]
async fn a_file_that_was_deleted_without_an_event_is_removed_from_the_list() {
    let stack = TestStack::empty().await;
    let in_no_folder = format!("egress-recordings/{}", key("14155550123").rsplit('/').next().unwrap());
    for key in [&key("15103455686"), &in_no_folder] {
        stack.put_object(key, b"sound");
    }
    let environment = &stack.stack.environment;
    round(environment).await;
    assert_eq!(
        (listed(&stack).await, &report(&stack).await["rows_repaired"]),
        (2, &json!(0))
    );
    stack.remove_object(&in_no_folder);
    round(environment).await;
    assert_eq!(
        (listed(&stack).await, &report(&stack).await["rows_repaired"]),
        (1, &json!(1))
    );
}

#[tokio::test]
async fn a_call_that_may_be_in_progress_is_not_reported_as_missing() {
    let stack = TestStack::empty().await;
    let now = Timestamp::now().as_second();
    for (ago, phone) in [(60, "15103455686"), (5 * 3600, "14155550123")] {
        let id = format!("dispatch_{}_{phone}", now - ago);
        stack.post("/interactions", &json!({"dispatch_id": id})).await;
    }
    round(&stack.stack.environment).await;
    let report = report(&stack).await;
    assert_eq!(
        (&report["in_progress"], &report["calls_without_recording"]["total"]),
        (&json!(1), &json!(1))
    );
}
