//! Calls are held, erased for good, and have a receipt; and nothing brings them back.

use std::{
    collections::BTreeSet,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    stack::account,
    standins::{
        tones::{Script, Wav},
        twilio::{Fault, Media, Recording},
    },
};
use serde_json::{Value, json};
use shared::erasure::verify;

use crate::{
    archived::behind,
    killed::killed_after,
    stack::{Answer, TestStack, answer, log_of_this_thread, serve},
    webhooks,
};

const PHONE: &str = "15103455686";
const NAME: &str = "Louis Planted Smith";
const SID: &str = "RE00000000000000000000000000000091";
const CALL: &str = "CA00000000000000000000000000000091";

/// A call that LiveKit and Twilio have recorded, with an interaction, a transcript of each recording, a copy and a share.
struct Planted {
    dispatch: String,
    key: String,
    began: Timestamp,
    /// Words of the transcripts.
    phrase: String,
}

fn send(stack: &TestStack, method: Method, path: &str) -> reqwest::RequestBuilder {
    stack.request(method, path).header("X-API-Key", demo::API_KEY)
}

async fn delete(stack: &TestStack, path: &str) -> Answer {
    answer(send(stack, Method::DELETE, path)).await
}

async fn patch(stack: &TestStack, path: &str, body: &Value) -> Answer {
    answer(send(stack, Method::PATCH, path).json(body)).await
}

async fn put_object(stack: &TestStack, key: &str, bytes: Vec<u8>) {
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let put = s3.put_object().bucket(account::BUCKET).key(key).body(bytes.into());
    put.send().await.unwrap();
}

fn sound(seed: u64) -> Wav {
    Wav::new(16_000, [Script::spoken(3.0, seed)])
}

