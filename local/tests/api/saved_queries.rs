//! The saved queries of `template.yaml` find the lines that the runbook promises, in the log groups that they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use local::{
    stack::{account::TWILIO_SECRET, functions::Functions},
    standins::whisper::Fault,
    template::{self, TEMPLATE},
};
use saphyr::{SafelyIndex, Yaml};
use serde_json::{Value, json};
use shared::metrics::Metrics;

use crate::{
    events::{EVENTS, transcribed_first},
    insights::{Query, field},
    logs,
    operations::{each, texts},
    stack::TestStack,
};

/// A saved query of the template.
pub(crate) struct Saved {
    pub(crate) title: String,
    groups: BTreeSet<String>,
    text: String,
}

/// All of them.
pub(crate) fn all() -> Vec<Saved> {
    let mut all = Vec::new();
    each("AWS::Logs::QueryDefinition", |_, resource| {
        let property = |name: &str| {
            let mut found = Vec::new();
            texts(resource.get("Properties").unwrap().get(name).unwrap(), &mut found);
            found
        };
        all.push(Saved {
            title: property("Name")[0].trim_start_matches("${AWS::StackName}/").to_owned(),
            groups: property("LogGroupNames").into_iter().collect(),
            text: property("QueryString").concat(),
        });
    });
    all
}

/// The log group of each function, by the folder of its crate.
fn group_of_each_function() -> BTreeMap<String, String> {
    let mut groups = BTreeMap::new();
    each("AWS::Serverless::Function", |_, resource| {
        let properties = resource.get("Properties").unwrap();
        let folder = properties.get("CodeUri").and_then(Yaml::as_str).unwrap();
        let mut group = Vec::new();
        texts(properties.get("LoggingConfig").unwrap(), &mut group);
        let folder = folder.trim_start_matches("functions/").trim_end_matches('/');
        groups.insert(folder.to_owned(), group[0].clone());
    });
    groups
}

/// A line of the gateway in the format of the template.
fn access_log_line(values: &[(&str, &str)]) -> Value {
    let format = TEMPLATE.split("Format: >-").nth(1).unwrap().lines().nth(1).unwrap();
    let mut line: Value = serde_json::from_str(format).unwrap();
    for value in line.as_object_mut().unwrap().values_mut() {
        let name = value.as_str().unwrap().trim_start_matches("$context.");
        let given = values.iter().find(|(variable, _)| *variable == name);
        *value = given.map_or("-", |(_, value)| value).into();
    }
    line
}

/// Lambda's own line about the end of a run, with `LogFormat: JSON`.
fn report(request_id: &str, status: &str) -> Value {
    let metrics = json!({"durationMs": 28000.0, "billedDurationMs": 28000, "memorySizeMB": 256, "maxMemoryUsedMB": 20});
    json!({
        "time": "2026-07-09T06:05:50.581Z",
        "type": "platform.report",
        "record": {"requestId": request_id, "metrics": metrics, "status": status},
    })
}

#[test]
fn a_query_about_functions_names_the_log_groups_of_all_of_them() {
    let groups = group_of_each_function();
    let all_functions: BTreeSet<String> = groups.values().cloned().collect();
    let sources = template::queues(TEMPLATE).unwrap();
    let of_queues: BTreeSet<String> = sources.iter().map(|source| groups[&source.function].clone()).collect();
    let few = |names: &[&str]| names.iter().map(|name| groups[*name].clone()).collect::<BTreeSet<_>>();
    let gateway = BTreeSet::from(["AccessLog".to_owned()]);
    for query in all() {
        let expected = match query.title.as_str() {
            "one request" => &all_functions | &gateway,
            "refused by the gateway" => gateway.clone(),
            "messages delivered again" => of_queues.clone(),
            "rounds of the reconciler" => few(&["reconcile-recordings"]),
            "costs of transcription" => few(&["transcribe-recording", "transcribe-egress", "transcription-worker"]),
            "life of a job" => few(&[
                "transcribe-recording",
                "transcribe-egress",
                "twilio-callback",
                "reconcile-recordings",
                "transcription-worker",
            ]),
            _ => all_functions.clone(),
        };
        assert_eq!(query.groups, expected, "{}", query.title);
        // More can't be queried at once.
        assert!(query.groups.len() <= 50);
    }
}

/// Runs functions and keeps their lines with the log groups that they are in.
struct Runs {
    stack: TestStack,
    groups: BTreeMap<String, String>,
    lines: Vec<(String, Value)>,
}

impl Runs {
    fn deadline() -> SystemTime {
        SystemTime::now() + Duration::from_secs(900)
    }

