//! Twilio's recordings are copied into the bucket, and played, transcribed and shared from there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::Method,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures_util::StreamExt;
use jiff::Timestamp;
use local::standins::{
    tones::{Script, Wav},
    twilio::{Fault, Media, Recording},
};
use serde_json::{Value, json};

use crate::{
    archived::behind,
    jobs::finished,
    killed::killed_after,
    logs::invoked,
    stack::{Answer, TestStack},
    webhooks,
};

const SID: &str = "RE00000000000000000000000000000071";
const CALL: &str = "CA00000000000000000000000000000071";
const NUMBER: &str = "+15103455686";

fn sound(seconds: f64) -> Wav {
    Wav::new(8_000, [Script::spoken(seconds, 1), Script::spoken(seconds, 2)])
}

/// A call with a completed recording on two channels at Twilio.
fn record(stack: &TestStack, sid: &str, call: &str, began: Timestamp, media: Media) {
    stack.stack.twilio.add_call(call, NUMBER);
    stack.stack.twilio.add(Recording {
        sid: sid.into(),
        call_sid: call.into(),
        channels: 2,
        duration: Some(6),
        start_time: began,
        date_created: began,
        date_updated: began,
        media,
        ..Recording::default()
    });
}

async fn recorded(mode: &'static str) -> (TestStack, Timestamp) {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", mode)]).await;
    let began = Timestamp::now();
    record(&stack, SID, CALL, began, Media::Tones(sound(6.0)));
    (stack, began)
}