async fn plant(stack: &TestStack) -> Planted {
    let began = Timestamp::now() - SignedDuration::from_mins(90);
    let dispatch = format!("dispatch_{}_{PHONE}", began.as_second());
    let key = format!(
        "egress-recordings/{}/outbound-{PHONE}_{}.wav",
        began.strftime("%Y/%m/%d"),
        began.as_second() + 2
    );
    put_object(stack, &key, sound(1).bytes()).await;
    let interaction = json!({
        "interaction_id": "i-planted", "dispatch_id": dispatch, "phone": format!("+{PHONE}"), "customer_name": NAME,
        "start_time": began.to_string(), "status": "COMPLETED",
    });
    assert!(stack.post("/interactions", &interaction).await.status.is_success());
    stack.stack.twilio.add_call(CALL, format!("+{PHONE}"));
    stack.stack.twilio.add(Recording {
        sid: SID.into(),
        call_sid: CALL.into(),
        duration: Some(3),
        start_time: began,
        date_created: began,
        date_updated: began,
        media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 2)])),
        ..Recording::default()
    });
    webhooks::recording_completes(stack, CALL, SID, began).await;
    wait_until(async || stack.get(&format!("/recordings/{SID}")).await.status == 200).await;
    wait_until(async || stack.get(&format!("/recordings/{dispatch}")).await.status == 200).await;
    let path = format!("/recordings/{dispatch}/transcript");
    let made = stack.post(&path, &json!({})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let other = stack.post(&path, &json!({"language": "en"})).await;
    assert_eq!(other.status, 200, "{}", other.body);
    let by_twilio = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    assert_eq!(by_twilio.status, 200, "{}", by_twilio.body);
    let share = json!({"expires_in": 600, "note": NAME});
    let shared = stack.post(&format!("/recordings/{dispatch}/shares"), &share).await;
    let token = shared.body["token"].as_str().unwrap().to_owned();
    assert_eq!(
        stack
            .request(Method::GET, &format!("/s/{token}"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    Planted {
        phrase: made.body["transcript"].as_str().unwrap().to_owned(),
        dispatch,
        key,
        began,
    }
}

/// Waits for at most a minute.
#[track_caller]
fn wait_until(is_so: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let place = Location::caller();
    async move {
        for _ in 0..1200 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{place} has waited for a minute");
    }
}

/// Waits until the erasure is done.
async fn done(stack: &TestStack, erasure: &Answer) -> Value {
    assert_eq!(erasure.status, 202, "{}", erasure.body);
    let path = erasure.body["status_url"].as_str().unwrap();
    for _ in 0..1200 {
        let body = stack.get(path).await.body;
        if body["status"] == "done" {
            return body;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not done: {}", stack.get(path).await.body)
}

/// Waits until an attempt has left something.
async fn left(stack: &TestStack, erasure: &Answer) -> Value {
    assert_eq!(erasure.status, 202, "{}", erasure.body);
    let path = erasure.body["status_url"].as_str().unwrap();
    loop {
        let body = stack.get(path).await.body;
        assert_eq!(body["status"], "pending", "{body}");
        if body["calls_left"] != 0 {
            return body;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn step<'a>(body: &'a Value, kind: &str) -> &'a Value {
    body["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["kind"] == kind)
        .unwrap()
}

/// Everything that the stack stores, as text: all items of all tables with their unpacked texts, the names and contents of objects, and
/// messages.
async fn everything(stack: &TestStack) -> Vec<String> {
    let mut found = Vec::new();
    let dynamodb = stack.aws().dynamodb();
    for table in [
        account::CALLS_TABLE,
        account::TRANSCRIPTS_TABLE,
        account::SHARES_TABLE,
        account::LIFECYCLE_TABLE,
    ] {
        let mut items = dynamodb.scan().table_name(table).into_paginator().items().send();
        while let Some(item) = items.next().await {
            let item = item.unwrap();
            if let Some(AttributeValue::B(packed)) = item.get("speech") {
                use std::io::Read;
                let mut text = String::new();
                let read = flate2::read::DeflateDecoder::new(packed.as_ref()).read_to_string(&mut text);
                assert!(
                    read.is_ok() && !text.is_empty(),
                    "a packed text that this test can't read"
                );
                found.push(text);
            }
            found.push(format!("{table}: {item:?}"));
        }
    }
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let listed = s3.list_objects_v2().bucket(account::BUCKET).send().await.unwrap();
    for object in listed.contents.unwrap_or_default() {
        found.push(format!("object {}", object.key.unwrap()));
    }
    found
}

#[tokio::test]
async fn nothing_of_an_erased_caller_is_left_in_tables_bucket_twilio_and_reports_and_nothing_brings_it_back() {
    let log = log_of_this_thread();
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy")]).await;
    let planted = plant(&stack).await;
    // A call without a recording, which the report lists.
    let lost = planted.began - SignedDuration::from_hours(6);
    let interaction = json!({"interaction_id": "i-lost", "phone": format!("+{PHONE}"), "customer_name": NAME, "start_time": lost.to_string()});
    assert!(stack.post("/interactions", &interaction).await.status.is_success());
    webhooks::round(&stack).await;
    let words = [PHONE, NAME, planted.phrase.as_str(), "i-planted", CALL];
    let before = everything(&stack).await;
    for word in words {
        assert!(before.iter().any(|text| text.contains(word)), "{word} is not planted");
    }

    let body = json!({"phone": "+1 (510) 345-5686", "reason": format!("{NAME} asked for it")});
    let preview = stack
        .post("/erasures", &json!({"phone": format!("+{PHONE}"), "dry_run": true}))
        .await;
    assert_eq!(preview.status, 200, "{}", preview.body);
    let expected = json!({"calls": 2, "recordings": 1, "copies": 1, "twilio_recordings": 1, "transcripts": 1});
    assert_eq!(preview.body["erases"], expected);
    let requested = stack.post("/erasures", &body).await;
    assert_eq!(
        requested.headers["location"],
        *requested.body["status_url"].as_str().unwrap()
    );
    let erased = done(&stack, &requested).await;
    for (kind, count) in [
        ("recordings", 1),
        ("copies", 1),
        ("twilio_recordings", 1),
        ("transcripts", 3),
        ("shares", 1),
        ("calls", 2),
    ] {
        let step = step(&erased, kind);
        assert_eq!(
            (&step["state"], &step["erased"]),
            (&json!("done"), &json!(count)),
            "{kind}"
        );
    }

    let is_left = async || {
        let texts = everything(&stack).await;
        let texts = texts
            .into_iter()
            .filter(|text| words.iter().any(|word| text.contains(word)));
        texts.collect::<Vec<_>>()
    };
    assert_eq!(is_left().await, Vec::<String>::new());
    for path in ["", "/audio", "/transcript", "/shares"] {
        for id in [planted.dispatch.as_str(), CALL, SID] {
            let gone = stack.get(&format!("/recordings/{id}{path}")).await;
            assert!(
                gone.status == 404 || gone.body["shares"] == json!([]),
                "{path}: {}",
                gone.body
            );
        }
    }

    // Late events, the reconciler, an import and a file that is written again.
    let late = json!({"interaction_id": "i-planted", "dispatch_id": planted.dispatch, "customer_name": NAME, "status": "PAID"});
    assert!(stack.post("/interactions", &late).await.status.is_success());
    let other = json!({"interaction_id": "i-other", "dispatch_id": planted.dispatch, "customer_name": NAME});
    assert!(stack.post("/interactions", &other).await.status.is_success());
    webhooks::recording_completes(&stack, CALL, SID, planted.began).await;
    put_object(&stack, &planted.key, sound(1).bytes()).await;
    for _ in 0..2 {
        webhooks::round(&stack).await;
    }
    assert_eq!(
        stack.get(&format!("/recordings/{}", planted.dispatch)).await.status,
        404
    );
    for list in ["/recordings", "/recordings?has_recording=false"] {
        assert_eq!(stack.get(list).await.body["recordings"], json!([]), "{list}");
    }
    let left = is_left().await;
    assert!(left.iter().all(|text| text.starts_with("object ")), "{left:#?}");

    for word in [PHONE, NAME, planted.phrase.as_str()] {
        let lines: Vec<_> = log
            .text()
            .lines()
            .filter(|line| line.contains(word))
            .map(str::to_owned)
            .collect();
        assert_eq!(lines, Vec::<String>::new(), "the log has {word}");
    }

    // The receipt is signed, names no person, and says what remains.
    let receipt = verify(&erased.to_string(), None).unwrap();
    let text = receipt.receipt.to_string();
    assert!(words.iter().all(|word| !text.contains(word)), "{text}");
    assert_eq!(receipt.receipt["calls"], 2);
    let remains = receipt.receipt["remains"].as_array().unwrap();
    assert!(remains.iter().any(|it| it["what"].as_str().unwrap().contains("Twilio")));
    // The command checks it offline.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("receipt.json");
    let check = |text: String| {
        std::fs::write(&file, text).unwrap();
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_local"))
            .arg("verify-receipt")
            .arg(&file)
            .output();
        command.unwrap()
    };
    assert!(check(erased.to_string()).status.success());
    let altered = check(erased.to_string().replace("\"calls\":2", "\"calls\":1"));
    assert!(!altered.status.success());
    assert!(
        String::from_utf8_lossy(&altered.stderr).contains("altered"),
        "{altered:?}"
    );
    // Whoever asks again is told that there is nothing.
    stack
        .post("/erasures", &body)
        .await
        .recordings_error(404, "call_not_found");
}

#[tokio::test]
async fn a_hold_stops_every_erasure_until_it_is_lifted() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy"), ("RETENTION_DAYS", "1")]).await;
    let planted = plant(&stack).await;
    let path = format!("/recordings/{}", planted.dispatch);
    let held = patch(&stack, &path, &json!({"hold": {"reason": "Complaint 17"}})).await;
    assert_eq!(held.status, 200, "{}", held.body);
    assert_eq!(
        (&held.body["hold"]["reason"], &held.body["hold"]["by"]),
        (&json!("Complaint 17"), &json!("demo"))
    );
    assert_eq!(stack.get(&path).await.body["call"]["hold"]["reason"], "Complaint 17");
    for id in [planted.dispatch.as_str(), SID, CALL] {
        let refused = delete(&stack, &format!("/recordings/{id}")).await;
        let detail = refused.recordings_error(409, "recording_held");
        assert!(detail.contains("Complaint 17"), "{detail}");
    }
    for target in [
        json!({"phone": format!("+{PHONE}")}),
        json!({"interaction_id": "i-planted"}),
        json!({"recording_sid": SID}),
    ] {
        stack
            .post("/erasures", &target)
            .await
            .recordings_error(409, "recording_held");
    }
    // Among several calls the held one stays.
    let other = json!({"interaction_id": "i-2", "phone": format!("+{PHONE}"), "start_time": (planted.began - SignedDuration::from_hours(9)).to_string()});
    assert!(stack.post("/interactions", &other).await.status.is_success());
    let both = stack.post("/erasures", &json!({"phone": format!("+{PHONE}")})).await;
    let kept = left(&stack, &both).await;
    assert_eq!((&kept["calls"], &kept["calls_left"]), (&json!(1), &json!(1)));
    assert_eq!(step(&kept, "recordings")["state"], "held");
    assert_eq!(step(&kept, "recordings")["reason"], "Complaint 17");
    assert_eq!(stack.get(&path).await.status, 200);

    assert_eq!(
        patch(&stack, &path, &json!({"hold": null})).await.body["hold"],
        Value::Null
    );
    done(&stack, &delete(&stack, &path).await).await;
    assert_eq!(stack.get(&path).await.status, 404);
    let late = patch(&stack, &path, &json!({"hold": {"reason": "too late"}})).await;
    assert_eq!(late.status, 404, "{}", late.body);
}

#[tokio::test]
async fn invalid_requests_say_what_is_accepted() {
    let stack = TestStack::empty().await;
    let tomorrow = (Timestamp::now() + SignedDuration::from_hours(24)).to_string();
    for (body, code, part) in [
        (json!({}), "missing_parameter", "exactly one"),
        (
            json!({"phone": "+15103455686", "dispatch_id": "x"}),
            "missing_parameter",
            "exactly one",
        ),
        (json!({"phone": "call me"}), "invalid_parameter", "country code"),
        (json!({"phone": "12"}), "invalid_parameter", "country code"),
        (
            json!({"phone": "+15103455686", "before": tomorrow}),
            "invalid_parameter",
            "not in the future",
        ),
        (
            json!({"phone": "+15103455686", "before": "yesterday"}),
            "invalid_parameter",
            "ISO 8601",
        ),
        (
            json!({"dispatch_id": "x", "before": "2025-01-01"}),
            "invalid_parameter",
            "phone only",
        ),
        (json!({"recording_sid": "RE1"}), "invalid_recording_sid", "hexadecimal"),
        (json!({"dispatch_id": "a/b"}), "invalid_dispatch_id", "letters"),
        (json!({"interaction_id": ""}), "invalid_parameter", "1 to 256"),
        (
            json!({"phone": "+15103455686", "reason": "x".repeat(501)}),
            "invalid_parameter",
            "500",
        ),
        (json!({"phone": "+15103455686", "cc": 1}), "invalid_body", ""),
    ] {
        let answer = stack.post("/erasures", &body).await;
        let detail = answer.recordings_error(400, code);
        assert!(detail.contains(part), "{body}: {detail}");
    }
    for target in [
        json!({"phone": "+15103455686"}),
        json!({"dispatch_id": "unknown"}),
        json!({"recording_sid": SID}),
        json!({"interaction_id": "no"}),
    ] {
        for dry_run in [false, true] {
            let mut body = target.clone();
            body["dry_run"] = dry_run.into();
            stack
                .post("/erasures", &body)
                .await
                .recordings_error(404, "call_not_found");
        }
    }
    delete(&stack, "/recordings/unknown")
        .await
        .recordings_error(404, "call_not_found");
    for id in ["unknown", "00000000000000000000000000000000", "retention-2025-01-01"] {
        stack
            .get(&format!("/erasures/{id}"))
            .await
            .recordings_error(404, "erasure_not_found");
    }
    for (body, code) in [
        (json!({}), "missing_parameter"),
        (json!({"hold": {"reason": " "}}), "invalid_parameter"),
        (json!({"hold": {}}), "invalid_body"),
        (json!({"retain_until": "2020-01-01T00:00:00Z"}), "invalid_parameter"),
        (json!({"retain_until": "soon"}), "invalid_body"),
    ] {
        patch(&stack, "/recordings/unknown", &body)
            .await
            .recordings_error(400, code);
    }
    patch(&stack, "/recordings/unknown", &json!({"hold": null}))
        .await
        .recordings_error(404, "call_not_found");
}

fn status(status: u16) -> Fault {
    Fault::Status {
        status,
        retry_after: None,
        body: None,
    }
}

#[tokio::test]
async fn what_twilio_refuses_is_told_and_erased_later() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy")]).await;
    let planted = plant(&stack).await;
    stack
        .stack
        .twilio
        .fault(format!("Recordings/{SID}.json"), status(401), None);
    let requested = delete(&stack, &format!("/recordings/{}", planted.dispatch)).await;
    let pending = left(&stack, &requested).await;
    let failed = step(&pending, "twilio_recordings");
    assert_eq!(
        (&failed["state"], &failed["code"]),
        (&json!("failed"), &json!("twilio_unauthorized"))
    );
    assert_eq!(step(&pending, "recordings")["state"], "done");
    assert_eq!(step(&pending, "calls")["state"], "pending");
    // From now on it can't be held any more, and late events add nothing.
    let hold = patch(&stack, &format!("/recordings/{SID}"), &json!({"hold": {"reason": "x"}})).await;
    hold.recordings_error(409, "recording_erased");
    // It is gone at Twilio meanwhile, which is as good.
    stack.stack.twilio.clear_faults();
    stack.stack.twilio.remove(SID);
    resend(&stack, &requested).await;
    let erased = done(&stack, &requested).await;
    assert_eq!(step(&erased, "twilio_recordings")["erased"], 0);
    assert_eq!(erased["receipt"]["receipt"]["calls"], 1);
}

/// Sends the message of an erasure again, which otherwise waits for its pause.
async fn resend(stack: &TestStack, erasure: &Answer) {
    let queue = stack.stack.environment.required("ERASURE_QUEUE_URL").unwrap();
    let message = json!({"erasure_id": erasure.body["erasure_id"]}).to_string();
    let send = stack.aws().sqs().send_message().queue_url(queue).message_body(message);
    send.send().await.unwrap();
}

#[tokio::test]
async fn two_erasures_of_one_call_at_once_end_with_two_receipts() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy")]).await;
    let planted = plant(&stack).await;
    let path = format!("/recordings/{}", planted.dispatch);
    let (one, other) = tokio::join!(delete(&stack, &path), delete(&stack, &path));
    let (one, other) = tokio::join!(done(&stack, &one), done(&stack, &other));
    let erased: BTreeSet<_> = [&one, &other].iter().map(|it| it["erasure_id"].to_string()).collect();
    assert_eq!(erased.len(), 2);
    assert_eq!(stack.get(&path).await.status, 404);
    // The messages of an erasure that is done do nothing.
    let again = Answer {
        body: one.clone(),
        status: StatusCode::ACCEPTED,
        headers: Default::default(),
    };
    resend(&stack, &again).await;
    assert_eq!(done(&stack, &again).await, one);
}

/// A bucket with versions, one of which Object Lock protects.
async fn versions(State(locked_until): State<String>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_recording = query.contains("outbound-") || request.uri().path().contains("outbound-");
    if request.method() == Method::GET
        && query.split('&').any(|it| it == "versions" || it == "versions=")
        && is_recording
    {
        let key = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
        let key = percent_encoding::percent_decode_str(key.unwrap())
            .decode_utf8()
            .unwrap()
            .into_owned();
        let version = |name: &str, id: &str| {
            format!("<Version><Key>{name}</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest></Version>")
        };
        let body = format!(
            "<ListVersionsResult><IsTruncated>false</IsTruncated>{}{}{}<DeleteMarker><Key>{key}</Key><VersionId>v3</VersionId></DeleteMarker></ListVersionsResult>",
            version(&key, "v1"),
            version(&key, "v2"),
            version(&format!("{key}.old"), "v9"),
        );
        return ([("content-type", "application/xml")], body).into_response();
    }
    let is_locked = query.contains("versionId=v2");
    if request.method() == Method::DELETE && is_locked {
        let body = "<Error><Code>AccessDenied</Code><Message>Access Denied because object protected by object lock.</Message></Error>";
        return (StatusCode::FORBIDDEN, [("content-type", "application/xml")], body).into_response();
    }
    if request.method() == Method::HEAD && is_locked {
        let response = Response::builder().header("x-amz-object-lock-mode", "COMPLIANCE");
        return response
            .header("x-amz-object-lock-retain-until-date", locked_until)
            .body(Body::empty())
            .unwrap();
    }
    assert!(
        !query.contains("versionId=v9"),
        "a version of another object is deleted"
    );
    if request.method() == Method::DELETE && query.contains("versionId=v") {
        return StatusCode::NO_CONTENT.into_response();
    }
    next.run(request).await
}

#[tokio::test]
async fn all_versions_of_a_recording_are_deleted_and_one_that_is_locked_is_told_with_its_time() {
    let until = Timestamp::now() + SignedDuration::from_hours(48);
    let until = until.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let state = until.clone();
    let (_backing, stack) = behind(
        move |router: Router| router.layer(from_fn_with_state(state, versions)),
        &[],
    )
    .await;
    let began = Timestamp::now() - SignedDuration::from_hours(1);
    let key = format!(
        "egress-recordings/{}/outbound-{PHONE}_{}.wav",
        began.strftime("%Y/%m/%d"),
        began.as_second()
    );
    _backing.put_object(&key, &sound(1).bytes());
    let id = format!("dispatch_{}_{PHONE}", began.as_second());
    assert_eq!(stack.get(&format!("/recordings/{id}")).await.status, 200);
    let pending = left(&stack, &delete(&stack, &format!("/recordings/{id}")).await).await;
    let locked = step(&pending, "recordings");
    assert_eq!(
        (&locked["state"], &locked["code"], &locked["until"]),
        (&json!("pending"), &json!("object_locked"), &json!(until))
    );
}

#[tokio::test]
async fn calls_past_their_time_are_erased_and_those_with_another_time_are_not() {
    let stack = TestStack::with_environment([("RETENTION_DAYS", "30")]).await;
    let now = Timestamp::now();
    let days = |days: i64| now - SignedDuration::from_hours(24 * days);
    let mut ids = Vec::new();
    for (number, began) in [(0, days(40)), (1, days(40)), (2, days(40)), (3, days(5)), (4, days(5))] {
        let phone = 15_550_001_000_u64 + number;
        let key = format!(
            "egress-recordings/{}/outbound-{phone}_{}.wav",
            began.strftime("%Y/%m/%d"),
            began.as_second()
        );
        put_object(&stack, &key, sound(number).bytes()).await;
        let id = format!("dispatch_{}_{phone}", began.as_second());
        wait_until(async || stack.get(&format!("/recordings/{id}")).await.status == 200).await;
        ids.push(format!("/recordings/{id}"));
    }
    let missing = json!({"interaction_id": "i-old", "phone": "+15550001009", "customer_name": NAME, "start_time": days(40).to_string()});
    assert!(stack.post("/interactions", &missing).await.status.is_success());
    assert_eq!(
        patch(&stack, &ids[1], &json!({"hold": {"reason": "a dispute"}}))
            .await
            .status,
        200
    );
    let later = json!({"retain_until": (now + SignedDuration::from_hours(24)).to_string()});
    assert_eq!(patch(&stack, &ids[2], &later).await.status, 200);
    let soon = json!({"retain_until": (Timestamp::now() + SignedDuration::from_secs(2)).to_string()});
    assert_eq!(patch(&stack, &ids[4], &soon).await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    webhooks::round(&stack).await;
    wait_until(async || stack.get(&ids[0]).await.status == 404 && stack.get(&ids[4]).await.status == 404).await;
    let kept = [&ids[1], &ids[2], &ids[3]];
    for path in kept {
        assert_eq!(stack.get(path).await.status, 200, "{path}");
    }
    wait_until(async || stack.get("/recordings?has_recording=false").await.body["recordings"] == json!([])).await;
    let today = now.strftime("%Y-%m-%d").to_string();
    wait_until(async || stack.get(&format!("/erasures/retention-{today}")).await.body["calls_left"] == 1).await;
    webhooks::round(&stack).await;
    let report = stack.get("/reports/completeness").await.body["retention"].clone();
    assert_eq!(
        (&report["erased"], &report["held"], &report["not_erased"]),
        (&json!(3), &json!(1), &json!(0)),
        "{report}"
    );
}

#[tokio::test]
async fn without_a_setting_nothing_is_ever_erased() {
    let stack = TestStack::empty().await;
    let old = json!({"interaction_id": "i-old", "phone": "+15550001009", "start_time": "2015-01-01T00:00:00Z"});
    assert!(stack.post("/interactions", &old).await.status.is_success());
    for _ in 0..2 {
        webhooks::round(&stack).await;
    }
    assert_eq!(
        stack.get("/recordings?has_recording=false").await.body["recordings"][0]["interaction_id"],
        "i-old"
    );
}

#[tokio::test]
async fn transcripts_end_before_their_calls_if_the_deployment_says_so() {
    let stack = TestStack::with_environment([("TRANSCRIPT_RETENTION_DAYS", "10")]).await;
    let began = Timestamp::now() - SignedDuration::from_hours(24 * 20);
    let key = format!(
        "egress-recordings/{}/outbound-{PHONE}_{}.wav",
        began.strftime("%Y/%m/%d"),
        began.as_second()
    );
    put_object(&stack, &key, sound(1).bytes()).await;
    let id = format!("dispatch_{}_{PHONE}", began.as_second());
    wait_until(async || stack.get(&format!("/recordings/{id}")).await.status == 200).await;
    let path = format!("/recordings/{id}/transcript");
    assert!(stack.post(&path, &json!({})).await.status.is_success());
    crate::jobs::finished(&stack, &path).await;
    // The first round counts the day, and only then the sweep reads it.
    let days = stack.stack.environment.clone();
    let reconcile = reconcile_recordings::State::from_env(&days).await.unwrap();
    for _ in 0..2 {
        let later = std::time::SystemTime::now() + Duration::from_secs(900);
        assert!(reconcile_recordings::handle(&reconcile, later).await.unwrap().finished);
    }
    let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
    let resent = Answer {
        body: json!({"erasure_id": format!("retention-{today}")}),
        status: StatusCode::ACCEPTED,
        headers: Default::default(),
    };
    wait_until(async || stack.get(&format!("/erasures/retention-{today}")).await.body["status"] == "done").await;
    let counted = stack
        .get(&format!("/reports/daily?from={0}&to={0}", began.strftime("%Y-%m-%d")))
        .await;
    if counted.body["days"][0]["transcripts"] == 1 && stack.get(&path).await.body["status"] == "completed" {
        // The sweep of the first round came before the count: the one of the next day follows.
        let client = stack.aws().dynamodb();
        let delete = client.delete_item().table_name(account::LIFECYCLE_TABLE);
        let item = format!("erasure#retention-{today}");
        delete.key("id", AttributeValue::S(item)).send().await.unwrap();
        let retention = shared::erasure::Retention {
            days: None,
            transcript_days: Some(10),
        };
        let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
        assert!(queue.request(&retention.erasure(Timestamp::now())).await.unwrap());
        resend(&stack, &resent).await;
    }
    wait_until(async || stack.get(&path).await.body["code"] == "transcript_not_found").await;
    assert_eq!(stack.get(&format!("/recordings/{id}")).await.status, 200);
}

/// A call with a recording, an interaction and a transcript, without a running API.
async fn plant_quietly(stack: &TestStack, number: u64) -> (String, String) {
    let began = Timestamp::now() - SignedDuration::from_mins(90);
    let phone = 15_550_007_000 + number;
    let dispatch = format!("dispatch_{}_{phone}", began.as_second());
    let key = format!(
        "egress-recordings/{}/outbound-{phone}_{}.wav",
        began.strftime("%Y/%m/%d"),
        began.as_second()
    );
    stack.put_object(&key, &sound(1).bytes());
    let calls = stack.calls();
    let bucket = shared::clients::bucket::RecordingsBucket::from_env(&stack.stack.environment, &stack.aws());
    let bucket = bucket.unwrap().unwrap();
    shared::calls::index_object(&calls, &bucket, &key, None).await.unwrap();
    let reported = shared::calls::Interaction {
        interaction_id: Some(format!("i-{number}")),
        dispatch_id: shared::ids::DispatchId::parse(&dispatch),
        fields: Default::default(),
        at: began,
    };
    calls.record_interaction(&reported).await.unwrap();
    let etag = bucket.head(&key).await.unwrap().unwrap().etag;
    let recording = shared::clients::bucket::RecordingRef {
        key: key.clone(),
        etag,
        size: None,
        recording_sid: None,
    };
    let transcripts = shared::transcripts::Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let audio = shared::transcripts::AudioId::Object(recording.clone());
    let variant = shared::transcripts::Variant::parse("default").unwrap();
    let id = shared::transcripts::TranscriptId::new(&audio, &variant);
    let policy = shared::transcripts::ClaimPolicy {
        queued: true,
        completed: false,
    };
    let claimed = transcripts
        .claim(&id, policy, Timestamp::now() + SignedDuration::from_secs(60))
        .await
        .unwrap();
    let shared::transcripts::ClaimResult::Granted(lease) = claimed else {
        panic!("{claimed:?}")
    };
    let transcript = shared::transcripts::Transcript {
        completed_at: Timestamp::now(),
        ..Default::default()
    };
    assert!(transcripts.complete(&lease, &transcript).await.unwrap());
    calls.mark_object_transcribed(&recording).await.unwrap();
    (dispatch, key)
}

/// An erasure in the table, whose message nobody has sent.
async fn store(stack: &TestStack, target: shared::erasure::Target) -> String {
    let erasure = shared::erasure::Erasure::new(shared::erasure::ErasureId::random(), target, Timestamp::now());
    let put = stack.aws().dynamodb().put_item().table_name(account::LIFECYCLE_TABLE);
    let put = put.item("id", AttributeValue::S(format!("erasure#{}", erasure.id)));
    let put = put.item("value", AttributeValue::S(serde_json::to_string(&erasure).unwrap()));
    put.item("version", AttributeValue::N("1".into())).send().await.unwrap();
    erasure.id.to_string()
}

async fn deliver(worker: &erase_recording::State, id: &str) -> Value {
    let message = json!({"erasure_id": id}).to_string();
    let batch = serde_json::from_value(json!({"Records": [{"messageId": "m", "body": message}]})).unwrap();
    let deadline = std::time::SystemTime::now() + Duration::from_secs(900);
    serde_json::to_value(erase_recording::handle(worker, batch, deadline).await).unwrap()
}

#[tokio::test]
async fn wherever_the_worker_is_killed_the_call_is_erased_whole() {
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    for waits in (1..).step_by(2) {
        let worker = erase_recording::State::from_env(&stack.stack.environment)
            .await
            .unwrap();
        let (dispatch, key) = plant_quietly(&stack, waits as u64).await;
        let target = shared::erasure::Target::Call(shared::ids::DispatchId::parse(&dispatch).unwrap());
        let id = store(&stack, target).await;
        let finished = killed_after(waits, deliver(&worker, &id)).await.is_some();
        for _ in 0..3 {
            assert_eq!(deliver(&worker, &id).await, json!({"batchItemFailures": []}));
        }
        let parsed = shared::erasure::ErasureId::parse(&id).unwrap();
        let erasure = queue.get(&parsed).await.unwrap().unwrap();
        assert!(erasure.is_done(), "not done after a kill at wait {waits}: {erasure:?}");
        let left = everything(&stack)
            .await
            .into_iter()
            .filter(|text| text.contains(&dispatch) || text.contains(&key));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "a kill at wait {waits}");
        let transcripts = everything(&stack)
            .await
            .into_iter()
            .filter(|text| text.starts_with("transcripts:"));
        assert_eq!(transcripts.count(), 0, "a kill at wait {waits}");
        if finished {
            assert!(waits > 20, "the worker finished after {waits} waits");
            return;
        }
    }
}

/// Counts the items that requests to DynamoDB write.
async fn count_writes(State(writes): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let written = match target.rsplit('.').next().unwrap_or_default() {
        "PutItem" | "UpdateItem" | "DeleteItem" => 1,
        "BatchWriteItem" => {
            let tables = json["RequestItems"].as_object().unwrap().values();
            tables.map(|requests| requests.as_array().unwrap().len()).sum()
        }
        "TransactWriteItems" => {
            let parts = json["TransactItems"].as_array().unwrap().iter();
            parts.filter(|part| part.get("ConditionCheck").is_none()).count()
        }
        _ => 0,
    };
    writes.fetch_add(written, Ordering::Relaxed);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

#[tokio::test]
async fn an_erasure_by_phone_needs_at_most_twelve_writes_a_call() {
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let calls = stack.calls();
    let number = 40_u64;
    for call in 0..number {
        let (dispatch, _) = plant_quietly(&stack, call).await;
        let reported = shared::calls::Interaction {
            interaction_id: Some(format!("i-{call}")),
            dispatch_id: shared::ids::DispatchId::parse(&dispatch),
            fields: [(shared::calls::Field::Phone, Some("+15550008000".into()))].into(),
            at: Timestamp::now(),
        };
        calls.record_interaction(&reported).await.unwrap();
    }
    let writes = Arc::<AtomicUsize>::default();
    let proxy = serve(
        stack
            .stack
            .aws
            .router()
            .layer(from_fn_with_state(writes.clone(), count_writes)),
    )
    .await;
    let environment = stack
        .stack
        .environment
        .iter()
        .chain([("AWS_ENDPOINT_URL", proxy.as_str())])
        .collect();
    let worker = erase_recording::State::from_env(&environment).await.unwrap();
    let id = store(&stack, shared::erasure::Target::Phone("15550008000".into())).await;
    deliver(&worker, &id).await;
    let writes = writes.load(Ordering::Relaxed);
    let queue = shared::erasure::ErasureQueue::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let erasure = queue
        .get(&shared::erasure::ErasureId::parse(&id).unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((erasure.is_done(), erasure.calls), (true, number));
    assert!(writes <= 12 * number as usize, "{writes} writes");
}
