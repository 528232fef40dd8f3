//! Functions in a process of their own, as Lambda runs them: what they answer to the Runtime API, and every line that they write.

use std::{
    collections::VecDeque,
    convert::Infallible,
    env,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use shared::{
    batch::{self, Batch},
    http::{self, ApiError, ErrorFormat, Reply},
    panics::blocking,
};
use tokio::{io::AsyncReadExt, process::Command, sync::Notify};

use crate::{logs::PLANTED, stack::serve};

/// Is set in a process that a test has started: there it is the function.
const IS_FUNCTION: &str = "TEST_IS_FUNCTION";

fn is_function() -> bool {
    env::var_os(IS_FUNCTION).is_some()
}

/// A function for requests.
async fn serve_requests() {
    let served = http::serve(async |_: &_| Ok(()), |_, request| handle(request));
    served.await.unwrap();
}

/// A function for messages.
async fn serve_messages() {
    let served = http::serve_events(
        async |_: &_| Ok(()),
        async |_, event: Value, context| {
            assert!(event["Records"].is_array(), "{PLANTED}");
            let batch: Batch = serde_json::from_value(event).unwrap();
            let process = async |body: String| {
                assert_ne!(body, "panic", "{PLANTED}");
                Ok::<_, Infallible>(())
            };
            Ok::<_, Infallible>(batch::process(&batch, context.deadline(), process).await)
        },
    );
    served.await.unwrap();
}

async fn handle(request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        match request.path() {
            "/panic" => panic!("{PLANTED}"),
            "/blocking" => {
                let panicked = blocking::<(), _>(|| panic!("{PLANTED}")).await.unwrap_err();
                Err(ApiError::internal("internal_error", "Unexpected error occurred").caused_by(panicked))
            }
            _ => Ok(Reply::text("text/plain", "fine".to_owned())),
        }
    })
    .await
}

/// Lambda's Runtime API for some events.
#[derive(Clone)]
struct Api {
    events: Arc<Mutex<VecDeque<Value>>>,
    answers: Arc<Mutex<Vec<Value>>>,
    done: Arc<Notify>,
}

async fn next(State(api): State<Api>) -> (HeaderMap, Json<Value>) {
    let event = api.events.lock().unwrap().pop_front();
    let Some(event) = event else {
        api.done.notify_one();
        return std::future::pending().await;
    };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(60);
    let id = format!("invocation-{}", api.answers.lock().unwrap().len());
    let mut headers = HeaderMap::new();
    headers.insert("lambda-runtime-aws-request-id", id.parse().unwrap());
    headers.insert("lambda-runtime-deadline-ms", (deadline.as_millis() as u64).into());
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:test";
    headers.insert("lambda-runtime-invoked-function-arn", arn.parse().unwrap());
    (headers, Json(event))
}

async fn answered(State(api): State<Api>, Path((_, kind)): Path<(String, String)>, body: String) -> StatusCode {
    let body: Value = serde_json::from_str(&body).unwrap();
    api.answers.lock().unwrap().push(json!({kind: body}));
    StatusCode::ACCEPTED
}

/// Starts this test in a process of its own, where it is the function, for these events. Returns its answers and the lines on its stdout that are JSON.
async fn run<const N: usize>(test: &str, events: [Value; N]) -> ([Value; N], Vec<Value>) {
    let api = Api {
        events: Arc::new(Mutex::new(events.into())),
        answers: Arc::default(),
        done: Arc::default(),
    };
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(answered))
        .with_state(api.clone());
    let url = serve(router).await;
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=2"])
        .env(IS_FUNCTION, "1")
        .env("AWS_LAMBDA_RUNTIME_API", url.trim_start_matches("http://"))
        .env("AWS_LAMBDA_FUNCTION_NAME", "test-function")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .env("METRICS_NAMESPACE", "call-recordings/test")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut stdout, mut stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
    let (mut text, mut errors) = (String::new(), String::new());
    let stopped = async {
        tokio::select! {
            () = api.done.notified() => process.kill().await.unwrap(),
            ended = process.wait() => panic!("the function ended: {ended:?}"),
        }
    };
    let (_, out, err) = tokio::join!(
        stopped,
        stdout.read_to_string(&mut text),
        stderr.read_to_string(&mut errors)
    );
    out.and(err).unwrap();
    assert!(!text.contains(PLANTED) && !errors.contains(PLANTED), "{text}{errors}");
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let lines = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let answers = api.answers.lock().unwrap().clone();
    (answers.try_into().unwrap(), lines)
}

