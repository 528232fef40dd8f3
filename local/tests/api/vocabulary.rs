//! The deployment's prompt: names and products for every transcript.

use local::demo;
use serde_json::json;
use shared::{calls::TwilioRecording, config::ConfigError, ids::DispatchId};

use crate::stack::TestStack;

const CALL: &str = "/recordings/dispatch_1754653479_15103455686/transcript";
const PROMPT: &str = "Acme, Wonderwall, {customer_name}";

async fn with_prompt(prompt: &str) -> TestStack {
    TestStack::with(|settings| {
        settings.empty = false;
        settings
            .environment
            .push(("TRANSCRIPTION_PROMPT".into(), prompt.into()));
    })
    .await
}

/// The prompts that the transcription API got.
fn prompts(stack: &TestStack) -> Vec<Option<String>> {
    let prompt = |fields: &[(String, String)]| Some(fields.iter().find(|(name, _)| name == "prompt")?.1.clone());
    stack
        .stack
        .whisper
        .requests()
        .iter()
        .map(|upload| prompt(&upload.fields))
        .collect()
}

#[tokio::test]
async fn the_prompt_contains_the_customers_name_and_is_paid_for_once() {
    let stack = with_prompt(PROMPT).await;
    let first = stack.post(CALL, &json!({})).await;
    assert_eq!((first.status.as_u16(), &first.body["cached"]), (200, &json!(false)));
    assert_eq!(prompts(&stack), [Some("Acme, Wonderwall, Louis Smith".into())]);
    // The customer is renamed: the recording is the same, and so is its transcript.
    let rename = json!({"dispatch_id": "dispatch_1754653479_15103455686", "customer_name": "L. Smith"});
    assert_eq!(stack.post("/interactions", &rename).await.status, 200);
    assert_eq!(stack.post(CALL, &json!({})).await.body["cached"], true);
    assert_eq!(stack.get(CALL).await.body["transcript"], first.body["transcript"]);
    let listed = stack.get("/recordings?interaction_id=test_interaction_louis_001").await;
    assert_eq!(listed.body["recordings"][0]["has_transcript"], true);
    assert_eq!(prompts(&stack).len(), 1);
}

#[tokio::test]
async fn a_requests_own_prompt_wins_and_is_a_transcript_of_its_own() {
    let stack = with_prompt(PROMPT).await;
    let own = json!({"prompt": "Contoso for {customer_name}"});
    assert_eq!(stack.post(CALL, &own).await.status, 200);
    assert_eq!(prompts(&stack), [Some("Contoso for Louis Smith".into())]);
    stack.get(CALL).await.recordings_error(404, "transcript_not_found");
    assert_eq!(stack.post(CALL, &json!({})).await.body["cached"], false);
    assert_eq!(stack.post(CALL, &own).await.body["cached"], true);
    assert_eq!(prompts(&stack).len(), 2);
}

#[tokio::test]
async fn a_transcript_from_before_the_prompt_is_still_found() {
    let stack = with_prompt("").await;
    let before = stack.post(CALL, &json!({})).await;
    assert_eq!(prompts(&stack), [None]);
    // The same state with a prompt, as after a deploy.
    let mut variables: Vec<(String, String)> = vec![("TRANSCRIPTION_PROMPT".into(), PROMPT.into())];
    for name in [
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "AUDIT_TABLE",
        "CALLS_TABLE",
        "LIFECYCLE_TABLE",
        "TRANSCRIPTS_TABLE",
        "RECORDINGS_BUCKET",
        "RECORDINGS_AUTH",
        "API_KEYS_SECRET",
    ] {
        variables.push((name.into(), stack.stack.environment.required(name).unwrap().into()));
    }
    let env = variables.into_iter().collect();
    let state = get_egress_transcript::State::from_env(&env).await.unwrap();
    let event = include_str!("../../../events/get-egress-transcript.json");
    let request = lambda_http::request::from_str(event).unwrap();
    let answer = get_egress_transcript::handle(&state, request).await;
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body["transcript"], before.body["transcript"], "{body}");
}

#[tokio::test]
async fn a_twilio_recording_has_the_name_of_the_call_that_it_belongs_to() {
    let stack = with_prompt(PROMPT).await;
    let recording = demo::twilio_recordings(demo::DOCUMENTED_TIME).pop().unwrap();
    let body = json!({"recording_sid": recording.sid});
    let dry = stack
        .post(
            "/api/twilio/transcript/",
            &json!({"recording_sid": recording.sid, "dry_run": true}),
        )
        .await;
    assert_eq!(dry.body["cached"], false);
    let known = TwilioRecording {
        sid: recording.sid.clone(),
        ..TwilioRecording::default()
    };
    let dispatch = DispatchId::parse("dispatch_1754653479_15103455686").unwrap();
    let calls = stack.calls();
    let stored = calls.record_twilio_recording(&recording.call_sid, &known, None, Some(&dispatch));
    stored.await.unwrap();
    assert_eq!(stack.post("/api/twilio/transcript/", &body).await.status, 200);
    assert_eq!(prompts(&stack), [Some("Acme, Wonderwall, Louis Smith".into())]);
    let path = format!("/api/twilio/transcript/{}", recording.sid);
    assert_eq!(stack.get(&path).await.body["status"], "completed");
}

#[tokio::test]
async fn a_queued_job_has_the_prompt_and_a_name_that_is_not_known_leaves_nothing() {
    let stack = with_prompt("{customer_name}, Acme").await;
    let recording = demo::twilio_recordings(demo::DOCUMENTED_TIME).pop().unwrap();
    let queue = stack.request(reqwest::Method::POST, "/api/twilio/transcript/");
    let queue = queue
        .header("X-API-Key", demo::API_KEY)
        .header("Prefer", "respond-async");
    let queued = crate::stack::answer(queue.json(&json!({"recording_sid": recording.sid}))).await;
    assert_eq!(queued.status, 202, "{}", queued.body);
    stack.stack.whisper.wait_for_calls(1).await;
    assert_eq!(prompts(&stack), [Some("Acme".into())]);
    let status_url = queued.body["status_url"].as_str().unwrap();
    for _ in 0..200 {
        if stack.get(status_url).await.body["status"] == "completed" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the job did not finish");
}

#[tokio::test]
async fn a_prompt_that_can_not_be_filled_in_is_an_error_at_the_start() {
    let stack = TestStack::empty().await;
    let names = [
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "TRANSCRIPTS_TABLE",
        "CALLS_TABLE",
        "AUDIT_TABLE",
        "API_KEYS_SECRET",
    ];
    let given = names.map(|name| (name, stack.stack.environment.required(name).unwrap()));
    let env = given
        .into_iter()
        .chain([("TRANSCRIPTION_PROMPT", "Acme, {name}")])
        .collect();
    let error = get_egress_transcript::State::from_env(&env).await.err().unwrap();
    assert!(
        matches!(
            error,
            ConfigError::Invalid {
                name: "TRANSCRIPTION_PROMPT",
                ..
            }
        ),
        "{error}"
    );
}