/// Waits until the answer is not 409.
async fn copied(stack: &TestStack, sid: &str) -> Answer {
    loop {
        let answer = stack.get(&format!("/recordings/{sid}")).await;
        if answer.status != 409 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the copy has failed, and returns the message.
async fn failed(stack: &TestStack, sid: &str) -> String {
    for tries in 0.. {
        assert!(
            tries < 600,
            "not failed: {}",
            stack.get(&format!("/recordings/{sid}")).await.body
        );
        let answer = stack.get(&format!("/recordings/{sid}")).await;
        let detail = answer.body["detail"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", answer.body));
        if answer.body["archiving"] == false && detail.contains("could not be copied") {
            return answer.recordings_error(409, "recording_not_archived").to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!()
}

fn twilio_requests(stack: &TestStack, method: &str, end: &str) -> usize {
    let requests = stack.stack.twilio.requests();
    let matching = requests
        .iter()
        .filter(|it| it.method == method && it.path.ends_with(end));
    matching.count()
}

#[tokio::test]
async fn a_completed_recording_is_copied_and_plays_like_any_other() {
    let (stack, began) = recorded("copy").await;
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    let found = copied(&stack, SID).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let body = &found.body;
    let day = began.strftime("%Y/%m/%d");
    assert_eq!(body["s3_key"], format!("twilio-recordings/{day}/{CALL}/{SID}.wav"));
    let expected = json!({"content_type": "audio/wav", "channels": 2, "duration": 6, "recording_sid": SID, "size_bytes": sound(6.0).bytes().len()});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name}");
    }
    let url = body["recording_url"].as_str().unwrap();
    let all = stack.fetch(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(all, sound(6.0).bytes());
    let part = stack.fetch(url).header("Range", "bytes=100-199").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), sound(6.0).bytes()[100..200]);

    // By the SID of its call, in the list, and by the link that does not expire.
    assert_eq!(
        stack.get(&format!("/recordings/{CALL}")).await.body["s3_key"],
        body["s3_key"]
    );
    let row = stack.get("/recordings").await.body["recordings"][0].clone();
    let listed = &row["recordings"][0];
    assert_eq!((&listed["archived"], &listed["sid"]), (&json!(true), &json!(SID)));
    for (name, value) in [
        ("content_type", json!("audio/wav")),
        ("channels", json!(2)),
        ("size_bytes", body["size_bytes"].clone()),
    ] {
        assert_eq!(listed[name], value, "{name}");
    }
    let url = row["recording_url"].as_str().unwrap();
    assert!(stack.fetch(url).send().await.unwrap().status().is_success());
    let stable = stack.request(Method::GET, listed["stable_url"].as_str().unwrap());
    assert_eq!(stable.send().await.unwrap().bytes().await.unwrap(), all);
    assert_eq!(row["source"], "twilio");
    assert_eq!(twilio_requests(&stack, "DELETE", ".json"), 0);
}

#[tokio::test]
async fn repeated_and_late_reports_copy_a_recording_once() {
    let (stack, began) = recorded("copy").await;
    for _ in 0..3 {
        webhooks::recording_completes(&stack, CALL, SID, began).await;
    }
    copied(&stack, SID).await;
    let once = twilio_requests(&stack, "GET", ".wav");
    assert_eq!(once, 1);
    for _ in 0..2 {
        let again = stack.post(&format!("/recordings/{SID}/archive"), &json!({})).await;
        assert_eq!((again.status.as_u16(), &again.body["archived"]), (200, &json!(true)));
        webhooks::recording_completes(&stack, CALL, SID, began).await;
        webhooks::round(&stack).await;
    }
    assert_eq!(twilio_requests(&stack, "GET", ".wav"), once);
}

#[tokio::test]
async fn a_row_with_a_dispatch_that_only_twilio_recorded_answers_under_its_dispatch_id() {
    let (stack, began) = recorded("off").await;
    let dispatch = format!("dispatch_{}_15103455686", began.as_second() - 3);
    let interaction =
        json!({"interaction_id": "i-1", "dispatch_id": dispatch, "phone": NUMBER, "start_time": began.to_string()});
    assert!(stack.post("/interactions", &interaction).await.status.is_success());
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    for id in [&*dispatch, CALL, SID] {
        let missing = stack.get(&format!("/recordings/{id}")).await;
        let detail = missing.recordings_error(409, "recording_not_archived");
        assert!(detail.contains(&format!("POST /recordings/{SID}/archive")), "{detail}");
        assert_eq!(missing.body["archiving"], false);
    }
    assert_eq!(
        twilio_requests(&stack, "GET", ".wav"),
        0,
        "nothing is copied without a setting"
    );
    let asked = stack.post(&format!("/recordings/{dispatch}/archive"), &json!({})).await;
    assert_eq!(asked.status, 202);
    assert_eq!(
        asked.body,
        json!({"recording_sid": SID, "archived": false, "archiving": true, "status_url": format!("/recordings/{SID}")})
    );
    let found = copied(&stack, &dispatch).await;
    assert_eq!(
        (found.status.as_u16(), &found.body["recording_sid"]),
        (200, &json!(SID))
    );
    assert_eq!(found.body["call"]["interaction_id"], "i-1");
    for unknown in [
        "RE99999999999999999999999999999999",
        "CA99999999999999999999999999999999",
    ] {
        for path in ["", "/audio"] {
            stack
                .get(&format!("/recordings/{unknown}{path}"))
                .await
                .recordings_error(404, "recording_not_found");
        }
        let archive = stack.post(&format!("/recordings/{unknown}/archive"), &json!({})).await;
        archive.recordings_error(404, "recording_not_found");
    }
}

#[tokio::test]
async fn a_copy_keeps_the_paid_transcript_and_is_transcribed_without_twilio() {
    let (stack, began) = recorded("copy").await;
    let path = "/api/twilio/transcript/";
    let paid = stack.post(path, &json!({"recording_sid": SID})).await;
    assert_eq!(paid.status, 200, "{}", paid.body);
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    copied(&stack, SID).await;
    let stored = stack.get(&format!("/recordings/{SID}/transcript")).await;
    assert_eq!(stored.body["transcript"], paid.body["transcript"]);
    let again = stack.post(&format!("/recordings/{SID}/transcript"), &json!({})).await;
    assert_eq!(
        (again.status.as_u16(), &again.body["cached"]),
        (200, &json!(true)),
        "{}",
        again.body
    );
    assert_eq!(
        stack.get("/recordings").await.body["recordings"][0]["has_transcript"],
        true
    );

    // With other options it is paid for again, and read from the bucket.
    stack.stack.twilio.remove(SID);
    let other = stack.post(path, &json!({"recording_sid": SID, "language": "en"})).await;
    assert_eq!(other.status, 200, "{}", other.body);
    let queued = json!({"recording_sid": SID, "language": "de"});
    let request = stack
        .request(Method::POST, path)
        .header("X-API-Key", local::demo::API_KEY);
    let queued = request
        .header("Prefer", "respond-async")
        .json(&queued)
        .send()
        .await
        .unwrap();
    let queued: Value = queued.json().await.unwrap();
    let done = finished(&stack, queued["status_url"].as_str().unwrap()).await;
    assert_eq!(done.body["status"], "completed", "{}", done.body);
    assert_eq!(
        stack
            .post(&format!("/recordings/{SID}/waveform"), &json!({}))
            .await
            .status,
        200
    );
    assert_eq!(
        stack
            .post(&format!("/recordings/{SID}/shares"), &json!({"expires_in": 60}))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_moved_recording_is_deleted_at_twilio_after_its_copy_is_verified_and_the_hours_have_passed() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "move"), ("MOVE_AFTER_HOURS", "0")]).await;
    let began = Timestamp::now();
    record(&stack, SID, CALL, began, Media::Tones(sound(6.0)));
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    copied(&stack, SID).await;
    assert_eq!(twilio_requests(&stack, "DELETE", ".json"), 0);
    // Twilio does not answer the first time.
    stack.stack.twilio.fault(format!("{SID}.json"), status(401), Some(8));
    // The worker notes that it is due a moment after the copy is listed.
    while twilio_requests(&stack, "DELETE", ".json") == 0 {
        webhooks::round(&stack).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stack.stack.twilio.clear_faults();
    assert_eq!(copied(&stack, SID).await.status, 200);
    let deleted = || async {
        stack
            .stack
            .twilio
            .requests()
            .iter()
            .any(|it| it.method == "DELETE" && it.authorized)
            && stack.get(&format!("/recordings/{SID}")).await.status == 200
    };
    assert!(deleted().await);
    // Twilio's own report of the deletion does not remove the row.
    webhooks::round(&stack).await;
    let row = stack.get("/recordings").await.body["recordings"][0].clone();
    assert_eq!(
        (&row["call_sid"], &row["recordings"][0]["archived"]),
        (&json!(CALL), &json!(true))
    );
}

fn status(status: u16) -> Fault {
    Fault::Status {
        status,
        retry_after: None,
        body: None,
    }
}

#[tokio::test]
async fn a_recording_that_cannot_be_copied_says_why_and_is_copied_when_it_can() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy")]).await;
    let began = Timestamp::now();
    let encrypted = "RE00000000000000000000000000000081";
    let elsewhere = "RE00000000000000000000000000000082";
    stack.stack.twilio.add(Recording {
        sid: encrypted.into(),
        call_sid: "CA00000000000000000000000000000081".into(),
        encryption_details: Some(json!({"encryption_cek": "x"})),
        start_time: began,
        media: Media::Tones(sound(6.0)),
        ..Recording::default()
    });
    stack.stack.twilio.add(Recording {
        sid: elsewhere.into(),
        call_sid: "CA00000000000000000000000000000082".into(),
        external_media_url: Some("https://bucket.example.com/x.wav".into()),
        start_time: began,
        ..Recording::default()
    });
    for (sid, call, reason) in [
        (encrypted, "CA00000000000000000000000000000081", "encrypted"),
        (elsewhere, "CA00000000000000000000000000000082", "external storage"),
    ] {
        webhooks::recording_completes(&stack, call, sid, began).await;
        let detail = failed(&stack, sid).await;
        assert!(detail.contains(reason), "{detail}");
        // It is in the report, too.
        webhooks::round(&stack).await;
        let report = stack.get("/reports/completeness").await.body;
        let listed = report["archive"]["failed"]["entries"].as_array().unwrap();
        assert!(
            listed.iter().any(|it| it["reason"].as_str().unwrap().contains(reason)),
            "{report}"
        );
    }
}