    /// A new environment of each function.
    async fn functions(&self) -> Functions {
        Functions::from_env(&self.stack.stack.environment).await.unwrap()
    }

    /// Keeps the new lines of a function that are `of_run`. The stack's own functions write lines in the meantime.
    fn keep(&mut self, function: &str, of_run: impl Fn(&Value) -> bool) -> usize {
        let lines: Vec<Value> = logs::kept_lines().into_iter().filter(of_run).collect();
        let count = lines.len();
        let group = &self.groups[function];
        self.lines.extend(lines.into_iter().map(|line| (group.clone(), line)));
        count
    }

    /// Sends a function a request with this id.
    async fn invoke(&mut self, functions: &Functions, function: &str, mut event: Value, id: &str) {
        event["requestContext"]["requestId"] = id.into();
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        functions.invoke(function, request).await.unwrap();
        let has_id = |line: &Value| field(line, "span.request_id").as_deref() == Some(id);
        assert!(self.keep(function, has_id) > 0, "{function}");
    }

    /// Delivers a message with this id, which its lines have if there is none in its body.
    async fn deliver(&mut self, functions: &Functions, function: &str, body: &str, id: &str) {
        let event = json!({"Records": [{"messageId": id, "body": body}]});
        let done = functions.deliver(function, event, Self::deadline()).await;
        done.unwrap().unwrap();
        let has_id = |line: &Value| field(line, "span.request_id").as_deref() == Some(id);
        assert!(self.keep(function, has_id) > 0, "{function}");
    }

    fn add(&mut self, group: &str, line: Value) {
        self.lines.push((group.to_owned(), line));
    }
}

