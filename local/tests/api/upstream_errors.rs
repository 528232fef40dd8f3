//! Transient and permanent errors: recordings that Twilio does not have yet, external storage, and responses with Retry-After.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, Response, StatusCode},
};
use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    standins::{
        tones::Script,
        twilio::{self, Media, Recording},
        whisper,
    },
};
use serde_json::json;

use crate::{
    stack::{Answer, StoppedClock, TestStack, answer, serve},
    worker::{SID, STATUS, Worker, assert_transcript, job, mono, recording, talk, transcript, uploads},
};

const TRANSCRIPT: &str = "/api/twilio/transcript/";

fn script() -> Script {
    Script::spoken(5.0, 1)
}

/// A recording with five seconds of speech.
fn spoken() -> Recording {
    Recording {
        duration: Some(5),
        ..recording(SID, mono(&script()))
    }
}

async fn stack_with(recording: Recording) -> TestStack {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording);
    stack
}

async fn post(stack: &TestStack) -> Answer {
    stack.post(TRANSCRIPT, &job()).await
}

fn not_found() -> twilio::Fault {
    twilio::Fault::Status {
        status: 404,
        retry_after: None,
        body: None,
    }
}

/// Checks that the state is a failure with this code and `retryable`.
async fn assert_failed(stack: &TestStack, code: &str, retryable: bool) {
    let state = stack.get(STATUS).await.body;
    assert_eq!(
        (&state["status"], &state["code"], &state["retryable"]),
        (&json!("failed"), &json!(code), &json!(retryable))
    );
}

#[tokio::test]
async fn every_form_of_retry_after_of_the_api_is_honored() {
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    let far = "Tue, 31 Dec 2999 23:59:59 GMT";
    let stack = stack_with(spoken()).await;
    for (status, header, value, tries, retry_after) in [
        (429, "retry-after-ms", "0", 3, Some(1)),
        (429, "retry-after-ms", "90000", 1, Some(90)),
        (429, "retry-after", past, 3, Some(1)),
        (503, "retry-after", past, 3, Some(1)),
        (429, "retry-after", far, 1, None),
        (408, "retry-after-ms", "0", 3, Some(1)),
        (409, "retry-after-ms", "0", 3, Some(1)),
        (413, "retry-after-ms", "0", 1, None),
    ] {
        let before = stack.stack.whisper.calls();
        let fault = whisper::Fault::Status {
            status,
            headers: vec![(header.into(), value.into())],
            body: r#"{"error":{"type":"server_error","message":"no"}}"#.into(),
        };
        stack.stack.whisper.fault(fault, None);
        let failed = post(&stack).await;
        stack.stack.whisper.clear_faults();
        let context = format!("{status} {header} {value}: {}", failed.body);
        assert_eq!(failed.status, 500, "{context}");
        assert_eq!(stack.stack.whisper.calls() - before, tries, "{context}");
        assert_eq!(failed.body["retryable"] == true, status != 413, "{context}");
        let header = failed
            .headers
            .get("retry-after")
            .map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        match value == far {
            true => assert!(
                header.is_some_and(|seconds| seconds > 900 * 365 * 24 * 3600),
                "{context}"
            ),
            false => assert_eq!(header, retry_after, "{context}"),
        }
    }
}

#[tokio::test]
async fn a_queued_job_waits_as_long_as_the_api_asks() {
    let script = talk(10.0, 2);
    let stack = stack_with(recording(SID, mono(&script))).await;
    let busy = whisper::Fault::Status {
        status: 429,
        headers: vec![("retry-after".into(), "700".into())],
        body: "{}".into(),
    };
    stack.stack.whisper.fault(busy, None);
    let worker = Worker::of(&stack, 5.0).await;
    worker.deliver(&job()).await;
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");
    let next = worker.sent_work();
    assert_eq!((next.len(), next[0].delay), (1, 700));
    assert_eq!(
        stack.stack.whisper.calls(),
        uploads(&stack).len(),
        "no part is retried too early"
    );

    stack.stack.whisper.clear_faults();
    worker.deliver(&next[0].job).await;
    assert_transcript(&script, &transcript(&stack).await.body);
}