/// A proxy of S3 that counts requests and can refuse parts.
#[derive(Clone, Default)]
struct Parts {
    sent: Arc<AtomicUsize>,
    is_broken: Arc<AtomicBool>,
}

async fn count_parts(State(parts): State<Parts>, request: Request, next: Next) -> Response {
    let is_part =
        request.method() == Method::PUT && request.uri().query().is_some_and(|query| query.contains("partNumber"));
    if is_part && parts.sent.load(Ordering::Relaxed) >= 1 && parts.is_broken.load(Ordering::Relaxed) {
        return Response::builder().status(503).body("".into()).unwrap();
    }
    if is_part {
        parts.sent.fetch_add(1, Ordering::Relaxed);
    }
    next.run(request).await
}

#[tokio::test]
async fn an_interrupted_copy_is_continued_and_a_broken_download_too() {
    let parts = Parts::default();
    parts.is_broken.store(true, Ordering::Relaxed);
    let layer = {
        let parts = parts.clone();
        move |router: Router| router.layer(from_fn_with_state(parts, count_parts))
    };
    let (_backing, stack) = behind(layer, &[("ARCHIVE_TWILIO", "copy")]).await;
    let began = Timestamp::now();
    // 20 MiB: three parts.
    let bytes = 20 * 1024 * 1024_u64;
    stack.stack.twilio.add(Recording {
        sid: SID.into(),
        call_sid: CALL.into(),
        duration: Some((bytes / 16_000) as u32),
        start_time: began,
        media: Media::Generated { bytes },
        ..Recording::default()
    });
    stack.stack.twilio.fault(format!("{SID}.wav"), Fault::Truncate, Some(1));
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    while parts.sent.load(Ordering::Relaxed) < 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let state = stack.calls();
    let sid = shared::clients::twilio::RecordingSid::parse(SID).unwrap();
    // The worker has given up this attempt, and the next one waits.
    loop {
        let known = state.twilio_recording(&sid).await.unwrap();
        if known.is_some_and(|known| known.copying.upload.is_some() && known.copying.is_copying) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    parts.is_broken.store(false, Ordering::Relaxed);
    let queue = stack.stack.environment.required("ARCHIVE_QUEUE_URL").unwrap();
    let message = json!({"recording_sid": SID, "attempts": 1}).to_string();
    let send = stack.aws().sqs().send_message().queue_url(queue).message_body(message);
    send.send().await.unwrap();
    let found = copied(&stack, SID).await;
    assert_eq!((found.status.as_u16(), &found.body["size_bytes"]), (200, &json!(bytes)));
}

#[tokio::test]
async fn wherever_the_worker_is_killed_the_recording_is_copied_whole() {
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let environment = stack
        .stack
        .environment
        .iter()
        .chain([("ARCHIVE_TWILIO", "move"), ("MOVE_AFTER_HOURS", "0")]);
    let environment = environment.collect();
    let calls = stack.calls();
    let began = Timestamp::now();
    let wav = sound(6.0);
    for waits in (1..).step_by(2) {
        let worker = archive_recording::State::from_env(&environment).await.unwrap();
        let (sid, call) = (format!("RE{waits:032x}"), format!("CA{waits:032x}"));
        record(&stack, &sid, &call, began, Media::Tones(wav.clone()));
        let deliver = async |delete: bool| {
            let message = json!({"recording_sid": sid, "delete": delete}).to_string();
            let batch = json!({"Records": [{"messageId": "m", "body": message}]});
            let batch = serde_json::from_value(batch).unwrap();
            let deadline = std::time::SystemTime::now() + Duration::from_secs(900);
            serde_json::to_value(invoked(archive_recording::handle(&worker, batch, deadline)).await).unwrap()
        };
        let finished = killed_after(waits, deliver(false)).await.is_some();
        assert_eq!(deliver(false).await, json!({"batchItemFailures": []}));
        let parsed = shared::clients::twilio::RecordingSid::parse(&sid).unwrap();
        let found = calls.twilio_recording(&parsed).await.unwrap().unwrap();
        let copy = found
            .recording
            .copied()
            .unwrap_or_else(|| panic!("not copied after a kill at wait {waits}"));
        assert_eq!(
            (copy.size, copy.channels, copy.duration),
            (wav.bytes().len() as i64, 2, 6)
        );
        let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
        let object = s3
            .get_object()
            .bucket(local::stack::account::BUCKET)
            .key(&copy.key)
            .send()
            .await
            .unwrap();
        assert_eq!(object.body.collect().await.unwrap().into_bytes(), wav.bytes());
        // And wherever it is killed while it deletes at Twilio, the copy stays and Twilio's recording goes.
        killed_after(waits, deliver(true)).await;
        deliver(true).await;
        let found = calls.twilio_recording(&parsed).await.unwrap().unwrap();
        assert_eq!(
            (found.recording.status.as_str(), found.recording.copied().is_some()),
            ("deleted", true)
        );
        if finished {
            assert!(waits > 20, "the worker finished after {waits} waits");
            return;
        }
    }
}

#[tokio::test]
async fn an_incomplete_file_is_neither_stored_nor_deleted_at_twilio() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "move"), ("MOVE_AFTER_HOURS", "0")]).await;
    let began = Timestamp::now();
    // Twilio states 6 s, and sends 3 s.
    record(&stack, SID, CALL, began, Media::Tones(sound(3.0)));
    let recording = shared::calls::TwilioRecording {
        status: shared::clients::twilio::RecordingStatus::new("completed"),
        sid: SID.into(),
        start_time: Some(began),
        ..Default::default()
    };
    stack
        .calls()
        .record_twilio_recording(CALL, &recording, Some("15103455686"), None)
        .await
        .unwrap();
    // The last attempt.
    let queue = stack.stack.environment.required("ARCHIVE_QUEUE_URL").unwrap();
    let message = json!({"recording_sid": SID, "attempts": 5}).to_string();
    let send = stack.aws().sqs().send_message().queue_url(queue).message_body(message);
    send.send().await.unwrap();
    let detail = failed(&stack, SID).await;
    assert!(detail.contains("Twilio states 6 s and sent 3.0 s"), "{detail}");
    webhooks::round(&stack).await;
    assert_eq!(twilio_requests(&stack, "DELETE", ".json"), 0);
    // When Twilio has the whole file, a request copies it.
    record(&stack, SID, CALL, began, Media::Tones(sound(6.0)));
    assert_eq!(
        stack
            .post(&format!("/recordings/{SID}/archive"), &json!({}))
            .await
            .status,
        202
    );
    assert_eq!(copied(&stack, SID).await.status, 200);
}

