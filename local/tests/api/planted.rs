//! Words that are planted in requests, messages, stored items and answers of other services, and that must not appear in the log. [`logs`] checks
//! the lines.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Response, StatusCode, header},
};
use local::stack::{account, functions::Functions};
use serde_json::{Value, json};
use shared::config::Env;

use crate::{
    events::{EVENTS, REQUESTS},
    logs::{self, PLANTED, log_of_this_thread},
    stack::{TestStack, serve},
};

/// A number that has letters, because a number alone is in no text.
const NUMBER: &str = "+1415planted5550";

fn in_a_minute() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

fn no_faults() {
    assert_eq!(logs::faults(), Vec::<String>::new());
}

/// The functions of a stack with other variables.
async fn functions(stack: &TestStack, variables: &[(&str, &str)]) -> Functions {
    let own = stack.stack.environment.iter().chain(variables.iter().copied());
    Functions::from_env(&own.collect::<Env>()).await.unwrap()
}

/// Processes every example event, whatever comes of it.
async fn process_all(functions: &Functions) {
    for (function, event) in EVENTS {
        let event = serde_json::from_str(event).unwrap();
        let _ = functions.deliver(function, event, in_a_minute()).await;
    }
    for (function, event, _) in REQUESTS {
        let request = lambda_http::request::from_str(event).unwrap();
        functions.invoke(function, request).await.unwrap();
    }
}

/// The event of a request, changed.
fn changed(event: &str, change: impl FnOnce(&mut Value)) -> lambda_http::Request {
    let mut event: Value = serde_json::from_str(event).unwrap();
    change(&mut event);
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

#[tokio::test]
async fn what_a_request_contains_is_not_logged() {
    let log = log_of_this_thread();
    let stack = TestStack::demo().await;
    let functions = functions(&stack, &[("RECORDINGS_AUTH", "required")]).await;
    let bodies = [
        json!({"dispatch_id": NUMBER, "customer_name": PLANTED, "phone": 5_550_123, "start_time": PLANTED}).to_string(),
        json!({"recording_sid": [PLANTED], "hold": PLANTED, "prompt": PLANTED, "model": PLANTED}).to_string(),
        format!("{{\"{PLANTED}\": \"{PLANTED}\""),
        format!("passcode={PLANTED}&{NUMBER}"),
    ];
    for (function, event, _) in REQUESTS {
        for body in &bodies {
            let request = changed(event, |event| {
                event["body"] = json!(body);
                event["isBase64Encoded"] = json!(false);
            });
            functions.invoke(function, request).await.unwrap();
        }
        let secrets = [
            ("x-api-key", "crk_planted"),
            ("authorization", "Bearer planted.planted.planted"),
            ("cookie", "session=planted"),
            ("x-twilio-signature", PLANTED),
        ];
        let request = changed(event, |event| {
            for (name, value) in secrets {
                event["headers"][name] = json!(value);
            }
            event["cookies"] = json!(["session=planted; planted"]);
        });
        functions.invoke(function, request).await.unwrap();
        let request = changed(event, |event| {
            event["rawQueryString"] =
                json!("api_key=planted&phone=planted&from=planted&X-Amz-Signature=planted&planted=%FF");
        });
        functions.invoke(function, request).await.unwrap();
        let request = changed(event, |event| {
            let path = event["rawPath"].as_str().unwrap_or_default().to_owned();
            event["rawPath"] = json!(format!("{path}/{NUMBER}"));
            for value in event["pathParameters"]
                .as_object_mut()
                .into_iter()
                .flat_map(|map| map.values_mut())
            {
                *value = json!(format!("dispatch_1_{NUMBER}"));
            }
        });
        functions.invoke(function, request).await.unwrap();
    }
    no_faults();
    let text = log.text();
    assert!(
        text.contains("request refused") && text.contains("request{request_id="),
        "{text}"
    );
}

#[tokio::test]
async fn what_a_message_contains_is_not_logged() {
    let log = log_of_this_thread();
    let stack = TestStack::demo().await;
    let functions = functions(&stack, &[]).await;
    let bodies = [
        format!("{{\"{PLANTED}"),
        json!({"recording_sid": PLANTED, "request_id": NUMBER}).to_string(),
        json!({"recording_sid": 5, "attempts": PLANTED, "erasure_id": [PLANTED]}).to_string(),
        json!({"erasure_id": PLANTED}).to_string(),
        json!({"dispatch_id": "dispatch_1_2", "options": PLANTED}).to_string(),
        json!({"dispatch_id": format!("dispatch_1754653479_{NUMBER}")}).to_string(),
        json!({"time": PLANTED, "detail": {"customer_name": PLANTED}}).to_string(),
        json!({"time": "2025-08-08T11:44:39Z", "detail": {"dispatch_id": "a", "duration": PLANTED, "phone": NUMBER}}).to_string(),
        json!({"detail": {"bucket": {"name": PLANTED}, "object": {"key": PLANTED, "size": PLANTED}}}).to_string(),
        json!({"detail": {"bucket": {"name": PLANTED}, "object": {"key": PLANTED}}}).to_string(),
        json!({"detail": {"bucket": {"name": account::BUCKET}, "object": {"key": format!("egress-recordings/{NUMBER}.mp4")}}}).to_string(),
    ];
    for (function, _) in EVENTS {
        for body in &bodies {
            let event = json!({"Records": [{"messageId": "message", "body": body}]});
            let _ = functions.deliver(function, event, in_a_minute()).await;
        }
    }
    no_faults();
    assert!(log.text().contains("the message will be delivered again"));
}

#[tokio::test]
async fn what_stored_items_contain_is_not_logged() {
    let stack = TestStack::demo().await;
    let functions = functions(&stack, &[]).await;
    process_all(&functions).await;
    let client = stack.aws().dynamodb();
    let forms = [
        json!({"planted": "planted", "own": NUMBER, "code": 5}).to_string(),
        format!("[\"{PLANTED}\", 1415"),
    ];
    for form in forms {
        for table in [
            account::CALLS_TABLE,
            account::TRANSCRIPTS_TABLE,
            account::LIFECYCLE_TABLE,
            account::SHARES_TABLE,
        ] {
            let items = client.scan().table_name(table).send().await.unwrap().items.unwrap();
            for item in items {
                let is_json = |value: &AttributeValue| value.as_s().is_ok_and(|text| text.starts_with(['{', '[']));
                let item: HashMap<String, AttributeValue> = item
                    .into_iter()
                    .map(|(name, value)| match is_json(&value) {
                        true => (name, AttributeValue::S(form.clone())),
                        false => (name, value),
                    })
                    .collect();
                client
                    .put_item()
                    .table_name(table)
                    .set_item(Some(item))
                    .send()
                    .await
                    .unwrap();
            }
        }
        process_all(&functions).await;
    }
    no_faults();
}

/// Answers every request with this status and body.
async fn answering(status: u16, content_type: &'static str, body: String) -> String {
    let handle = move || {
        let body = body.clone();
        async move {
            let answer = Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, content_type);
            answer.header("x-request-id", PLANTED).body(Body::from(body)).unwrap()
        }
    };
    serve(Router::new().fallback(handle)).await
}

