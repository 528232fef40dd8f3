//! The example events in `events/`, and the environment variables of each function.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use local::{stack::functions::Functions, template::TEMPLATE};
use saphyr::{LoadableYamlNode, SafelyIndex, Yaml};
use serde_json::{Value, json};
use shared::config::Env;

use crate::{logs::invoked, stack::TestStack};

/// Function, event, and a string that its response contains.
pub(crate) const REQUESTS: [(&str, &str, &str); 23] = [
    ("get-audit", include_str!("../../../events/get-audit.json"), "items"),
    ("get-queues", include_str!("../../../events/get-queues.json"), "queues"),
    (
        "console",
        include_str!("../../../events/console.json"),
        "<div id=\"app\">",
    ),
    (
        "draw-waveform",
        include_str!("../../../events/draw-waveform.json"),
        "channels",
    ),
    (
        "get-completeness",
        include_str!("../../../events/get-completeness.json"),
        "to",
    ),
    (
        "get-daily-report",
        include_str!("../../../events/get-daily-report.json"),
        "days",
    ),
    ("get-docs", include_str!("../../../events/get-docs.json"), "openapi"),
    (
        "get-egress-transcript",
        include_str!("../../../events/get-egress-transcript.json"),
        "transcript",
    ),
    (
        "get-recording",
        include_str!("../../../events/get-recording.json"),
        "recording_url",
    ),
    (
        "get-transcript",
        include_str!("../../../events/get-transcript.json"),
        "transcript",
    ),
    ("get-usage", include_str!("../../../events/get-usage.json"), "cost_usd"),
    (
        "list-recordings",
        include_str!("../../../events/list-recordings.json"),
        "recordings",
    ),
    (
        "list-twilio-recordings",
        include_str!("../../../events/list-twilio-recordings.json"),
        "recordings",
    ),
    (
        "livekit-webhook",
        include_str!("../../../events/livekit-webhook.json"),
        "indexed",
    ),
    (
        "open-share",
        include_str!("../../../events/open-share.json"),
        "<audio controls",
    ),
    (
        "record-interaction",
        include_str!("../../../events/record-interaction.json"),
        "interaction_id",
    ),
    (
        "hold-recording",
        include_str!("../../../events/hold-recording.json"),
        "hold",
    ),
    (
        "request-erasure",
        include_str!("../../../events/request-erasure.json"),
        "erases",
    ),
    (
        "request-archive",
        include_str!("../../../events/request-archive.json"),
        "archived",
    ),
    (
        "share-recording",
        include_str!("../../../events/share-recording.json"),
        "url",
    ),
    (
        "transcribe-egress",
        include_str!("../../../events/transcribe-egress.json"),
        "transcript",
    ),
    (
        "transcribe-recording",
        include_str!("../../../events/transcribe-recording.json"),
        "transcript",
    ),
    (
        "twilio-callback",
        include_str!("../../../events/twilio-callback.json"),
        "indexed",
    ),
];
/// Functions for events from queues, rules and schedules.
pub(crate) const EVENTS: [(&str, &str); 6] = [
    ("index-recording", include_str!("../../../events/index-recording.json")),
    (
        "index-interaction",
        include_str!("../../../events/index-interaction.json"),
    ),
    (
        "reconcile-recordings",
        include_str!("../../../events/reconcile-recordings.json"),
    ),
    (WORKER, JOB),
    (
        "archive-recording",
        include_str!("../../../events/archive-recording.json"),
    ),
    ("erase-recording", include_str!("../../../events/erase-recording.json")),
];
const WORKER: &str = "transcription-worker";
const JOB: &str = include_str!("../../../events/transcription-worker.json");

/// The requests, with those that transcribe first, so that there are transcripts to get.
pub(crate) fn transcribed_first() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let is_first = |(function, ..): &(&str, &str, &str)| function.starts_with("transcribe");
    let rest = REQUESTS.into_iter().filter(move |request| !is_first(request));
    REQUESTS.into_iter().filter(is_first).chain(rest)
}

fn in_a_quarter_of_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(900)
}

#[tokio::test]
async fn every_example_event_is_processed_by_its_function() {
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
    })
    .await;
    process_every_example_event(&stack).await;
}