#[tokio::test]
async fn a_copy_that_is_deleted_or_overwritten_in_the_bucket_is_not_offered_any_more() {
    let (stack, began) = recorded("copy").await;
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    let key = copied(&stack, SID).await.body["s3_key"].as_str().unwrap().to_owned();
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let bucket = local::stack::account::BUCKET;
    s3.put_object()
        .bucket(bucket)
        .key(&key)
        .body(vec![1; 10].into())
        .send()
        .await
        .unwrap();
    while stack.get(&format!("/recordings/{SID}")).await.body["size_bytes"] != 10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    s3.delete_object().bucket(bucket).key(&key).send().await.unwrap();
    while stack.get(&format!("/recordings/{SID}")).await.status != 409 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Twilio still has it.
    assert_eq!(
        stack
            .post(&format!("/recordings/{SID}/archive"), &json!({}))
            .await
            .status,
        202
    );
    assert_eq!(copied(&stack, SID).await.body["size_bytes"], sound(6.0).bytes().len());
}

/// The copy that was verified is gone, so that Twilio's is the only one.
#[tokio::test]
async fn a_recording_whose_copy_was_overwritten_is_not_deleted_at_twilio() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "move"), ("MOVE_AFTER_HOURS", "0")]).await;
    let began = Timestamp::now();
    record(&stack, SID, CALL, began, Media::Tones(sound(6.0)));
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    let key = copied(&stack, SID).await.body["s3_key"].as_str().unwrap().to_owned();
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let put = s3.put_object().bucket(local::stack::account::BUCKET).key(&key);
    put.body(vec![1; 10].into()).send().await.unwrap();
    while stack.get(&format!("/recordings/{SID}")).await.body["size_bytes"] != 10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let problem = async || {
        webhooks::round(&stack).await;
        let report = stack.get("/reports/completeness").await.body;
        let problems = report["problems"].as_array().unwrap().clone();
        problems.iter().any(|it| it["code"] == "twilio_not_deleted")
    };
    let mut is_told = false;
    for _ in 0..600 {
        is_told = problem().await;
        if is_told {
            break;
        }
        // A deletion that failed is due again after an hour, which this test does not wait.
        let lifecycle = shared::lifecycle::Lifecycle::from_env(&stack.stack.environment, &stack.aws()).unwrap();
        let sid = shared::clients::twilio::RecordingSid::parse(SID).unwrap();
        let due = lifecycle
            .due_copies(shared::lifecycle::DueList::Move, Timestamp::MAX, 10)
            .await
            .unwrap();
        if due.iter().any(|due| due.reason.is_some()) {
            lifecycle
                .make_due(&sid, shared::lifecycle::DueList::Move, Timestamp::now())
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_told, "the report does not say why Twilio keeps the recording");
    assert_eq!(twilio_requests(&stack, "DELETE", ".json"), 0);
}