#[tokio::test]
async fn what_twilio_and_the_transcription_api_answer_is_not_logged() {
    let stack = TestStack::demo().await;
    let json_type = "application/json";
    for (status, content_type, body) in [
        (
            200,
            json_type,
            json!({"recordings": PLANTED, "text": [PLANTED], "sid": PLANTED}).to_string(),
        ),
        (
            200,
            json_type,
            json!({"recordings": [{"sid": PLANTED, "duration": PLANTED}], "next_page_uri": PLANTED}).to_string(),
        ),
        (
            200,
            json_type,
            json!({"segments": [{"text": PLANTED, "start": PLANTED}], "text": PLANTED, "words": PLANTED}).to_string(),
        ),
        (200, json_type, format!("{{\"sid\": \"{PLANTED}\", \"text\": {PLANTED}")),
        (
            200,
            json_type,
            json!({"error": {"message": format!("{PLANTED} said {NUMBER}"), "param": PLANTED, "code": PLANTED}})
                .to_string(),
        ),
        (
            400,
            json_type,
            json!({"error": {"message": format!("response_format of {PLANTED} is not supported")}}).to_string(),
        ),
        (
            400,
            json_type,
            json!({"error": {"message": format!("no {PLANTED} for {NUMBER}"), "code": PLANTED, "type": PLANTED}})
                .to_string(),
        ),
        (
            401,
            json_type,
            json!({"error": {"message": "Incorrect API key provided: sk-planted"}, "code": PLANTED}).to_string(),
        ),
        (
            404,
            json_type,
            json!({"message": format!("the model {PLANTED} does not exist"), "code": 20404}).to_string(),
        ),
        (302, "text/html", format!("<a>{PLANTED}</a>")),
        (418, "text/html", format!("<p>{PLANTED}</p>")),
    ] {
        let url = answering(status, content_type, body).await;
        let api = format!("{url}/v1");
        let with_both = functions(
            &stack,
            &[("TWILIO_BASE_URL", url.as_str()), ("WHISPER_BASE_URL", api.as_str())],
        )
        .await;
        process_all(&with_both).await;
        let with_api = functions(&stack, &[("WHISPER_BASE_URL", api.as_str())]).await;
        for (function, event, _) in REQUESTS
            .into_iter()
            .filter(|(function, ..)| function.starts_with("transcribe"))
        {
            let request = changed(event, |event| {
                let body = event["body"].as_str().unwrap_or("{}");
                let mut body: Value = serde_json::from_str(body).unwrap_or_else(|_| json!({}));
                body["prompt"] = json!("a spoken phrase");
                body["force"] = json!(true);
                event["body"] = json!(body.to_string());
            });
            with_api.invoke(function, request).await.unwrap();
        }
    }
    no_faults();
}

