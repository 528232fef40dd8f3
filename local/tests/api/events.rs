//! `events/`, and what each function gets to start with.

use std::collections::BTreeMap;

use local::{functions::Functions, gateway::TEMPLATE};
use saphyr::{LoadableYamlNode, SafelyIndex, Yaml};
use serde_json::Value;
use shared::config::Env;

use crate::stack::TestStack;

const EVENTS: [(&str, &str, &str); 4] = [
    (
        "get-recording",
        include_str!("../../../events/get-recording.json"),
        "recording_url",
    ),
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
        "transcribe-recording",
        include_str!("../../../events/transcribe-recording.json"),
        "transcript",
    ),
];

#[tokio::test]
async fn every_event_is_answered_by_its_function() {
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
    })
    .await;
    let functions = Functions::from_env(&stack.stack.environment).await.unwrap();
    for (function, event, field) in EVENTS {
        let request = lambda_http::request::from_str(event).unwrap();
        let response = functions.invoke(function, request).await.unwrap();
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(response.status(), 200, "{function}: {body}");
        assert!(!body[field].is_null(), "{function}: {body}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}

#[test]
fn there_is_an_event_for_every_function() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, EVENTS.map(|(function, ..)| format!("{function}.json")));
    assert_eq!(files.len(), template_variables().len());
}

/// The variables that template.yaml gives to each function, by the folder of its crate.
fn template_variables() -> BTreeMap<String, Vec<String>> {
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
async fn each_function_works_with_just_the_variables_that_the_template_gives_it() {
    let stack = TestStack::demo().await;
    for (function, event, _) in EVENTS {
        let mut names = template_variables().remove(function).unwrap();
        // Lambda's own.
        names.extend(
            [
                "AWS_REGION",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
            ]
            .map(str::to_owned),
        );
        let environment = &stack.stack.environment;
        let given = names
            .iter()
            .filter_map(|name| Some((name.as_str(), environment.optional(name)?)));
        let env = Env::from_iter(given);
        let request = lambda_http::request::from_str(event).unwrap();
        let response = match function {
            "get-recording" => {
                let state = get_recording::State::from_env(&env).await.unwrap();
                get_recording::handle(&state, request).await
            }
            "list-recordings" => {
                let state = list_recordings::State::from_env(&env).await.unwrap();
                list_recordings::handle(&state, request).await
            }
            "list-twilio-recordings" => {
                let state = list_twilio_recordings::State::from_env(&env).await.unwrap();
                list_twilio_recordings::handle(&state, request).await
            }
            "transcribe-recording" => {
                let state = transcribe_recording::State::from_env(&env).await.unwrap();
                transcribe_recording::handle(&state, request).await
            }
            other => panic!("{other} is not started by this test"),
        };
        assert_eq!(response.status(), 200, "{function}: {:?}", response.body());
    }
}

/// A change of the environment contract shows here: the template must declare it.
#[tokio::test]
async fn a_function_that_lacks_a_variable_says_which() {
    let stack = TestStack::empty().await;
    for (function, required) in [
        ("get-recording", "CALLS_TABLE"),
        ("list-recordings", "CALLS_TABLE"),
        ("list-twilio-recordings", "TWILIO_SECRET"),
        ("transcribe-recording", "TRANSCRIPTS_TABLE"),
    ] {
        assert!(template_variables()[function].iter().any(|name| name == required));
        let names = [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ENDPOINT_URL",
        ];
        let all = template_variables().remove(function).unwrap();
        let names = all
            .iter()
            .map(String::as_str)
            .filter(|name| *name != required)
            .chain(names);
        let environment = &stack.stack.environment;
        let env = Env::from_iter(names.filter_map(|name| Some((name, environment.optional(name)?))));
        let error = match function {
            "get-recording" => get_recording::State::from_env(&env).await.err(),
            "list-recordings" => list_recordings::State::from_env(&env).await.err(),
            "list-twilio-recordings" => list_twilio_recordings::State::from_env(&env).await.err(),
            _ => transcribe_recording::State::from_env(&env).await.err(),
        };
        let error = error.map(|error| error.to_string());
        assert_eq!(
            error,
            Some(format!("the environment variable {required} is required")),
            "{function}"
        );
    }
}