#[tokio::test]
async fn a_broken_connection_is_retried() {
    let stack = stack_with(spoken()).await;
    stack.stack.whisper.fault(whisper::Fault::Cut, Some(2));
    let answer = post(&stack).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["transcript"]),
        (200, &json!(script().text()))
    );
    assert_eq!(stack.stack.whisper.calls(), 3);
}

#[tokio::test]
async fn a_recording_that_twilio_does_not_find_is_requested_once_more() {
    let stack = stack_with(spoken()).await;
    stack.stack.twilio.fault(".json", not_found(), Some(1));
    assert_eq!(post(&stack).await.status, 200);

    let stack = stack_with(spoken()).await;
    stack.stack.twilio.fault(".json", not_found(), None);
    post(&stack).await.twilio_error(404, "recording_not_found");
    let requests = stack.stack.twilio.requests().len();
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn a_job_can_wait_for_a_recording_that_does_not_exist_yet_up_to_a_limit() {
    let stack = TestStack::empty().await;
    let body = json!({"recording_sid": SID, "wait": true});
    let accepted = stack.post(TRANSCRIPT, &body).await;
    assert_eq!(
        (accepted.status.as_u16(), &accepted.body["status"]),
        (202, &json!("processing"))
    );
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");

    let worker = Worker::with_usual_parts(&stack).await;
    let until = Timestamp::now() + SignedDuration::from_mins(10);
    let waiting = json!({"recording_sid": SID, "appears_until": until, "wait_until": until});
    worker.deliver(&waiting).await;
    let again = worker.sent();
    assert_eq!(
        (again.len(), again[0].delay, &again[0].job["attempts"]),
        (1, 60, &json!(0))
    );
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");

    // The recording appears while the call is in progress; then the call ends.
    stack.stack.twilio.add(Recording {
        status: "in-progress".into(),
        ..spoken()
    });
    worker.deliver(&again[0].job).await;
    assert_eq!(worker.sent().len(), 1);
    stack.stack.twilio.add(spoken());
    worker.deliver(&again[0].job).await;
    assert_transcript(&script(), &transcript(&stack).await.body);
}

#[tokio::test]
async fn a_recording_that_never_appears_fails_the_job() {
    let stack = TestStack::empty().await;
    let worker = Worker::with_usual_parts(&stack).await;
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    worker
        .deliver(&json!({"recording_sid": SID, "appears_until": past, "wait_until": past}))
        .await;
    assert_failed(&stack, "recording_not_found", false).await;
    assert_eq!(worker.sent_work().len(), 0);
}

#[tokio::test]
async fn a_job_does_not_wait_for_a_failed_or_deleted_recording() {
    for status in ["absent", "deleted", "failed"] {
        let stack = stack_with(Recording {
            status: status.into(),
            ..spoken()
        })
        .await;
        let body = json!({"recording_sid": SID, "wait": true});
        let refused = stack.post(TRANSCRIPT, &body).await;
        refused.twilio_error(500, "recording_not_completed");
        assert_eq!(refused.body.get("retryable"), None);
    }
}

/// Advances the time by a second after each request for the media, until the response arrives.
async fn post_with_seconds_passing(stack: &TestStack, asks: usize) -> Answer {
    let clock = StoppedClock::new();
    let request = stack
        .request(reqwest::Method::POST, TRANSCRIPT)
        .header("X-API-Key", demo::API_KEY);
    let waiting = tokio::spawn(answer(request.json(&job())));
    // The first request is for the metadata.
    for ask in 1..asks {
        stack.stack.twilio.wait_for_requests(ask + 1).await;
        while stack.stack.twilio.requests().len() == ask + 1 && !waiting.is_finished() {
            tokio::time::advance(Duration::from_millis(250)).await;
            tokio::task::yield_now().await;
        }
    }
    let answer = waiting.await.unwrap();
    drop(clock);
    tokio::time::resume();
    answer
}

#[tokio::test]
async fn missing_media_is_requested_again_soon_after_a_call_and_is_a_final_error_later() {
    let just_now = || Recording {
        date_created: Timestamp::now(),
        ..spoken()
    };
    let stack = stack_with(just_now()).await;
    stack.stack.twilio.fault(".mp3", not_found(), Some(2));
    let answer = post_with_seconds_passing(&stack, 3).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["transcript"]),
        (200, &json!(script().text()))
    );
    assert_eq!(stack.stack.twilio.requests().len(), 1 + 3);

    let stack = stack_with(just_now()).await;
    stack.stack.twilio.fault(".mp3", not_found(), None);
    let failed = post_with_seconds_passing(&stack, 3).await;
    failed.twilio_error(500, "media_not_found");
    assert_eq!(failed.body["retryable"], true);
    assert_eq!(stack.stack.twilio.requests().len(), 1 + 3);

    let stack = stack_with(Recording {
        date_created: Timestamp::now() - SignedDuration::from_mins(16),
        ..spoken()
    })
    .await;
    stack.stack.twilio.fault(".mp3", not_found(), None);
    let failed = post(&stack).await;
    failed.twilio_error(500, "media_not_found");
    assert_eq!(failed.body.get("retryable"), None);
    assert_eq!(stack.stack.twilio.requests().len(), 1 + 1);
}

