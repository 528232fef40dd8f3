//! The permissions of the functions: what template.yaml allows is what they need. That they need no more is also checked by every other test,
//! because [`TestStack`] fails when a request was denied.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    stack::account,
    standins::tones::{Script, Wav},
    standins::twilio::{Media, Recording},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    events::process_every_example_event,
    jobs::finished,
    stack::{TestStack, answer},
    webhooks,
};

/// Permissions that no request of the local stack needs, and those for what other tests do.
const OTHERS: [(&str, &str, &str); 20] = [
    (
        "SendTraces",
        "xray:PutTraceSegments",
        "Lambda itself, in a deployment with XrayTracing",
    ),
    (
        "SendTraces",
        "xray:PutTelemetryRecords",
        "Lambda itself, in a deployment with XrayTracing",
    ),
    (
        "ReadUsedBudget",
        "dynamodb:GetItem",
        "the metrics of a deployment with a budget: metrics.rs",
    ),
    (
        "ForgetCalls",
        "dynamodb:UpdateItem",
        "a worker that is busy while its transcript is erased, and calls that are held past their time: erasure/",
    ),
    (
        "NoteCopies",
        "dynamodb:DeleteItem",
        "recordings of a call that was erased: erasure/",
    ),
    (
        "FindCopiesAndNoteTranscripts",
        "dynamodb:UpdateItem",
        "transcripts of version 0.1, which these functions copy: bound_transcripts.rs, upgrade.rs",
    ),
    (
        "EndUploads",
        "s3:AbortMultipartUpload",
        "the upload of a copy whose call is erased meanwhile: erasure/",
    ),
    (
        "EraseCalls",
        "dynamodb:PutItem",
        "reports that name an erased call, and calls whose transcripts only are erased: erasure/",
    ),
    (
        "EraseRecordings",
        "s3:GetObjectVersion",
        "why Object Lock keeps a version: erasure/",
    ),
    (
        "EraseRecordings",
        "s3:GetObjectRetention",
        "S3 tells the lock of a version only to those who may ask for it",
    ),
    (
        "EraseRecordings",
        "s3:GetObjectLegalHold",
        "S3 tells the legal hold of a version only to those who may ask for it",
    ),
    (
        "WriteCopies",
        "s3:AbortMultipartUpload",
        "the upload of a copy that has failed: archive.rs",
    ),
    (
        "WriteCopies",
        "s3:ListMultipartUploadParts",
        "the upload of an interrupted copy: archive.rs",
    ),
    (
        "WorkThroughQueue",
        "sqs:GetQueueAttributes",
        "Lambda checks it when it creates an event source mapping",
    ),
    (
        "IndexCalls",
        "dynamodb:DeleteItem",
        "the mark of a changed day, which is removed some minutes later: ledger.rs",
    ),
    ("SendFailedRuns", "sqs:SendMessage", "Lambda sends failed runs"),
    (
        "ReadAndCopyTranscripts",
        "dynamodb:PutItem",
        "transcripts of version 0.1: bound_transcripts.rs, upgrade.rs",
    ),
    (
        "ReadAndCopyTranscripts",
        "dynamodb:UpdateItem",
        "transcripts of version 0.1: bound_transcripts.rs, upgrade.rs",
    ),
    (
        "KeepTranscripts",
        "dynamodb:DeleteItem",
        "text of a replaced transcript of 350 KB: stored.rs",
    ),
    (
        "KeepTranscripts",
        "dynamodb:PutItem",
        "the text of a transcript that the request did not wait for",
    ),
];

fn dispatch(phone: u64, time: Timestamp) -> String {
    format!("dispatch_{}_{phone}", time.as_second())
}

fn key(phone: u64, time: Timestamp) -> String {
    let day = time.strftime("%Y/%m/%d");
    format!("egress-recordings/{day}/outbound-{phone}_{}.wav", time.as_second())
}

/// Writes a recording of this dispatch through S3, so that its event is indexed, or behind its back.
async fn put(stack: &TestStack, phone: u64, time: Timestamp, sound: &[u8], with_event: bool) {
    let key = key(phone, time);
    if !with_event {
        return stack.put_object(&key, sound);
    }
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let put = s3.put_object().bucket(account::BUCKET).key(key);
    put.body(sound.to_vec().into()).send().await.unwrap();
}

async fn delete(stack: &TestStack, path: &str) -> u16 {
    let request = stack.request(Method::DELETE, path);
    answer(request.header("X-API-Key", demo::API_KEY)).await.status.as_u16()
}