/// Processes each event with its function and checks the response.
pub(crate) async fn process_every_example_event(stack: &TestStack) {
    let functions = Functions::from_env(&stack.stack.environment).await.unwrap();
    // First, so that a transcript and a report exist for the requests.
    for ((function, event), answer) in EVENTS.iter().zip([
        json!({"batchItemFailures": []}),
        json!({"batchItemFailures": []}),
        json!({"finished": true}),
        json!({"batchItemFailures": []}),
        json!({"batchItemFailures": []}),
        json!({"batchItemFailures": []}),
    ]) {
        let event = serde_json::from_str(event).unwrap();
        let done = functions.deliver(function, event, in_a_quarter_of_an_hour()).await;
        assert_eq!(done.unwrap().unwrap(), answer, "{function}");
    }
    for (function, event, field) in transcribed_first() {
        let request = lambda_http::request::from_str(event).unwrap();
        let response = functions.invoke(function, request).await.unwrap();
        let body = std::str::from_utf8(response.body()).unwrap();
        assert!(response.status().is_success(), "{function}: {body}");
        if matches!(function, "console" | "open-share") {
            assert!(body.contains(field), "{body}");
            assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        } else {
            let json: Value = serde_json::from_str(body).unwrap();
            assert!(!json[field].is_null(), "{function}: {body}");
            assert_eq!(response.headers()["content-type"], "application/json");
        }
        let may_be_stored = function == "get-docs";
        assert_eq!(response.headers()["cache-control"] != "no-store", may_be_stored);
    }
}

#[test]
fn every_function_has_an_example_event() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut functions: Vec<&str> = REQUESTS.iter().map(|(function, ..)| *function).collect();
    functions.extend(EVENTS.map(|(function, _)| function));
    functions.sort_unstable();
    assert!(functions.iter().eq(template_variables().keys()));
    let expected: Vec<String> = functions.iter().map(|function| format!("{function}.json")).collect();
    assert_eq!(files, expected);
}

/// The variables that template.yaml gives to each function, by the folder of its crate.
pub(crate) fn template_variables() -> BTreeMap<String, Vec<String>> {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    let template = &documents[0];
    let names = |function: Option<&Yaml>| -> Vec<String> {
        let variables = function.and_then(|function| function.get("Environment")?.get("Variables"));
        let variables = variables.and_then(Yaml::as_mapping).into_iter().flatten();
        variables.map(|(name, _)| name.as_str().unwrap().to_owned()).collect()
    };
    let global = names(template.get("Globals").and_then(|globals| globals.get("Function")));
    let resources = template.get("Resources").and_then(Yaml::as_mapping).unwrap();
    resources
        .iter()
        .filter(|(_, resource)| resource.get("Type").and_then(Yaml::as_str) == Some("AWS::Serverless::Function"))
        .map(|(_, resource)| {
            let properties = resource.get("Properties");
            let folder = properties
                .and_then(|properties| properties.get("CodeUri")?.as_str())
                .unwrap();
            let function = folder.trim_end_matches('/').rsplit('/').next().unwrap();
            let mut own = names(properties);
            own.extend(global.clone());
            (function.to_owned(), own)
        })
        .collect()
}

#[tokio::test]
async fn sam_local_has_a_value_for_each_variable_that_the_local_stack_sets() {
    let file: Value = serde_json::from_str(include_str!("../../sam-env.json")).unwrap();
    let given = file["Parameters"].as_object().unwrap();
    let stack = TestStack::empty().await;
    for (function, variables) in template_variables() {
        for variable in variables {
            let is_set = stack.stack.environment.optional(&variable).is_some();
            assert!(!is_set || given.contains_key(&variable), "{function}: {variable}");
        }
    }
}

/// The environment of `function`: the variables of the template for which the stack has a value, and Lambda's own variables.
fn given(function: &str, stack: &TestStack) -> Vec<(String, String)> {
    let mut names = template_variables().remove(function).unwrap();
    let lambda = [
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    names.extend(lambda.map(str::to_owned));
    let value = |name: &str| Some(stack.stack.environment.optional(name)?.to_owned());
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), value(&name)?)))
        .collect()
}