/// A customer's external storage, and the headers of the requests it received.
async fn storage(
    answer: impl Fn() -> Response<axum::body::Body> + Clone + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let router = Router::new().fallback(move |request: Request| {
        log.lock().unwrap().push(request.headers().clone());
        let answer = answer();
        async { answer }
    });
    (serve(router).await, seen)
}

/// A stack that may fetch from this storage, with a recording at a URL there.
async fn with_external(hosts: &str, url: &str) -> TestStack {
    let stack = TestStack::with_environment([("EXTERNAL_MEDIA_HOSTS", hosts)]).await;
    stack.stack.twilio.add(Recording {
        external_media_url: Some(url.into()),
        media: Media::None,
        ..spoken()
    });
    stack
}

#[tokio::test]
async fn a_recording_in_external_storage_is_fetched_without_credentials_if_its_host_is_allowed() {
    let wav = mono(&script()).bytes();
    let (url, seen) = storage(move || Response::new(wav.clone().into())).await;
    let stack = with_external(&format!("other.example, {url}"), &format!("{url}/calls/1.wav?sig=abc")).await;
    let answer = post(&stack).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["transcript"], script().text());
    let seen = seen.lock().unwrap();
    assert_eq!(
        (seen.len(), seen[0].get("authorization"), seen[0].get("referer")),
        (1, None, None)
    );
    let asked: Vec<_> = stack
        .stack
        .twilio
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert!(
        asked.len() == 1 && asked[0].ends_with(".json"),
        "Twilio has no media: {asked:?}"
    );
}