/// AWS, with a service that gives one answer to everything.
#[derive(Default)]
struct Proxy {
    aws: OnceLock<String>,
    client: reqwest::Client,
    broken: Mutex<Option<(&'static str, u16, String)>>,
}

impl Proxy {
    fn breaks(&self, service: &'static str, status: u16, body: &str) {
        *self.broken.lock().unwrap() = Some((service, status, body.to_owned()));
    }

    fn mend(&self) {
        *self.broken.lock().unwrap() = None;
    }
}

async fn forward(State(proxy): State<Arc<Proxy>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    let service = match target.and_then(|target| target.split('.').next()) {
        Some(name) if name.starts_with("DynamoDB") => "dynamodb",
        Some("secretsmanager") => "secretsmanager",
        Some(_) => "sqs",
        None => "s3",
    };
    let broken = proxy.broken.lock().unwrap().clone();
    if let Some((_, status, body)) = broken.filter(|(name, ..)| *name == service) {
        let answer = Response::builder().status(status).header("x-amzn-requestid", PLANTED);
        return answer.header("last-modified", PLANTED).body(Body::from(body)).unwrap();
    }
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", proxy.aws.get().unwrap());
    let sent = proxy
        .client
        .request(parts.method, url)
        .headers(parts.headers)
        .body(body);
    let answer = sent.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if *name != header::TRANSFER_ENCODING {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

#[tokio::test]
async fn what_aws_answers_is_not_logged() {
    let stack = TestStack::demo().await;
    let proxy = Arc::new(Proxy::default());
    proxy.aws.set(stack.stack.aws_url.clone()).unwrap();
    let url = serve(Router::new().fallback(forward).with_state(proxy.clone())).await;
    let started = functions(&stack, &[("AWS_ENDPOINT_URL", url.as_str())]).await;
    process_all(&started).await;
    let item = json!({"id": {"S": PLANTED}, "state": {"S": "{\"planted\": 1}"}, "note": {"S": PLANTED}, "value": {"S": PLANTED}});
    let answers = [
        (
            "dynamodb",
            200,
            json!({"Item": item, "Items": [item], "Attributes": item}).to_string(),
        ),
        (
            "dynamodb",
            200,
            json!({"Item": {"id": {"S": 5_550_123}, "rev": {"N": PLANTED}}, "Items": PLANTED}).to_string(),
        ),
        ("dynamodb", 200, format!("{{\"Item\": {{\"id\": {{\"S\": {PLANTED}")),
        (
            "dynamodb",
            400,
            json!({"__type": "com.amazonaws#ValidationException", "message": format!("{PLANTED}: {NUMBER}")})
                .to_string(),
        ),
        (
            "dynamodb",
            400,
            json!({"__type": "com.amazonaws#ConditionalCheckFailedException", "message": PLANTED, "Item": item})
                .to_string(),
        ),
        (
            "dynamodb",
            400,
            json!({"__type": format!("{PLANTED} {NUMBER}"), "message": 5}).to_string(),
        ),
        (
            "s3",
            200,
            format!(
                "<ListBucketResult><Contents><Key>{PLANTED}</Key><Size>{PLANTED}</Size></Contents></ListBucketResult>"
            ),
        ),
        ("s3", 200, PLANTED.to_owned()),
        (
            "s3",
            400,
            format!("<Error><Code>Invalid {PLANTED}</Code><Message>{NUMBER}</Message><Key>{PLANTED}</Key></Error>"),
        ),
        (
            "s3",
            403,
            format!("<Error><Code>AccessDenied</Code><Message>{PLANTED}</Message></Error>"),
        ),
        ("sqs", 200, format!("{{\"MessageId\": {PLANTED}")),
        (
            "sqs",
            200,
            json!({"Attributes": {"ApproximateNumberOfMessages": PLANTED}, "MessageId": 5}).to_string(),
        ),
        (
            "sqs",
            400,
            json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": PLANTED}).to_string(),
        ),
    ];
    for (service, status, body) in answers {
        proxy.breaks(service, status, &body);
        process_all(&started).await;
        no_faults();
    }
    for (status, body) in [
        (200, json!({"SecretString": 5_550_123, "Name": PLANTED}).to_string()),
        (200, json!({"SecretString": PLANTED}).to_string()),
        (200, json!({"SecretString": json!({"keys": PLANTED, "account_sid": [PLANTED], "api_key": {"planted": 1}, "key": 5}).to_string()}).to_string()),
        (200, json!({"SecretString": json!({"keys": [{"id": PLANTED, "sha256": PLANTED}], "account_sid": PLANTED, "auth_token": PLANTED, "api_key": PLANTED, "api_secret": PLANTED, "access_key_id": PLANTED, "key": PLANTED}).to_string()}).to_string()),
        (400, json!({"__type": "ResourceNotFoundException", "Message": PLANTED}).to_string()),
        (400, json!({"__type": "DecryptionFailure", "Message": PLANTED}).to_string()),
    ] {
        proxy.breaks("secretsmanager", status, &body);
        let unable = functions(&stack, &[("AWS_ENDPOINT_URL", url.as_str())]).await;
        process_all(&unable).await;
        no_faults();
    }
    proxy.mend();
    assert_eq!(StatusCode::OK, stack.get("/api/twilio/usage").await.status);
}