#[tokio::test]
async fn each_function_works_with_only_its_variables_from_the_template() {
    let stack = TestStack::demo().await;
    let env = Env::from_iter(given(WORKER, &stack));
    let worker = transcription_worker::State::from_env(&env).await.unwrap();
    let job = serde_json::from_str(JOB).unwrap();
    let done = invoked(transcription_worker::handle(&worker, job, in_a_quarter_of_an_hour())).await;
    assert_eq!(serde_json::to_value(done).unwrap(), json!({"batchItemFailures": []}));
    let env = Env::from_iter(given("index-recording", &stack));
    let index = index_recording::State::from_env(&env).await.unwrap();
    let batch = serde_json::from_str(EVENTS[0].1).unwrap();
    let done = invoked(index_recording::handle(&index, batch, in_a_quarter_of_an_hour())).await;
    assert_eq!(serde_json::to_value(done).unwrap(), json!({"batchItemFailures": []}));
    let env = Env::from_iter(given("reconcile-recordings", &stack));
    let reconcile = reconcile_recordings::State::from_env(&env).await.unwrap();
    let done = invoked(reconcile_recordings::handle(&reconcile, in_a_quarter_of_an_hour())).await;
    assert!(done.unwrap().finished);
    let env = Env::from_iter(given("archive-recording", &stack));
    let archive = archive_recording::State::from_env(&env).await.unwrap();
    let batch = serde_json::from_str(EVENTS[4].1).unwrap();
    let done = invoked(archive_recording::handle(&archive, batch, in_a_quarter_of_an_hour())).await;
    assert_eq!(serde_json::to_value(done).unwrap(), json!({"batchItemFailures": []}));
    let env = Env::from_iter(given("erase-recording", &stack));
    let erase = erase_recording::State::from_env(&env).await.unwrap();
    let batch = serde_json::from_str(EVENTS[5].1).unwrap();
    let done = invoked(erase_recording::handle(&erase, batch, in_a_quarter_of_an_hour())).await;
    assert_eq!(serde_json::to_value(done).unwrap(), json!({"batchItemFailures": []}));
    for (function, event, _) in transcribed_first() {
        let env = Env::from_iter(given(function, &stack));
        let request = lambda_http::request::from_str(event).unwrap();
        let response = match function {
            "console" => {
                let state = console::State::from_env(&env).await.unwrap();
                console::handle(&state, request).await
            }
            "draw-waveform" => {
                let state = draw_waveform::State::from_env(&env).await.unwrap();
                draw_waveform::handle(&state, request).await
            }
            "get-docs" => {
                let state = get_docs::State::from_env(&env).await.unwrap();
                get_docs::handle(&state, request).await
            }
            "get-egress-transcript" => {
                let state = get_egress_transcript::State::from_env(&env).await.unwrap();
                get_egress_transcript::handle(&state, request).await
            }
            "get-queues" => {
                let state = get_queues::State::from_env(&env).await.unwrap();
                get_queues::handle(&state, request).await
            }
            "get-recording" => {
                let state = get_recording::State::from_env(&env).await.unwrap();
                get_recording::handle(&state, request).await
            }
            "get-transcript" => {
                let state = get_transcript::State::from_env(&env).await.unwrap();
                get_transcript::handle(&state, request).await
            }
            "get-usage" => {
                let state = get_usage::State::from_env(&env).await.unwrap();
                get_usage::handle(&state, request).await
            }
            "list-recordings" => {
                let state = list_recordings::State::from_env(&env).await.unwrap();
                list_recordings::handle(&state, request).await
            }
            "list-twilio-recordings" => {
                let state = list_twilio_recordings::State::from_env(&env).await.unwrap();
                list_twilio_recordings::handle(&state, request).await
            }
            "transcribe-egress" => {
                let state = transcribe_egress::State::from_env(&env).await.unwrap();
                transcribe_egress::handle(&state, request).await
            }
            "transcribe-recording" => {
                let state = transcribe_recording::State::from_env(&env).await.unwrap();
                transcribe_recording::handle(&state, request).await
            }
            "get-audit" => {
                let state = get_audit::State::from_env(&env).await.unwrap();
                get_audit::handle(&state, request).await
            }
            "get-completeness" => {
                let state = get_completeness::State::from_env(&env).await.unwrap();
                get_completeness::handle(&state, request).await
            }
            "get-daily-report" => {
                let state = get_daily_report::State::from_env(&env).await.unwrap();
                get_daily_report::handle(&state, request).await
            }
            "livekit-webhook" => {
                let state = livekit_webhook::State::from_env(&env).await.unwrap();
                livekit_webhook::handle(&state, request).await
            }
            "record-interaction" => {
                let state = record_interaction::State::from_env(&env).await.unwrap();
                record_interaction::handle(&state, request).await
            }
            "open-share" => {
                let state = open_share::State::from_env(&env).await.unwrap();
                open_share::handle(&state, request).await
            }
            "hold-recording" => {
                let state = hold_recording::State::from_env(&env).await.unwrap();
                hold_recording::handle(&state, request).await
            }
            "request-erasure" => {
                let state = request_erasure::State::from_env(&env).await.unwrap();
                request_erasure::handle(&state, request).await
            }
            "request-archive" => {
                let state = request_archive::State::from_env(&env).await.unwrap();
                request_archive::handle(&state, request).await
            }
            "share-recording" => {
                let state = share_recording::State::from_env(&env).await.unwrap();
                share_recording::handle(&state, request).await
            }
            "twilio-callback" => {
                let state = twilio_callback::State::from_env(&env).await.unwrap();
                twilio_callback::handle(&state, request).await
            }
            other => panic!("{other} is not known to this test"),
        };
        assert!(response.status().is_success(), "{function}: {:?}", response.body());
    }
}