#[tokio::test]
async fn redirects_and_refusals_of_external_storage_are_errors() {
    let (elsewhere, followed) = storage(|| Response::new("secret".into())).await;
    for (status, code, retryable) in [
        (302, "external_storage_refused", false),
        (403, "external_storage_refused", false),
        (404, "external_storage_refused", false),
    ] {
        let location = elsewhere.clone();
        let (url, _) = storage(move || {
            let response = Response::builder().status(status).header("location", &location);
            response.body("<Error>AccessDenied</Error>".into()).unwrap()
        })
        .await;
        let stack = with_external(&url, &format!("{url}/calls/1.wav")).await;
        let failed = post(&stack).await;
        failed.twilio_error(500, code);
        let details = failed.body["details"].as_str().unwrap();
        assert!(
            details.contains("external storage") && !details.contains("localhost"),
            "{details}"
        );
        assert_eq!(failed.body["retryable"] == true, retryable, "{status}");
        assert_eq!(stack.stack.whisper.calls(), 0);
    }
    assert_eq!(followed.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn an_outage_of_external_storage_is_retryable() {
    let (url, seen) = storage(|| {
        let response = Response::builder()
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .header("retry-after", "0");
        response.body("".into()).unwrap()
    })
    .await;
    let stack = with_external(&url, &format!("{url}/calls/1.wav")).await;
    let failed = post(&stack).await;
    assert_eq!(
        (failed.status.as_u16(), &failed.body["retryable"]),
        (500, &json!(true)),
        "{}",
        failed.body
    );
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn nothing_is_fetched_from_a_host_that_is_not_allowed() {
    let (url, seen) = storage(|| Response::new("secret".into())).await;
    let host = url.trim_start_matches("http://");
    let port = host.rsplit_once(':').unwrap().1;
    let stack = TestStack::empty().await;
    for (hosts, address, code) in [
        (
            "",
            "https://recordings.example.com/1.wav".to_owned(),
            "recording_stored_externally",
        ),
        (
            "example.com",
            "https://recordings.example.com/1.wav".to_owned(),
            "recording_stored_externally",
        ),
        (
            "example.com",
            "https://example.com.evil.example/1.wav".to_owned(),
            "recording_stored_externally",
        ),
        (
            &url,
            format!("http://127.0.0.1:{port}/1.wav"),
            "recording_stored_externally",
        ),
        // The stand-in for Twilio has the same host name, so a URL that is not allowed counts as Twilio's, which has no such media.
        ("", format!("{url}/1.wav"), "media_not_found"),
        // A host without a scheme allows HTTPS only, and another port is another origin.
        (host, format!("{url}/1.wav"), "media_not_found"),
        ("http://localhost:1", format!("{url}/1.wav"), "media_not_found"),
        (&url, format!("http://user:password@{host}/1.wav"), "media_not_found"),
    ] {
        stack.stack.twilio.add(Recording {
            external_media_url: Some(address),
            media: Media::None,
            ..spoken()
        });
        let worker = Worker::with_environment(&stack, 60.0, 20, [("EXTERNAL_MEDIA_HOSTS", hosts)]).await;
        worker.deliver(&job()).await;
        assert_failed(&stack, code, false).await;
    }
    assert_eq!(seen.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn an_encrypted_recording_is_an_error_with_its_reason_by_request_and_by_queue() {
    let stack = stack_with(Recording {
        encryption_details: Some(json!({"encryption_public_key_sid": "CR1"})),
        ..spoken()
    })
    .await;
    let refused = post(&stack).await;
    refused.twilio_error(500, "recording_encrypted");
    assert_eq!(
        refused.body["details"],
        "Transcription failed: The recording is encrypted with a key that only its owner has"
    );
    let worker = Worker::with_usual_parts(&stack).await;
    worker.deliver(&job()).await;
    assert_failed(&stack, "recording_encrypted", false).await;
    assert_eq!((worker.sent_work().len(), stack.stack.whisper.calls()), (0, 0));
}

#[tokio::test]
async fn a_transient_error_of_twilio_requeues_the_job_up_to_the_limit_of_attempts() {
    let stack = stack_with(spoken()).await;
    let down = twilio::Fault::Status {
        status: 503,
        retry_after: Some(0),
        body: None,
    };
    stack.stack.twilio.fault(".json", down, None);
    let worker = Worker::with_usual_parts(&stack).await;
    let mut next = job();
    let mut delays = Vec::new();
    for _ in 0..4 {
        worker.deliver(&next).await;
        assert_eq!(stack.get(STATUS).await.body["status"], "queued");
        let sent = worker.sent_work();
        assert_eq!(sent.len(), 1);
        delays.push(sent[0].delay);
        next = sent[0].job.clone();
    }
    assert_eq!(delays, [20, 40, 80, 160]);
    worker.deliver(&next).await;
    assert_failed(&stack, "twilio_unavailable", true).await;
    assert_eq!(worker.sent_work().len(), 0);
}