/// The lines with this message, each with the id of its request.
fn of_message<'a>(lines: &'a [Value], message: &str) -> Vec<(&'a str, &'a Value)> {
    let found = lines.iter().filter(|line| line["fields"]["message"] == message);
    found
        .map(|line| (line["span"]["request_id"].as_str().unwrap_or_default(), &line["fields"]))
        .collect()
}

/// The lines of metrics by the id of their request.
fn figures(lines: &[Value]) -> Vec<&str> {
    let lines = lines.iter().filter(|line| line["_aws"].is_object());
    lines
        .inspect(|line| assert_eq!(line["function"], "test-function"))
        .map(|line| line["request_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_panic_is_a_500_with_the_id_of_its_request_and_is_logged_without_its_message() {
    if is_function() {
        return serve_requests().await;
    }
    let event = |path: &str, id: &str| {
        let mut event: Value = serde_json::from_str(include_str!("../../../events/get-docs.json")).unwrap();
        event["rawPath"] = path.into();
        event["requestContext"]["requestId"] = id.into();
        event
    };
    let events = [
        event("/panic", "id-a"),
        event("/blocking", "id-b"),
        event("/fine", "id-c"),
    ];
    let test = "runtime::a_panic_is_a_500_with_the_id_of_its_request_and_is_logged_without_its_message";
    let (answers, lines) = run(test, events).await;
    for (answer, id) in answers[..2].iter().zip(["id-a", "id-b"]) {
        let answer = &answer["response"];
        assert_eq!(answer["statusCode"], 500, "{answer}");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let expected = json!({"detail": "Unexpected error occurred", "code": "internal_error", "request_id": id});
        assert_eq!(body, expected);
    }
    assert_eq!(answers[2]["response"]["statusCode"], 200);

    let panicked = of_message(&lines, "the function panicked");
    let ids: Vec<_> = panicked.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["id-a", "id-b"], "{lines:?}");
    let is_place = |fields: &Value| fields["place"].as_str().unwrap().contains("runtime.rs:");
    assert!(panicked.iter().all(|(_, fields)| is_place(fields)), "{panicked:?}");
    for (id, fields) in of_message(&lines, "request failed") {
        assert_eq!(
            (&fields["code"], &fields["cause"]),
            (&json!("internal_error"), &json!("it panicked")),
            "{id}"
        );
    }
    assert_eq!(of_message(&lines, "request failed").len(), 2);
    assert_eq!(of_message(&lines, "request answered").len(), 1);
    assert_eq!(figures(&lines), ["id-a", "id-b", "id-c"]);
    assert!(lines.iter().all(|line| line.get("target").is_none()), "{lines:?}");
}

#[tokio::test]
async fn a_panic_fails_only_its_message_or_its_event() {
    if is_function() {
        return serve_messages().await;
    }
    let message = |id: &str| json!({"messageId": id, "body": id});
    let batch = json!({"Records": [message("panic"), message("fine")]});
    let test = "runtime::a_panic_fails_only_its_message_or_its_event";
    let (answers, lines) = run(test, [batch, json!({})]).await;
    let failed = json!({"batchItemFailures": [{"itemIdentifier": "panic"}]});
    assert_eq!(answers[0]["response"], failed);
    // Lambda invokes the function again for an event that fails.
    assert_eq!(answers[1]["error"]["errorMessage"], "it panicked");
    let ids: Vec<_> = of_message(&lines, "the function panicked")
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(ids, ["panic", "invocation-1"], "{lines:?}");
    for (message, id) in [
        ("the message will be delivered again", "panic"),
        ("the event was not processed", "invocation-1"),
    ] {
        let found = of_message(&lines, message);
        assert_eq!(found.len(), 1, "{lines:?}");
        assert_eq!((found[0].0, &found[0].1["error"]), (id, &json!("it panicked")));
    }
}
