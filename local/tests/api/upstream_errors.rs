//! What passes and what does not: recordings that Twilio does not have yet, storage of the customer's own, and answers that ask for patience.

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
    worker::{SID, STATUS, Worker, assert_said, job, mono, recording, talk, transcript, uploads},
};

const TRANSCRIPT: &str = "/api/twilio/transcript/";

fn script() -> Script {
    Script::spoken(5.0, 1)
}

/// Five seconds of talk.
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

/// Checks that the state is a failure with this code, and whether trying again may help.
async fn assert_failed(stack: &TestStack, code: &str, retryable: bool) {
    let state = stack.get(STATUS).await.body;
    assert_eq!(
        (&state["status"], &state["code"], &state["retryable"]),
        (&json!("failed"), &json!(code), &json!(retryable))
    );
}

#[tokio::test]
async fn every_form_of_patience_that_the_api_asks_for_is_had() {
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    let far = "Tue, 31 Dec 2999 23:59:59 GMT";
    let stack = stack_with(spoken()).await;
    for (status, header, value, tries, told) in [
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
            false => assert_eq!(header, told, "{context}"),
        }
    }
}

#[tokio::test]
async fn the_queue_waits_as_long_as_the_api_asks() {
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
        "no part is tried again in vain"
    );

    stack.stack.whisper.clear_faults();
    worker.deliver(&next[0].job).await;
    assert_said(&script, &transcript(&stack).await.body);
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again() {
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
async fn a_recording_that_twilio_does_not_know_at_first_is_looked_for_once_more() {
    let stack = stack_with(spoken()).await;
    stack.stack.twilio.fault(".json", not_found(), Some(1));
    assert_eq!(post(&stack).await.status, 200);

    let stack = stack_with(spoken()).await;
    stack.stack.twilio.fault(".json", not_found(), None);
    post(&stack).await.twilio_error(404, "recording_not_found");
    let looks = stack.stack.twilio.requests().len();
    assert_eq!(looks, 2);
}

#[tokio::test]
async fn a_recording_that_is_still_to_come_can_be_waited_for_up_to_a_limit() {
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

    // It appears, but the call goes on; then the call is over.
    stack.stack.twilio.add(Recording {
        status: "in-progress".into(),
        ..spoken()
    });
    worker.deliver(&again[0].job).await;
    assert_eq!(worker.sent().len(), 1);
    stack.stack.twilio.add(spoken());
    worker.deliver(&again[0].job).await;
    assert_said(&script(), &transcript(&stack).await.body);
}

#[tokio::test]
async fn a_recording_that_never_comes_is_given_up() {
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
async fn a_call_that_failed_or_was_deleted_is_not_waited_for() {
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

/// Lets a second pass as often as the media is asked for again, until the request is answered.
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
async fn media_that_lags_behind_the_end_of_a_call_is_asked_for_again_and_later_its_absence_is_final() {
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

/// The customer's own storage, and the headers of what it was asked for.
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

/// A stack that fetches from this storage, with a recording at an address there.
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
async fn a_recording_in_the_customers_storage_is_fetched_without_credentials_where_its_host_is_on_the_list() {
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
async fn what_the_customers_storage_refuses_or_redirects_is_not_followed() {
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
async fn storage_that_is_down_may_be_back_later() {
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
async fn from_a_host_that_is_not_on_the_list_nothing_is_fetched() {
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
        // This machine's name is also the stand-in Twilio's: what is not on the list is taken for Twilio's, which has no such media.
        ("", format!("{url}/1.wav"), "media_not_found"),
        // A host without a scheme is reached by HTTPS alone, and another port is another origin.
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
async fn an_encrypted_recording_is_refused_with_its_reason_by_request_and_by_queue() {
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
async fn a_fault_of_twilios_sends_the_job_back_to_the_queue_until_its_tries_are_used_up() {
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
