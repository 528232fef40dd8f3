//! Recordings in archives of S3 Glacier, and buckets whose readers pay.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use local::{
    stack::account,
    standins::tones::{Script, Wav},
};
use serde_json::{Value, json};

use crate::{
    bound_transcripts::index,
    jobs::finished,
    logs::invoked,
    stack::{Answer, TestStack, serve},
};

const ID: &str = "dispatch_1754653479_15103455686";
const KEY: &str = "egress-recordings/2025/08/08/outbound-15103455686_1754653482.mp4";

/// What S3 says of an object that was moved to an archive, and of one that was restored.
#[derive(Clone)]
struct Archive {
    class: &'static str,
    is_restored: Arc<AtomicBool>,
}

async fn archive(State(archive): State<Archive>, request: Request, next: Next) -> Response {
    let (method, is_object) = (request.method().clone(), request.uri().path().contains("outbound-"));
    let is_list = request.uri().query().is_some_and(|query| query.contains("list-type=2"));
    let is_restored = archive.is_restored.load(Ordering::Relaxed);
    if method == Method::GET && is_object && !is_restored {
        let body = "<Error><Code>InvalidObjectState</Code><Message>The operation is not valid for the object's storage class</Message></Error>";
        return (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/xml")], body).into_response();
    }
    let mut response = next.run(request).await;
    if method == Method::HEAD && is_object {
        let headers = response.headers_mut();
        headers.insert("x-amz-storage-class", HeaderValue::from_static(archive.class));
        if is_restored {
            let restored = r#"ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT""#;
            headers.insert("x-amz-restore", HeaderValue::from_static(restored));
        }
    }
    if !is_list {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    let class = format!("<Contents><StorageClass>{}</StorageClass>", archive.class);
    let restored = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2029-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>";
    let listed = format!("{class}{}", if is_restored { restored } else { "" });
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text.replace("<Contents>", &listed)))
}

/// A stack whose functions use S3 through this router.
pub(crate) async fn behind(
    router: impl FnOnce(Router) -> Router,
    variables: &[(&str, &str)],
) -> (TestStack, TestStack) {
    let backing = TestStack::with(|settings| settings.aws_only = true).await;
    let proxy = serve(router(backing.stack.aws.router())).await;
    let upstream = [("AWS_ENDPOINT_URL", proxy.as_str())];
    let variables = upstream.iter().chain(variables);
    let variables = Vec::from_iter(variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let stack = TestStack::with(|settings| settings.environment.extend(variables)).await;
    (backing, stack)
}

async fn archived_as(class: &'static str) -> (TestStack, TestStack, Arc<AtomicBool>) {
    let is_restored = Arc::new(AtomicBool::new(false));
    let state = Archive {
        class,
        is_restored: is_restored.clone(),
    };
    let (backing, stack) = behind(|router| router.layer(from_fn_with_state(state, archive)), &[]).await;
    backing.put_object(KEY, &Wav::new(16_000, [Script::spoken(3.0, 1)]).bytes());
    (backing, stack, is_restored)
}

/// The requests that read the recording.
async fn read(stack: &TestStack) -> Vec<Answer> {
    let path = |tail: &str| format!("/recordings/{ID}{tail}");
    vec![
        stack.get(&path("")).await,
        stack.get(&path("/audio")).await,
        stack.post(&path("/waveform"), &json!({})).await,
        stack.post(&path("/shares"), &json!({"expires_in": 60})).await,
        stack.post(&path("/transcript"), &json!({})).await,
    ]
}

#[tokio::test]
async fn an_archived_recording_has_no_dead_link_and_is_played_once_it_is_restored() {
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        let (_backing, stack, is_restored) = archived_as(class).await;
        // From the listing of the bucket, and from the index.
        for _ in 0..2 {
            for answer in read(&stack).await {
                let detail = answer.recordings_error(409, "recording_archived");
                assert!(detail.contains("Restore it in S3"), "{detail}");
            }
            index(&stack, KEY).await;
        }
        let row = &stack.get("/recordings").await.body["recordings"][0];
        assert_eq!(
            (&row["recording_url"], &row["source"]),
            (&Value::Null, &json!("livekit"))
        );
        assert!(
            row["recording_error"]
                .as_str()
                .unwrap()
                .contains("archived in S3 Glacier"),
            "{row}"
        );

        is_restored.store(true, Ordering::Relaxed);
        let detail = json!({"bucket": {"name": account::BUCKET}, "object": {"key": KEY, "size": 1}, "restore-expiry-time": "2029-12-21T00:00:00Z"});
        let event = json!({"source": "aws.s3", "detail-type": "Object Restore Completed", "detail": detail});
        let state = index_recording::State::from_env(&stack.stack.environment)
            .await
            .unwrap();
        invoked(index_recording::index(&state, &event.to_string()))
            .await
            .unwrap();
        let found = stack.get(&format!("/recordings/{ID}")).await;
        let url = found.body["recording_url"].as_str().unwrap();
        assert_eq!(stack.fetch(url).send().await.unwrap().status(), 200);
        let row = &stack.get("/recordings").await.body["recordings"][0];
        assert_eq!(
            (row["recording_url"].is_null(), &row["recording_error"]),
            (false, &Value::Null)
        );
    }
}