/// What people and providers do in a day.
async fn use_everything(stack: &TestStack) {
    process_every_example_event(stack).await;
    for path in [
        "/recordings?include_total=true",
        "/api/twilio/usage/",
        "/reports/daily/?from=2026-01-01&to=2026-01-02",
        "/reports/daily?from=2026-01-01&to=2026-01-02",
        "/reports/completeness",
        "/reports/queues",
        "/audit?action=list",
        "/audit?recording=RE00000000000000000000000000000001",
        "/audit?recording=dispatch_1_2",
    ] {
        assert_eq!(stack.get(path).await.status, 200, "{path}");
    }
    assert_eq!(stack.post("/console/session", &json!({})).await.status, 200);

    // Each function finds a recording that no event reported, whose call is reported as an interaction; and one that was overwritten.
    let now = Timestamp::now() - SignedDuration::from_hours(3);
    let sound = |seed| Wav::new(16_000, [Script::spoken(3.0, seed)]).bytes();
    for (number, (method, path)) in [
        (Method::GET, ""),
        (Method::GET, "/transcript"),
        (Method::GET, "/transcript/"),
        (Method::POST, "/transcript"),
        (Method::POST, "/waveform"),
        (Method::POST, "/archive"),
        (Method::POST, "/shares"),
    ]
    .into_iter()
    .enumerate()
    {
        let phone = 15_550_002_000 + number as u64;
        let at = now + SignedDuration::from_secs(2);
        let interaction = json!({"interaction_id": format!("i-{number}"), "phone": format!("+{phone}"), "start_time": at.to_string()});
        assert!(stack.post("/interactions", &interaction).await.status.is_success());
        for seed in [1, 2] {
            put(stack, phone, now, &sound(seed), false).await;
            let path = format!("/recordings/{}{path}", dispatch(phone, now));
            let request = stack.request(method.clone(), &path).header("X-API-Key", demo::API_KEY);
            let request = if method == Method::POST {
                let is_share = path.ends_with("/shares");
                request.json(&if is_share {
                    json!({"expires_in": 600})
                } else {
                    json!({})
                })
            } else {
                request
            };
            let found = answer(request).await;
            let is_right = found.status.is_success() || found.body["code"] == "transcript_not_found";
            assert!(is_right, "{path}: {}", found.body);
            if path.ends_with("/shares") && seed == 1 {
                let page = found.body["url"]
                    .as_str()
                    .unwrap()
                    .split_once("/s/")
                    .unwrap()
                    .1
                    .to_owned();
                let open = async || {
                    stack
                        .request(Method::GET, &format!("/s/{page}"))
                        .send()
                        .await
                        .unwrap()
                        .status()
                };
                assert_eq!(open().await, 200);
                // A page also finds a recording that the index has lost.
                for item in [dispatch(phone, now), format!("object#{}", key(phone, now))] {
                    let delete = stack.aws().dynamodb().delete_item().table_name(account::CALLS_TABLE);
                    delete.key("id", AttributeValue::S(item)).send().await.unwrap();
                }
                assert_eq!(open().await, 200);
                put(stack, phone, now, &sound(3), false).await;
                assert_eq!(open().await, 404);
                let shares = stack.get(&path).await;
                assert_eq!(shares.status, 200);
                let id = shares.body["shares"][0]["id"].as_str().unwrap().to_owned();
                let shown = stack.get(&format!("{path}/{id}")).await;
                assert_eq!(shown.status, 200, "{}", shown.body);
                stack.remove_object(&key(phone, now));
                assert_eq!(open().await, 404);
                assert!((200..300).contains(&delete(stack, &format!("{path}/{id}")).await));
            }
        }
    }

    // A call of several items.
    let of_call = format!("/audit?recording={}", dispatch(15_550_002_000, now));
    assert_eq!(stack.get(&of_call).await.status, 200);

    // Jobs of the queue.
    let phone = 15_550_003_000;
    put(stack, phone, now, &sound(4), false).await;
    let path = format!("/recordings/{}/transcript", dispatch(phone, now));
    let async_post = async |path: &str, body: &Value| {
        let request = stack.request(Method::POST, path).header("Prefer", "respond-async");
        let queued = answer(request.header("X-API-Key", demo::API_KEY).json(body)).await;
        assert_eq!(queued.status, 202, "{}", queued.body);
    };
    async_post(&path, &json!({})).await;
    assert_eq!(finished(stack, &path).await.body["status"], "completed");
    let twilio = |number: u64| {
        let recording = Recording {
            sid: format!("RE{number:032x}"),
            call_sid: format!("CA{number:032x}"),
            media: Media::Generated { bytes: 4000 },
            start_time: now,
            date_created: now,
            date_updated: now,
            ..Recording::default()
        };
        stack.stack.twilio.add_call(recording.call_sid.as_str(), "+15550004000");
        stack.stack.twilio.add(recording);
        format!("RE{number:032x}")
    };
    let sid = twilio(71);
    async_post("/api/twilio/transcript/", &json!({"recording_sid": sid})).await;
    finished(stack, &format!("/api/twilio/transcript/{sid}")).await;

    // A job whose recording is gone.
    let phone = 15_550_003_001;
    put(stack, phone, now, &sound(6), false).await;
    assert_eq!(
        stack.get(&format!("/recordings/{}", dispatch(phone, now))).await.status,
        200
    );
    stack.remove_object(&key(phone, now));
    let queue = stack.stack.environment.required("TRANSCRIPTION_QUEUE_URL").unwrap();
    let job = json!({"dispatch_id": dispatch(phone, now)}).to_string();
    stack
        .aws()
        .sqs()
        .send_message()
        .queue_url(queue)
        .message_body(job)
        .send()
        .await
        .unwrap();

    // Events.
    let phone = 15_550_005_000;
    for (id, at) in [("i-5", now), ("i-6", now + SignedDuration::from_secs(20))] {
        let interaction = json!({"interaction_id": id, "phone": format!("+{phone}"), "start_time": at.to_string()});
        assert!(stack.post("/interactions", &interaction).await.status.is_success());
    }
    for seed in [5, 6] {
        put(stack, phone, now, &sound(seed), true).await;
    }
    let listed = async |count: usize| {
        loop {
            let listed = stack.get("/recordings?phone=%2B15550005000").await;
            if listed.body["recordings"].as_array().unwrap().len() == count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    listed(1).await;
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let delete = s3.delete_object().bucket(account::BUCKET).key(key(phone, now));
    delete.send().await.unwrap();
    listed(0).await;
    // A call near another one is transcribed within the request after Twilio reported that it is recorded.
    let sid = twilio(73);
    for (id, at) in [("i-73", now), ("i-74", now + SignedDuration::from_secs(20))] {
        let interaction = json!({"interaction_id": id, "phone": "+15550004000", "start_time": at.to_string()});
        assert!(stack.post("/interactions", &interaction).await.status.is_success());
    }
    webhooks::recording_begins(stack, &format!("CA{:032x}", 73), &sid, now).await;
    let transcribed = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": sid}))
        .await;
    assert_eq!(transcribed.status, 200, "{}", transcribed.body);

    copy_recordings(stack, now).await;
    erase_calls(stack, now).await;

    for _ in 0..2 {
        webhooks::round(stack).await;
        webhooks::everyone_reports(stack).await;
        twilio(74);
    }
}

/// Twilio's recordings are copied, of calls of today and of a day that is closed, and used like any other.
async fn copy_recordings(stack: &TestStack, now: Timestamp) {
    let sids = [now, now - SignedDuration::from_hours(24 * 20)].map(|began| {
        let number = began.as_second();
        let (sid, call_sid) = (format!("RE{number:032x}"), format!("CA{number:032x}"));
        stack.stack.twilio.add_call(call_sid.as_str(), "+15550006000");
        stack.stack.twilio.add(Recording {
            sid: sid.clone(),
            call_sid: call_sid.clone(),
            media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 3)])),
            duration: Some(3),
            start_time: began,
            date_created: began,
            date_updated: began,
            ..Recording::default()
        });
        (sid, call_sid, began)
    });
    for (sid, call_sid, began) in &sids {
        webhooks::recording_completes(stack, call_sid, sid, *began).await;
        while stack.get(&format!("/recordings/{sid}")).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for path in ["/transcript", "/waveform"] {
            let used = stack.post(&format!("/recordings/{sid}{path}"), &json!({})).await;
            assert!(used.status.is_success(), "{path}: {}", used.body);
        }
        let transcript = stack.get(&format!("/recordings/{sid}/transcript")).await;
        assert!(transcript.status.is_success(), "{}", transcript.body);
        let other = json!({"recording_sid": sid, "language": "en"});
        assert_eq!(stack.post("/api/twilio/transcript/", &other).await.status, 200);
        let shared = stack
            .post(&format!("/recordings/{sid}/shares"), &json!({"expires_in": 600}))
            .await;
        let token = shared.body["token"].as_str().unwrap().to_owned();
        let page = stack.request(Method::GET, &format!("/s/{token}")).send().await.unwrap();
        assert_eq!(page.status(), 200);
    }
    // One that Twilio does not have yet is tried again, and one that was not copied is copied on request.
    let (sid, call_sid) = (format!("RE{:032x}", 77), format!("CA{:032x}", 77));
    stack.stack.twilio.add(Recording {
        sid: sid.clone(),
        call_sid: call_sid.clone(),
        media: Media::Status(404),
        start_time: now,
        ..Recording::default()
    });
    webhooks::recording_completes(stack, &call_sid, &sid, now).await;
    let old = format!("RE{:032x}", 78);
    let call_of_old = format!("CA{:032x}", 78);
    let recording = shared::calls::TwilioRecording {
        status: shared::clients::twilio::RecordingStatus::new("completed"),
        sid: old.clone(),
        start_time: Some(now),
        ..Default::default()
    };
    stack
        .calls()
        .record_twilio_recording(&call_of_old, &recording, Some(""), None)
        .await
        .unwrap();
    assert_eq!(
        stack
            .post(&format!("/recordings/{old}/archive"), &json!({}))
            .await
            .status,
        202
    );
    // Recordings of which nobody has told the index.
    for number in [88, 89] {
        let sid = format!("RE{number:032x}");
        stack.stack.twilio.add(Recording {
            sid: sid.clone(),
            call_sid: format!("CA{number:032x}"),
            media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 3)])),
            duration: Some(3),
            ..Recording::default()
        });
        if number == 88 {
            let transcribed = stack
                .post("/api/twilio/transcript/", &json!({"recording_sid": sid}))
                .await;
            assert_eq!(transcribed.status, 200, "{}", transcribed.body);
            continue;
        }
        let queue = stack.stack.environment.required("ARCHIVE_QUEUE_URL").unwrap();
        let message = json!({"recording_sid": sid}).to_string();
        stack
            .aws()
            .sqs()
            .send_message()
            .queue_url(queue)
            .message_body(message)
            .send()
            .await
            .unwrap();
        while stack.get(&format!("/recordings/{sid}")).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Calls are held, and erased by request and because their time has passed.