/// Sends a message of the queue of copies, whose attempt is the last one.
async fn try_for_the_last_time(stack: &TestStack, sid: &str) {
    let queue = stack.stack.environment.required("ARCHIVE_QUEUE_URL").unwrap();
    let message = json!({"recording_sid": sid, "attempts": 5}).to_string();
    let send = stack.aws().sqs().send_message().queue_url(queue).message_body(message);
    send.send().await.unwrap();
}

/// signalwire/docs-legacy 634: whether a file has both channels can't be relied on.
#[tokio::test]
async fn a_recording_on_two_channels_is_not_stored_on_one() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "move"), ("MOVE_AFTER_HOURS", "0")]).await;
    let began = Timestamp::now();
    record(
        &stack,
        SID,
        CALL,
        began,
        Media::Tones(Wav::new(8_000, [Script::spoken(6.0, 1)])),
    );
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    try_for_the_last_time(&stack, SID).await;
    let detail = failed(&stack, SID).await;
    assert!(detail.contains("two channels"), "{detail}");
    webhooks::round(&stack).await;
    assert_eq!(twilio_requests(&stack, "DELETE", ".json"), 0);
}

/// A server that sends the first `received` bytes of a file and closes the connection, without having said how many there are.
async fn unframed(stack: &TestStack) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let twilio = stack.stack.environment.required("TWILIO_BASE_URL").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let read = connection.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let authorization = request.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .starts_with("authorization:")
                    .then(|| line[14..].trim().to_owned())
            });
            let answer = reqwest::Client::new()
                .get(format!("{twilio}{path}"))
                .header("authorization", authorization.unwrap_or_default())
                .send()
                .await
                .unwrap();
            let bytes = answer.bytes().await.unwrap();
            let head = match path.ends_with(".json") {
                true => format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    bytes.len()
                ),
                false => "HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\nconnection: close\r\n\r\n".to_owned(),
            };
            let sent = if path.ends_with(".json") {
                bytes.len()
            } else {
                bytes.len() * 99 / 100
            };
            let _ = connection.write_all(head.as_bytes()).await;
            let _ = connection.write_all(&bytes[..sent]).await;
        }
    });
    address
}