#[tokio::test]
async fn a_recording_that_was_archived_without_an_event_is_not_transcribed_and_says_why() {
    let (_backing, stack, is_restored) = archived_as("GLACIER").await;
    is_restored.store(true, Ordering::Relaxed);
    index(&stack, KEY).await;
    let shared = stack
        .post(&format!("/recordings/{ID}/shares"), &json!({"expires_in": 60}))
        .await;
    is_restored.store(false, Ordering::Relaxed);
    let path = format!("/recordings/{ID}/transcript");
    stack.post(&path, &json!({})).await;
    let failed = finished(&stack, &path).await.body;
    assert_eq!(
        (&failed["code"], &failed["retryable"]),
        (&json!("recording_archived"), &json!(false)),
        "{failed}"
    );
    let page = shared.body["url"]
        .as_str()
        .unwrap()
        .split_once("/s/")
        .unwrap()
        .1
        .to_owned();
    let page = stack.request(Method::GET, &format!("/s/{page}")).send().await.unwrap();
    assert_eq!(page.status(), 409);
    assert!(page.text().await.unwrap().contains("archived in S3 Glacier"));

    // The reconciler compares the storage classes of all keys once.
    let state = reconcile_recordings::State::from_env(&stack.stack.environment)
        .await
        .unwrap();
    let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    invoked(reconcile_recordings::handle(&state, in_an_hour)).await.unwrap();
    stack
        .get(&format!("/recordings/{ID}"))
        .await
        .recordings_error(409, "recording_archived");
}

#[tokio::test]
async fn glacier_instant_retrieval_is_no_archive() {
    let (_backing, stack, _) = archived_as("GLACIER_IR").await;
    for _ in 0..2 {
        assert_eq!(stack.get(&format!("/recordings/{ID}")).await.status, 200);
        index(&stack, KEY).await;
    }
}

/// An S3 whose readers pay.
async fn charge(request: Request, next: Next) -> Response {
    let in_query = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("x-amz-request-payer=requester"));
    let in_header = request
        .headers()
        .get("x-amz-request-payer")
        .is_some_and(|payer| payer == "requester");
    let is_read = request.uri().path().starts_with("/recordings") && request.method() != Method::PUT;
    match is_read && !in_query && !in_header {
        true => StatusCode::FORBIDDEN.into_response(),
        false => next.run(request).await,
    }
}

#[tokio::test]
async fn a_bucket_whose_readers_pay_is_listed_read_and_played() {
    let with_charge = |router: Router| router.layer(axum::middleware::from_fn(charge));
    let (backing, stack) = behind(with_charge, &[("RECORDINGS_REQUESTER_PAYS", "true")]).await;
    backing.put_object(KEY, &Wav::new(16_000, [Script::spoken(3.0, 1)]).bytes());
    let found = stack.get(&format!("/recordings/{ID}")).await;
    let url = found.body["recording_url"].as_str().unwrap();
    assert_eq!(stack.fetch(url).send().await.unwrap().status(), 200);
    index(&stack, KEY).await;
    let path = format!("/recordings/{ID}/transcript");
    stack.post(&path, &json!({})).await;
    assert_eq!(finished(&stack, &path).await.body["status"], "completed");

    let (backing, stack) = behind(with_charge, &[]).await;
    backing.put_object(KEY, b"sound");
    stack
        .get(&format!("/recordings/{ID}"))
        .await
        .recordings_error(500, "storage_access_denied");
}