async fn erase_calls(stack: &TestStack, now: Timestamp) {
    let finished = async |path: String| {
        while stack.get(&path).await.body["status"] != "done" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // One that is found by its name, held and released, and erased with everything that it has.
    let phone = 15_550_009_000;
    put(
        stack,
        phone,
        now,
        &Wav::new(16_000, [Script::spoken(3.0, 7)]).bytes(),
        false,
    )
    .await;
    let path = format!("/recordings/{}", dispatch(phone, now));
    let keep = async |body: Value| {
        let request = stack.request(Method::PATCH, &path).header("X-API-Key", demo::API_KEY);
        let kept = answer(request.json(&body)).await;
        assert_eq!(kept.status, 200, "{}", kept.body);
    };
    keep(json!({"hold": {"reason": "a dispute"}, "retain_until": "2100-01-01T00:00:00Z"})).await;
    keep(json!({"hold": null})).await;
    let transcribed = stack.post(&format!("{path}/transcript"), &json!({})).await;
    assert!(transcribed.status.is_success());
    assert!(
        stack
            .post(&format!("{path}/shares"), &json!({"expires_in": 600}))
            .await
            .status
            .is_success()
    );
    let interaction = json!({"interaction_id": "i-9", "phone": format!("+{phone}"), "start_time": now.to_string()});
    assert!(stack.post("/interactions", &interaction).await.status.is_success());
    let erased = stack.post("/erasures", &json!({"phone": format!("+{phone}")})).await;
    finished(erased.body["status_url"].as_str().unwrap().to_owned()).await;
    // By an interaction and by Twilio's SID, of a call that is held by it.
    let sid = format!("RE{:032x}", now.as_second());
    let hold = stack
        .request(Method::PATCH, &format!("/recordings/{sid}"))
        .header("X-API-Key", demo::API_KEY);
    assert_eq!(answer(hold.json(&json!({"hold": null}))).await.status, 200);
    for target in [json!({"interaction_id": "i-5"}), json!({"recording_sid": sid})] {
        let erased = stack.post("/erasures", &target).await;
        finished(erased.body["status_url"].as_str().unwrap().to_owned()).await;
    }
    // Files of the call that was erased, and of one that is new.
    let wav = Wav::new(16_000, [Script::spoken(3.0, 7)]).bytes();
    for phone in [phone, phone + 1] {
        put(stack, phone, now, &wav, true).await;
    }
    while stack.get(&format!("/recordings?phone={}", phone + 1)).await.body["recordings"] == json!([]) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    webhooks::egress_completes(stack, &key(15_550_009_000, now)).await;
    assert!(
        stack
            .post("/interactions", &json!({"interaction_id": "i-5", "status": "LATE"}))
            .await
            .status
            .is_success()
    );
    let other = format!("RE{:032x}", 90);
    stack.stack.twilio.add(Recording {
        sid: other.clone(),
        call_sid: format!("CA{:032x}", now.as_second()),
        media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 3)])),
        duration: Some(3),
        ..Recording::default()
    });
    let asked = json!({"recording_sid": other});
    assert_eq!(stack.post("/api/twilio/transcript/", &asked).await.status, 200);
    // Events of a call that was erased, and of one that is new.
    let queue = stack
        .stack
        .environment
        .required("INTERACTION_EVENTS_QUEUE_URL")
        .unwrap();
    for id in ["i-5", "i-new"] {
        let event = json!({"version": "0", "id": "1", "detail-type": "interaction.updated", "source": "crm", "time": now.to_string(), "detail": {"interaction_id": id, "status": "NEW"}});
        let send = stack.aws().sqs().send_message().queue_url(queue);
        send.message_body(event.to_string()).send().await.unwrap();
    }
    let listed = "/recordings?has_recording=false&interaction_id=i-new";
    while stack.get(listed).await.body["recordings"] == json!([]) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Twilio does not delete, so that the erasure is sent to its queue again.
    let (sid, call_sid) = (format!("RE{:032x}", 79), format!("CA{:032x}", 79));
    webhooks::recording_completes(stack, &call_sid, &sid, now).await;
    let refused = local::standins::twilio::Fault::Status {
        status: 401,
        retry_after: None,
        body: None,
    };
    stack
        .stack
        .twilio
        .fault(format!("Recordings/{sid}.json"), refused, None);
    let request = stack
        .request(Method::DELETE, &format!("/recordings/{sid}"))
        .header("X-API-Key", demo::API_KEY);
    let refused = answer(request).await;
    while stack.get(refused.body["status_url"].as_str().unwrap()).await.body["calls_left"] != 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn every_permission_of_the_template_is_one_that_its_function_uses() {
    let with = |signer: &str| {
        let signer = signer.to_owned();
        TestStack::with(|settings| {
            settings.empty = false;
            let variables = [
                ("RECORDINGS_AUTH", "required".to_owned()),
                ("AUTO_TRANSCRIBE", "true".to_owned()),
                ("ARCHIVE_TWILIO", "copy".to_owned()),
                ("RETENTION_DAYS", "3650".to_owned()),
                ("SIGNER_SECRET", signer),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value));
            settings.environment.extend(variables);
        })
    };
    let stack = with(account::SIGNER_SECRET).await;
    use_everything(&stack).await;
    let permissions = stack.stack.aws.permissions().unwrap();
    let mut unused = permissions.allowed();
    unused.retain(|it| !permissions.used().contains(it));

    // Presigned URLs, of the signer and of the functions themselves.
    let unsigned = with("").await;
    for stack in [&stack, &unsigned] {
        for path in ["/recordings", "/recordings/dispatch_1754653479_15103455686"] {
            let body = stack.get(path).await.body;
            let url = body["recordings"][0]["recording_url"]
                .as_str()
                .or(body["recording_url"].as_str());
            assert!(stack.fetch(url.unwrap()).send().await.unwrap().status().is_success());
        }
        let used = stack.stack.aws.permissions().unwrap().used();
        unused.retain(|it| !used.contains(it));
    }
    unused.retain(|it| {
        let is_other = |(sid, action, _): &(&str, &str, &str)| (it.sid.as_str(), it.action.as_str()) == (*sid, *action);
        !OTHERS.iter().any(is_other)
    });
    let unused = Vec::from_iter(unused);
    assert!(
        unused.is_empty(),
        "template.yaml allows what no function does: {unused:#?}"
    );
}
