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
    logs::log_of_this_thread,
    stack::{Answer, TestStack, answer, serve},
    webhooks,
};

mod keep;
mod worker;

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
        account::AUDIT_TABLE,
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
        // bmlt-enabled/yap 132, waynemerricks/asteriskphone 5: everybody who withholds the number has this one.
        (json!({"phone": "+266696687"}), "invalid_parameter", "withholds"),
        (json!({"phone": "+7378742883"}), "invalid_parameter", "withholds"),
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

/// glific/glific 5400: one person under several spellings.
#[tokio::test]
async fn a_number_is_found_whatever_its_spelling() {
    let stack = TestStack::empty().await;
    for (number, phone) in [
        "+15103455686",
        "+1 (510) 345-5686",
        "0015103455686",
        "+1 510 345 5686 ext. 3",
    ]
    .iter()
    .enumerate()
    {
        let at = (Timestamp::now() - SignedDuration::from_hours(number as i64 + 1)).to_string();
        let interaction = json!({"interaction_id": format!("i-{number}"), "phone": phone, "start_time": at});
        assert!(stack.post("/interactions", &interaction).await.status.is_success());
    }
    let erased = stack.post("/erasures", &json!({"phone": "001 510 345 5686"})).await;
    assert_eq!(done(&stack, &erased).await["calls"], 4);
    let left = stack.get("/recordings?has_recording=false").await;
    assert_eq!(left.body["recordings"], json!([]));
}

/// jabbermarky/icecream 21: what was erased comes back by the next synchronisation.
#[tokio::test]
async fn nothing_is_queued_or_stored_of_the_recordings_of_an_erased_call_that_come_to_light_later() {
    let stack = TestStack::with_environment([("ARCHIVE_TWILIO", "copy"), ("AUTO_TRANSCRIBE", "true")]).await;
    let planted = plant(&stack).await;
    webhooks::round(&stack).await;
    done(&stack, &delete(&stack, &format!("/recordings/{CALL}")).await).await;
    let other = "RE00000000000000000000000000000092";
    stack.stack.twilio.add(Recording {
        sid: other.into(),
        call_sid: CALL.into(),
        duration: Some(3),
        start_time: planted.began,
        date_created: planted.began,
        date_updated: planted.began,
        media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 3)])),
        ..Recording::default()
    });
    let paid = stack.stack.whisper.requests().len();
    for sid in [SID, other] {
        webhooks::recording_completes(&stack, CALL, sid, planted.began).await;
    }
    // Messages that were in the queue when the call was erased.
    for (queue, message) in [
        ("ARCHIVE_QUEUE_URL", json!({"recording_sid": other, "attempts": 0})),
        ("ARCHIVE_QUEUE_URL", json!({"recording_sid": SID, "attempts": 0})),
    ] {
        let queue = stack.stack.environment.required(queue).unwrap();
        let send = stack.aws().sqs().send_message().queue_url(queue);
        send.message_body(message.to_string()).send().await.unwrap();
    }
    for _ in 0..2 {
        webhooks::round(&stack).await;
    }
    // A recording of another call is copied and transcribed, so that the queues have been worked on by then.
    let (sid, call) = (
        "RE00000000000000000000000000000093",
        "CA00000000000000000000000000000093",
    );
    stack.stack.twilio.add_call(call, "+15550001111");
    stack.stack.twilio.add(Recording {
        sid: sid.into(),
        call_sid: call.into(),
        duration: Some(3),
        start_time: planted.began,
        date_created: planted.began,
        date_updated: planted.began,
        media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 4)])),
        ..Recording::default()
    });
    webhooks::recording_completes(&stack, call, sid, planted.began).await;
    wait_until(async || stack.get(&format!("/recordings/{sid}")).await.status == 200).await;
    crate::jobs::finished(&stack, &format!("/api/twilio/transcript/{sid}")).await;
    let left = async || {
        let texts = everything(&stack).await.into_iter();
        let of_call = texts.filter(|text| [SID, other, CALL].iter().any(|word| text.contains(word)));
        of_call.collect::<Vec<_>>()
    };
    for _ in 0..100 {
        if left().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left().await, Vec::<String>::new());
    assert_eq!(stack.stack.whisper.requests().len(), paid + 1);
}