async fn process(stack: &TestStack, twilio: &str, attempts: u32) -> Value {
    let own = [("ARCHIVE_TWILIO", "copy"), ("TWILIO_BASE_URL", twilio)];
    let environment = stack
        .stack
        .environment
        .iter()
        .filter(|(name, _)| *name != "TWILIO_BASE_URL")
        .chain(own);
    let worker = archive_recording::State::from_env(&environment.collect())
        .await
        .unwrap();
    let body = json!({"recording_sid": SID, "attempts": attempts}).to_string();
    let batch = serde_json::from_value(json!({"Records": [{"messageId": "m", "body": body}]})).unwrap();
    let deadline = std::time::SystemTime::now() + Duration::from_secs(900);
    serde_json::to_value(invoked(archive_recording::handle(&worker, batch, deadline)).await).unwrap()
}

/// xroche/httrack 840: a body that ends with the connection looks whole, wherever it ends.
#[tokio::test]
async fn a_download_whose_end_is_not_known_is_not_a_copy() {
    let stack = TestStack::empty().await;
    record(&stack, SID, CALL, Timestamp::now(), Media::Tones(sound(6.0)));
    let twilio = unframed(&stack).await;
    assert_eq!(process(&stack, &twilio, 5).await, json!({"batchItemFailures": []}));
    let detail = failed(&stack, SID).await;
    assert!(detail.contains("where it ends"), "{detail}");
}