#[tokio::test]
async fn a_function_without_a_required_variable_names_it() {
    let stack = TestStack::empty().await;
    for (function, required) in [
        ("get-egress-transcript", "TRANSCRIPTS_TABLE"),
        ("get-recording", "CALLS_TABLE"),
        ("get-transcript", "TRANSCRIPTS_TABLE"),
        ("get-usage", "TRANSCRIPTS_TABLE"),
        ("list-recordings", "CALLS_TABLE"),
        ("list-twilio-recordings", "TWILIO_SECRET"),
        ("transcribe-egress", "WHISPER_SECRET"),
        ("transcribe-recording", "TRANSCRIPTS_TABLE"),
        ("transcription-worker", "WHISPER_SECRET"),
        ("index-recording", "RECORDINGS_BUCKET"),
        ("livekit-webhook", "LIVEKIT_SECRET"),
        ("reconcile-recordings", "CALLS_TABLE"),
        ("open-share", "SHARES_TABLE"),
        ("archive-recording", "ARCHIVE_QUEUE_URL"),
        ("request-archive", "LIFECYCLE_TABLE"),
        ("erase-recording", "RECEIPT_SECRET"),
        ("hold-recording", "API_KEYS_SECRET"),
        ("request-erasure", "ERASURE_QUEUE_URL"),
        ("record-interaction", "API_KEYS_SECRET"),
        ("share-recording", "SHARES_TABLE"),
        ("twilio-callback", "TWILIO_SECRET"),
        ("get-audit", "AUDIT_TABLE"),
        ("get-completeness", "CALLS_TABLE"),
        ("get-daily-report", "CALLS_TABLE"),
    ] {
        let mut variables = given(function, &stack);
        variables.retain(|(name, _)| name != required);
        let env = Env::from_iter(variables);
        let error = match function {
            "get-egress-transcript" => get_egress_transcript::State::from_env(&env).await.err(),
            "get-recording" => get_recording::State::from_env(&env).await.err(),
            "get-transcript" => get_transcript::State::from_env(&env).await.err(),
            "get-usage" => get_usage::State::from_env(&env).await.err(),
            "list-recordings" => list_recordings::State::from_env(&env).await.err(),
            "list-twilio-recordings" => list_twilio_recordings::State::from_env(&env).await.err(),
            "transcribe-egress" => transcribe_egress::State::from_env(&env).await.err(),
            "transcribe-recording" => transcribe_recording::State::from_env(&env).await.err(),
            "index-recording" => index_recording::State::from_env(&env).await.err(),
            "livekit-webhook" => livekit_webhook::State::from_env(&env).await.err(),
            "reconcile-recordings" => reconcile_recordings::State::from_env(&env).await.err(),
            "index-interaction" => index_interaction::State::from_env(&env).await.err(),
            "open-share" => open_share::State::from_env(&env).await.err(),
            "archive-recording" => archive_recording::State::from_env(&env).await.err(),
            "request-archive" => request_archive::State::from_env(&env).await.err(),
            "erase-recording" => erase_recording::State::from_env(&env).await.err(),
            "hold-recording" => hold_recording::State::from_env(&env).await.err(),
            "request-erasure" => request_erasure::State::from_env(&env).await.err(),
            "record-interaction" => record_interaction::State::from_env(&env).await.err(),
            "share-recording" => share_recording::State::from_env(&env).await.err(),
            "twilio-callback" => twilio_callback::State::from_env(&env).await.err(),
            "get-audit" => get_audit::State::from_env(&env).await.err(),
            "get-completeness" => get_completeness::State::from_env(&env).await.err(),
            "get-daily-report" => get_daily_report::State::from_env(&env).await.err(),
            _ => transcription_worker::State::from_env(&env).await.err(),
        };
        let error = error.map(|error| error.to_string());
        let named = format!("the environment variable {required} is required");
        assert_eq!(error, Some(named), "{function}");
    }
}
