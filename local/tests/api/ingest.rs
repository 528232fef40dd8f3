//! Events from queues: batches with failures, and the parsing of recording names.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use local::{
    aws::Service,
    stack::{account, functions::Functions},
};
use serde_json::{Value, json};
use shared::config::Env;

use crate::stack::{TestStack, serve};

const ID: &str = "dispatch_1754653479_15103455686";
const FOLDER: &str = "egress-recordings/2025/08/08/";
const KEY: &str = "egress-recordings/2025/08/08/outbound-15103455686_1754653482.mp4";

/// The body of a message with an EventBridge event.
pub(crate) fn created(key: &str) -> String {
    let object = json!({"key": key, "size": 5, "sequencer": "0062E99A88DC407460"});
    let detail = json!({"bucket": {"name": account::BUCKET}, "object": object});
    json!({"source": "aws.s3", "detail-type": "Object Created", "detail": detail}).to_string()
}

/// Delivers messages in one batch, and returns the indexes of those that SQS must deliver again.
pub(crate) async fn deliver(functions: &Functions, function: &str, bodies: &[String]) -> Vec<usize> {
    let message = |(number, body): (usize, &String)| json!({"messageId": number.to_string(), "body": body});
    let records: Vec<Value> = bodies.iter().enumerate().map(message).collect();
    let deadline = SystemTime::now() + Duration::from_secs(60);
    let answer = functions
        .deliver(function, json!({ "Records": records }), deadline)
        .await
        .unwrap()
        .unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap().clone();
    let number = |failure: &Value| failure["itemIdentifier"].as_str().unwrap().parse().unwrap();
    failures.iter().map(number).collect()
}

pub(crate) async fn functions(stack: &TestStack) -> Functions {
    Functions::from_env(&stack.stack.environment).await.unwrap()
}

/// The decoded URL of a row's recording, which contains the key.
fn url(row: &Value) -> String {
    let url = row["recording_url"].as_str().unwrap_or_default();
    percent_encoding::percent_decode_str(url)
        .decode_utf8_lossy()
        .into_owned()
}

async fn list(stack: &TestStack, query: &str) -> Vec<Value> {
    let answer = stack.get(&format!("/recordings?limit=100&{query}")).await;
    answer.body["recordings"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_invalid_message_does_not_block_its_batch() {
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let poison = ["".to_owned(), "{".into(), "{\"detail\": {}}".into(), "[1]".into()];
    let bodies: Vec<String> = [created(KEY)].into_iter().chain(poison).chain([created(KEY)]).collect();
    assert_eq!(
        deliver(&functions(&stack).await, "index-recording", &bodies).await,
        [1, 2, 3, 4]
    );
    assert_eq!(list(&stack, "").await.len(), 1);
    let event = json!({"time": "2025-08-08T11:48:00Z", "detail": {"dispatch_id": ID, "customer_name": "Louis"}});
    let bad = json!({"time": "2025-08-08T11:48:00Z", "detail": {"status": "COMPLETED"}});
    let bodies = [bad.to_string(), event.to_string(), "{}".into()];
    assert_eq!(
        deliver(&functions(&stack).await, "index-interaction", &bodies).await,
        [0, 2]
    );
    assert_eq!(list(&stack, "").await[0]["customer_name"], "Louis");
}

#[tokio::test]
async fn messages_are_acknowledged_after_they_are_stored_and_can_be_delivered_repeatedly() {
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let functions = functions(&stack).await;
    let bodies = [created(KEY), created(KEY)];
    let faults = stack.stack.aws.faults();
    for service in [Service::DynamoDb, Service::S3] {
        faults.set(service, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(deliver(&functions, "index-recording", &bodies).await, [0, 1]);
        faults.set(service, None);
    }
    assert_eq!(list(&stack, "").await, Vec::<Value>::new());
    for _ in 0..2 {
        assert_eq!(
            deliver(&functions, "index-recording", &bodies).await,
            Vec::<usize>::new()
        );
        assert_eq!(list(&stack, "").await.len(), 1);
    }
}

#[tokio::test]
async fn an_object_that_was_deleted_before_it_was_read_is_neither_listed_nor_a_failure() {
    let stack = TestStack::empty().await;
    assert_eq!(
        deliver(&functions(&stack).await, "index-recording", &[created(KEY)]).await,
        Vec::<usize>::new()
    );
    assert_eq!(list(&stack, "").await, Vec::<Value>::new());
    assert_eq!(list(&stack, "has_recording=false").await, Vec::<Value>::new());
}

/// An S3 that denies access to one object.
async fn forbid(State(key): State<Arc<str>>, request: Request, next: Next) -> Response {
    match request.method() == Method::HEAD && request.uri().path().ends_with(&*key) {
        true => StatusCode::FORBIDDEN.into_response(),
        false => next.run(request).await,
    }
}

#[tokio::test]
async fn only_the_message_of_an_unreadable_object_is_delivered_again() {
    let stack = TestStack::empty().await;
    let other = format!("{FOLDER}outbound-14155550123_1754653482.mp4");
    stack.put_object(KEY, b"sound");
    stack.put_object(&other, b"sound");
    let state: Arc<str> = KEY.into();
    let proxy = serve(stack.stack.aws.router().layer(from_fn_with_state(state, forbid))).await;
    let through = |(name, value): (&str, &str)| match name {
        "AWS_ENDPOINT_URL" => (name.to_owned(), proxy.clone()),
        _ => (name.to_owned(), value.to_owned()),
    };
    let environment: Env = stack.stack.environment.iter().map(through).collect();
    let functions = Functions::from_env(&environment).await.unwrap();
    let bodies = [created(KEY), created(&other)];
    assert_eq!(deliver(&functions, "index-recording", &bodies).await, [0]);
    assert!(url(&list(&stack, "").await[0]).contains(&other));
}

#[tokio::test]
async fn notifications_that_s3_sends_directly_to_a_queue_are_processed() {
    let stack = TestStack::empty().await;
    let key = format!("{FOLDER}call-_+15103455686_a b-2025-08-08T114442.ogg");
    stack.put_object(&key, b"sound");
    let encoded = key.replace('+', "%2B").replace(' ', "+");
    let s3 = json!({"bucket": {"name": account::BUCKET}, "object": {"key": encoded, "sequencer": "0A"}});
    let bodies = [
        json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]}).to_string(),
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": account::BUCKET}).to_string(),
    ];
    assert_eq!(
        deliver(&functions(&stack).await, "index-recording", &bodies).await,
        Vec::<usize>::new()
    );
    let rows = list(&stack, "").await;
    assert!(url(&rows[0]).contains(&key));
    assert_eq!(rows[0]["phone"], "+15103455686");
    assert_eq!(rows[0]["start_time"], "2025-08-08T11:44:42.000Z");
}