/// BitMiracle-AI/Dormice 86: the rest of another file completes the first one.
#[tokio::test]
async fn a_broken_download_is_not_continued_with_another_file() {
    let stack = TestStack::empty().await;
    let began = Timestamp::now();
    record(&stack, SID, CALL, began, Media::Tones(sound(6.0)));
    let files = Arc::new(AtomicUsize::new(0));
    let counted = files.clone();
    let twilio = stack.stack.environment.required("TWILIO_BASE_URL").unwrap().to_owned();
    let wav = sound(6.0).bytes();
    let proxy = Router::new().fallback(move |request: Request| {
        let (twilio, wav, files) = (twilio.clone(), wav.clone(), counted.clone());
        async move {
            let path = request.uri().path_and_query().unwrap().as_str().to_owned();
            if path.contains(".wav") {
                let number = files.fetch_add(1, Ordering::Relaxed);
                let etag = format!("\"{number}\"");
                let answer = Response::builder()
                    .header("etag", etag)
                    .header("content-length", wav.len());
                let half = futures_util::stream::iter([
                    Ok(bytes::Bytes::from(wav[..wav.len() / 2].to_vec())),
                    Err(std::io::Error::other("broken")),
                ]);
                // The head and the first half are sent before the connection breaks.
                let half = half.then(async |part| {
                    tokio::time::sleep(Duration::from_millis(if part.is_err() { 200 } else { 0 })).await;
                    part
                });
                return match number {
                    0 => answer.body(axum::body::Body::from_stream(half)).unwrap(),
                    _ => answer.body(wav.into()).unwrap(),
                };
            }
            let authorization = request.headers()["authorization"].clone();
            let answer = reqwest::Client::new()
                .get(format!("{twilio}{path}"))
                .header("authorization", authorization);
            Response::new(answer.send().await.unwrap().bytes().await.unwrap().into())
        }
    });
    let proxy = crate::stack::serve(proxy).await;
    process(&stack, &proxy, 5).await;
    let detail = failed(&stack, SID).await;
    assert!(detail.contains("another one"), "{detail}");
    // From its beginning it can be received.
    process(&stack, &proxy, 0).await;
    assert_eq!(copied(&stack, SID).await.status, 200);
}

#[tokio::test]
async fn the_command_copies_older_recordings_and_only_those_that_are_missing() {
    let (stack, began) = recorded("off").await;
    webhooks::recording_completes(&stack, CALL, SID, began).await;
    let other = "RE00000000000000000000000000000072";
    record(
        &stack,
        other,
        "CA00000000000000000000000000000072",
        began,
        Media::Tones(sound(6.0)),
    );
    webhooks::recording_completes(&stack, "CA00000000000000000000000000000072", other, began).await;
    let api = stack.stack.api_url.clone().unwrap();
    let run = async |arguments: &[&str]| {
        let since = began.strftime("%Y-%m-%d").to_string();
        let all = [
            "archive",
            "--since",
            &since,
            "--api",
            &api,
            "--api-key",
            local::demo::API_KEY,
        ];
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_local"))
            .args(all)
            .args(arguments)
            .output();
        let output = output.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let dry = run(&["--dry-run"]).await;
    assert!(
        dry.contains("2 Twilio recordings seen, 0 in the bucket, 2 queued"),
        "{dry}"
    );
    stack
        .get(&format!("/recordings/{SID}"))
        .await
        .recordings_error(409, "recording_not_archived");
    run(&["--rate", "50"]).await;
    for sid in [SID, other] {
        assert_eq!(copied(&stack, sid).await.status, 200);
    }
    let again = run(&[]).await;
    assert!(
        again.contains("2 Twilio recordings seen, 2 in the bucket, 0 queued"),
        "{again}"
    );
}