#[tokio::test]
async fn every_saved_query_finds_what_it_is_for_and_shows_fields_that_the_lines_have() {
    logs::keep_lines();
    let figures = Arc::new(Mutex::new(Vec::<String>::new()));
    let written = figures.clone();
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        let write = move |line: &str| written.lock().unwrap().push(line.to_owned());
        settings.metrics = Some(Metrics::new("call-recordings/test", write));
    })
    .await;
    let mut runs = Runs {
        stack,
        groups: group_of_each_function(),
        lines: Vec::new(),
    };
    let functions = runs.functions().await;

    // The worker transcribes first, and then each function its example.
    let job = EVENTS.iter().find(|(function, _)| *function == "transcription-worker");
    let job: Value = serde_json::from_str(job.unwrap().1).unwrap();
    let body = job["Records"][0]["body"].as_str().unwrap();
    let worker = "transcription-worker";
    runs.deliver(&functions, worker, body, "request-that-queued-a-job")
        .await;
    let overloaded = Fault::Status {
        status: 503,
        headers: vec![("retry-after-ms".into(), "0".into())],
        body: String::new(),
    };
    for (function, event, _) in transcribed_first() {
        let mut event: Value = serde_json::from_str(event).unwrap();
        if function == "transcribe-recording" {
            runs.stack.stack.whisper.fault(overloaded.clone(), Some(1));
            event["body"] = r#"{"recording_sid": "RE1234567890abcdef", "force": true}"#.into();
        }
        let id = format!("request-of-{function}");
        runs.invoke(&functions, function, event, &id).await;
    }
    let done = functions
        .deliver("reconcile-recordings", json!({}), Runs::deadline())
        .await;
    done.unwrap().unwrap();
    let is_round = |line: &Value| field(line, "fields.message").as_deref() == Some("round finished");
    assert_eq!(runs.keep("reconcile-recordings", is_round), 1);

    // What fails: messages, a request, and runs that Lambda ends.
    let sources = template::queues(TEMPLATE).unwrap();
    for source in &sources {
        runs.deliver(&functions, &source.function, "broken", "request-of-a-broken-message")
            .await;
    }
    runs.stack.put_secret(TWILIO_SECRET, "broken").await;
    let functions = runs.functions().await;
    let listed = include_str!("../../../events/list-twilio-recordings.json");
    let event = serde_json::from_str(listed).unwrap();
    runs.invoke(&functions, "list-twilio-recordings", event, "request-that-failed")
        .await;
    let transcribed = include_str!("../../../events/transcribe-recording.json");
    let mut event: Value = serde_json::from_str(transcribed).unwrap();
    event["body"] = r#"{"recording_sid": "RE00000000000000000000000000000000"}"#.into();
    runs.invoke(&functions, "transcribe-recording", event, "request-that-queued-a-job")
        .await;
    let done = functions
        .deliver("reconcile-recordings", json!({}), Runs::deadline())
        .await;
    done.unwrap().unwrap();
    let is_problem =
        |line: &Value| field(line, "fields.message").as_deref() == Some("Twilio's recordings could not be listed");
    assert!(runs.keep("reconcile-recordings", is_problem) > 0);
    runs.add("GetRecordingLog", report("run-that-took-too-long", "timeout"));
    runs.add("GetRecordingLog", report("run-that-was-good", "success"));
    let panicked = json!({
        "level": "ERROR",
        "fields": {"message": "user handler panicked"},
        "span": {"requestId": "run-that-panicked", "name": "Lambda runtime invoke"},
    });
    runs.add("GetAuditLog", panicked);
    let (late, refused, limited) = (
        [
            ("requestId", "request-that-was-late"),
            ("status", "503"),
            ("integrationStatus", "200"),
            ("awsEndpointRequestId", "run-that-took-too-long"),
        ],
        [("requestId", "request-refused"), ("status", "429")],
        [
            ("requestId", "request-limited-by-a-function"),
            ("status", "429"),
            ("integrationStatus", "200"),
        ],
    );
    for values in [&late[..], &refused[..], &limited[..]] {
        runs.add("AccessLog", access_log_line(values));
    }
    // A request over HTTP, with the line of its metrics.
    let answer = runs.stack.get("/recordings").await;
    let of_http = answer.headers["apigw-requestid"].to_str().unwrap().to_owned();
    let of_request = |line: &Value| field(line, "span.request_id").as_deref() == Some(&of_http);
    runs.keep("list-recordings", of_request);
    let line = figures.lock().unwrap().last().unwrap().clone();
    runs.add("ListRecordingsLog", serde_json::from_str(&line).unwrap());

    let key_id = runs.lines.iter().find_map(|(_, line)| field(line, "fields.key_id"));
    let found = |query: &Saved, id: &str| -> Vec<&Value> {
        let text = query.text.replace("REQUEST_ID", id);
        let parsed = Query::parse(&text.replace("KEY_ID", key_id.as_deref().unwrap()));
        let lines = runs.lines.iter().filter(|(group, _)| query.groups.contains(group));
        lines.map(|(_, line)| line).filter(|line| parsed.finds(line)).collect()
    };
    let ids = [
        &of_http,
        "request-that-queued-a-job",
        "request-of-a-broken-message",
        "request-that-failed",
        "run-that-took-too-long",
        "run-that-panicked",
    ];
    let mut missing = Vec::new();
    for query in all() {
        let lines: Vec<&Value> = ids.iter().flat_map(|id| found(&query, id)).collect();
        let fields = Query::parse(&query.text).fields();
        let is_missing = |name: &String| !lines.iter().any(|line| field(line, name).is_some());
        let names = fields.into_iter().filter(is_missing);
        missing.extend(names.map(|name| format!("{}: no line that it finds has {name}", query.title)));
    }
    assert!(missing.is_empty(), "{missing:#?}");

    let saved = all();
    let texts_of = |title: &str, id: &str, name: &str| -> BTreeSet<String> {
        let query = saved.iter().find(|query| query.title == title).unwrap();
        let lines = found(query, id);
        lines.into_iter().filter_map(|line| field(line, name)).collect()
    };
    let failed = texts_of("failed requests", "", "span.request_id");
    assert!(failed.contains("request-that-failed") && !failed.contains("request-of-list-recordings"));
    let ended = texts_of("failed requests", "", "record.requestId");
    assert_eq!(Vec::from_iter(ended), ["run-that-took-too-long"]);
    assert!(texts_of("failed requests", "", "span.requestId").contains("run-that-panicked"));

    // The gateway's line leads to Lambda's, which does not have the request's id.
    let run = texts_of("one request", "request-that-was-late", "lambdaRequestId");
    assert_eq!(Vec::from_iter(run), ["run-that-took-too-long"]);
    let status = texts_of("one request", "run-that-took-too-long", "record.status");
    assert_eq!(Vec::from_iter(status), ["timeout"]);
    assert!(!texts_of("one request", &of_http, "Requests").is_empty(), "its metrics");
    assert!(!texts_of("one request", "run-that-panicked", "span.requestId").is_empty());

    let refused = texts_of("refused by the gateway", "", "requestId");
    assert_eq!(Vec::from_iter(refused), ["request-refused"]);
    let attempts = texts_of("upstream errors", "", "span.request_id");
    assert!(attempts.contains("request-of-transcribe-recording"));
    let again = saved
        .iter()
        .find(|query| query.title == "messages delivered again")
        .unwrap();
    let functions: BTreeSet<&String> = sources.iter().map(|source| &source.function).collect();
    assert_eq!(found(again, "").len(), functions.len());
    let costs = saved
        .iter()
        .find(|query| query.title == "costs of transcription")
        .unwrap();
    assert!(found(costs, "").len() >= costs.groups.len());
}