#[tokio::test]
async fn the_key_in_an_eventbridge_event_is_not_decoded() {
    let stack = TestStack::empty().await;
    for name in ["outbound-+15103455686-2025-08-08T114439.ogg", "50%20off+more.mp4"] {
        let key = format!("{FOLDER}{name}");
        stack.put_object(&key, b"sound");
        let none = deliver(&functions(&stack).await, "index-recording", &[created(&key)]).await;
        assert_eq!(none, Vec::<usize>::new());
        assert!(
            list(&stack, "").await.iter().any(|row| url(row).contains(name)),
            "{key}"
        );
    }
}

#[tokio::test]
async fn audio_that_matches_no_pattern_is_a_recording_without_a_call_unless_disabled() {
    for (setting, expected) in [("true", 1), ("false", 0)] {
        let stack = TestStack::with_environment([("INDEX_UNMATCHED_AUDIO", setting)]).await;
        let names = ["weird-name.mp4", "EG_abc.json", "report.pdf", "folder.mp4/"];
        let bodies: Vec<String> = names.iter().map(|name| created(&format!("{FOLDER}{name}"))).collect();
        stack.put_object(&format!("{FOLDER}weird-name.mp4"), b"sound");
        assert_eq!(
            deliver(&functions(&stack).await, "index-recording", &bodies).await,
            Vec::<usize>::new()
        );
        let rows = list(&stack, "").await;
        assert_eq!(rows.len(), expected, "{rows:?}");
        for row in rows {
            assert_eq!((&row["dispatch_id"], &row["phone"]), (&Value::Null, &Value::Null));
            assert!(row["recording_url"].is_string());
        }
    }
}

#[tokio::test]
async fn a_deployment_can_configure_the_patterns_of_its_names() {
    let patterns = "{direction}/{any}/{phone}.{unix}";
    let stack = TestStack::with_environment([("RECORDING_NAME_PATTERNS", patterns)]).await;
    let key = "egress-recordings/outbound/team-a/15103455686.1754653482000.wav";
    stack.put_object(key, b"sound");
    deliver(&functions(&stack).await, "index-recording", &[created(key)]).await;
    stack.post("/interactions", &json!({"dispatch_id": ID})).await;
    let rows = list(&stack, "").await;
    assert_eq!((rows.len(), &rows[0]["dispatch_id"]), (1, &json!(ID)));
    assert!(url(&rows[0]).contains(key));
}

#[tokio::test]
async fn an_inbound_recording_is_not_paired_with_an_unanswered_outbound_call() {
    let stack = TestStack::empty().await;
    let key = format!("{FOLDER}inbound-15103455686_1754653539.mp4");
    stack.put_object(&key, b"sound");
    deliver(&functions(&stack).await, "index-recording", &[created(&key)]).await;
    stack.post("/interactions", &json!({"dispatch_id": ID})).await;
    assert_eq!(list(&stack, "has_recording=false").await[0]["dispatch_id"], ID);
    let call = json!({"interaction_id": "i-1", "phone": "+15103455686", "start_time": "2025-08-08T11:50:39Z"});
    stack.post("/interactions", &call).await;
    let rows = list(&stack, "").await;
    assert_eq!(
        (rows.len(), &rows[0]["dispatch_id"]),
        (1, &json!("dispatch_1754653539_15103455686"))
    );
    assert!(url(&rows[0]).contains(&key));
}
