//! Reports from the bucket, LiveKit, Twilio and other systems, and their effect on the list.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{EncodingKey, Header, encode};
use local::{aws::Service, demo, stack::account};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::stack::{Answer, TestStack, answer};

const ID: &str = "dispatch_1754653479_15103455686";
const KEY: &str = "egress-recordings/2025/08/08/outbound-15103455686_1754653482.mp4";
const CALL_SID: &str = "CA0123456789abcdef0123456789abcdef";
const RECORDING_SID: &str = "RE0123456789abcdef0123456789abcdef";
const CALLBACK: &str = "/webhooks/twilio/recording";

async fn list(stack: &TestStack, query: &str) -> Vec<Value> {
    let answer = stack.get(&format!("/recordings?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["recordings"].as_array().unwrap().clone()
}

async fn report_interaction(stack: &TestStack, interaction: Value) -> Answer {
    stack.post("/interactions", &interaction).await
}

async fn livekit(stack: &TestStack, body: &Value, signed: &Value) -> Answer {
    let hash = BASE64_STANDARD.encode(Sha256::digest(signed.to_string()));
    let claims = json!({"iss": demo::LIVEKIT_API_KEY, "exp": 4_102_444_800_u64, "sha256": hash});
    let key = EncodingKey::from_secret(demo::LIVEKIT_API_SECRET.as_bytes());
    let request = stack
        .request(Method::POST, "/webhooks/livekit")
        .header("content-type", "application/webhook+json")
        .header("authorization", encode(&Header::default(), &claims, &key).unwrap());
    answer(request.body(body.to_string())).await
}

fn egress(status: &str) -> Value {
    json!({"event": "egress_ended", "createdAt": "1754653700", "egressInfo": {
        "egressId": "EG_1", "roomName": "outbound-15103455686", "status": status, "startedAt": "1754653482000000000",
        "error": if status == "EGRESS_COMPLETE" { "" } else { "no space" },
        "fileResults": [{"filename": KEY, "size": "5"}],
    }})
}

async fn twilio(stack: &TestStack, query: &str, parameters: &[(&str, &str)], token: &str) -> Answer {
    twilio_signed_as(stack, query, query, parameters, token).await
}

/// A callback whose signature is for the query `signed`, sent with the query `sent`.
async fn twilio_signed_as(
    stack: &TestStack,
    signed: &str,
    sent: &str,
    parameters: &[(&str, &str)],
    token: &str,
) -> Answer {
    let mut sorted = parameters.to_vec();
    sorted.sort();
    let text: String = sorted.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(format!("http://localhost:8000{CALLBACK}{signed}{text}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let request = stack.request(Method::POST, &format!("{CALLBACK}{sent}"));
    answer(request.header("x-twilio-signature", signature).form(parameters)).await
}

fn completed() -> Vec<(&'static str, &'static str)> {
    vec![
        ("AccountSid", demo::ACCOUNT_SID),
        ("CallSid", CALL_SID),
        ("RecordingSid", RECORDING_SID),
        ("RecordingStatus", "completed"),
        ("RecordingDuration", "45"),
        ("RecordingStartTime", "Fri, 08 Aug 2025 11:44:41 +0000"),
        ("SomethingNew", ""),
    ]
}

#[tokio::test]
async fn a_recording_in_the_bucket_is_listed_until_it_is_deleted() {
    let stack = TestStack::empty().await;
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    for key in [
        KEY,
        "egress-recordings/2025/08/08/EG_1.json",
        "egress-recordings/2025/08/08/notes.txt",
    ] {
        let put = s3
            .put_object()
            .bucket(account::BUCKET)
            .key(key)
            .body(b"sound".to_vec().into());
        put.send().await.unwrap();
    }
    let mut rows = Vec::new();
    while rows.is_empty() {
        rows = list(&stack, "").await;
    }
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (&row["source"], &row["phone"]),
        (&json!("livekit"), &json!("+15103455686"))
    );
    // The dispatch was never reported, but the listed id still resolves to the file.
    let own = format!("/recordings/{}", row["dispatch_id"].as_str().unwrap());
    assert_eq!(stack.get(&own).await.body["s3_key"], KEY);

    s3.delete_object()
        .bucket(account::BUCKET)
        .key(KEY)
        .send()
        .await
        .unwrap();
    while !rows.is_empty() {
        rows = list(&stack, "").await;
    }
    assert_eq!(list(&stack, "has_recording=false").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_livekit_webhook_is_accepted_only_with_a_valid_token() {
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let body = egress("EGRESS_COMPLETE");
    livekit(&stack, &body, &json!({}))
        .await
        .recordings_error(401, "unauthorized");
    let without = stack.request(Method::POST, "/webhooks/livekit").json(&body);
    answer(without).await.recordings_error(401, "unauthorized");
    assert_eq!(list(&stack, "").await, Vec::<Value>::new());
    for _ in 0..2 {
        assert_eq!(livekit(&stack, &body, &body).await.body, json!({"indexed": true}));
        assert_eq!(list(&stack, "").await.len(), 1);
    }
    let other = json!({"event": "room_started"});
    let ignored = livekit(&stack, &other, &other).await.body;
    assert_eq!(ignored["indexed"], false);
    let reason = ignored["reason"].as_str().unwrap();
    assert!(reason.contains("egress_ended"), "{reason}");
}

#[tokio::test]
async fn webhooks_are_acknowledged_only_after_they_are_stored() {
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let body = egress("EGRESS_COMPLETE");
    let mut other = completed();
    other[5].1 = "Sat, 09 Aug 2025 11:44:41 +0000";
    let faults = stack.stack.aws.faults();
    faults.set(Service::DynamoDb, Some(StatusCode::SERVICE_UNAVAILABLE));
    livekit(&stack, &body, &body)
        .await
        .recordings_error(503, "database_unavailable");
    let refused = twilio(&stack, "", &other, demo::AUTH_TOKEN).await;
    refused.recordings_error(503, "database_unavailable");
    let rejected = report_interaction(&stack, json!({"dispatch_id": ID})).await;
    rejected.recordings_error(503, "database_unavailable");
    faults.set(Service::DynamoDb, None);
    assert_eq!(list(&stack, "").await, Vec::<Value>::new());
    livekit(&stack, &body, &body).await;
    twilio(&stack, "", &other, demo::AUTH_TOKEN).await;
    assert_eq!(list(&stack, "").await.len(), 2);
}

#[tokio::test]
async fn a_reported_file_that_does_not_exist_is_shown_as_a_missing_recording() {
    let stack = TestStack::empty().await;
    report_interaction(&stack, json!({"dispatch_id": ID})).await;
    let mut body = egress("EGRESS_COMPLETE");
    body["egressInfo"]["fileResults"] = json!([{"filename": KEY}]);
    assert_eq!(livekit(&stack, &body, &body).await.body, json!({"indexed": true}));
    let rows = list(&stack, "has_recording=false").await;
    assert_eq!(
        rows[0]["recording_error"],
        "LiveKit's recording is empty or not in the bucket."
    );
    stack.put_object(KEY, b"sound");
    livekit(&stack, &body, &body).await;
    assert_eq!(list(&stack, "").await[0]["dispatch_id"], ID);
}

#[tokio::test]
async fn a_rotated_token_is_accepted_immediately() {
    let stack = TestStack::empty().await;
    let parameters = completed();
    assert_eq!(twilio(&stack, "", &parameters, demo::AUTH_TOKEN).await.status, 200);
    let forged = twilio(&stack, "", &parameters, "the new token").await;
    forged.recordings_error(403, "invalid_signature");
    let stack = TestStack::empty().await;
    let secrets = stack.aws().secrets_manager();
    let value = json!({"account_sid": demo::ACCOUNT_SID, "auth_token": "the new token"}).to_string();
    let put = secrets.put_secret_value().secret_id(account::TWILIO_SECRET);
    put.secret_string(value).send().await.unwrap();
    assert_eq!(twilio(&stack, "", &parameters, "the new token").await.status, 200);
}

#[tokio::test]
async fn a_failed_recording_sets_the_reason_of_its_call() {
    let stack = TestStack::empty().await;
    let body = egress("EGRESS_FAILED");
    livekit(&stack, &body, &body).await;
    report_interaction(&stack, json!({"dispatch_id": ID, "status": "COMPLETED"})).await;
    assert_eq!(list(&stack, "").await, Vec::<Value>::new());
    let rows = list(&stack, "has_recording=false").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["dispatch_id"], ID);
    assert_eq!(rows[0]["recording_url"], Value::Null);
    assert_eq!(rows[0]["recording_error"], "LiveKit's recording failed: no space");
}

#[tokio::test]
async fn an_egress_that_failed_before_it_began_keeps_its_reason() {
    let stack = TestStack::empty().await;
    let mut body = egress("EGRESS_FAILED");
    body["createdAt"] = json!("1754653484");
    let info = body["egressInfo"].as_object_mut().unwrap();
    info.remove("startedAt");
    info.remove("fileResults");
    assert_eq!(livekit(&stack, &body, &body).await.body, json!({"indexed": true}));
    report_interaction(&stack, json!({"dispatch_id": ID, "status": "COMPLETED"})).await;
    let rows = list(&stack, "has_recording=false").await;
    assert_eq!((rows.len(), &rows[0]["dispatch_id"]), (1, &json!(ID)));
    assert_eq!(rows[0]["recording_error"], "LiveKit's recording failed: no space");
}

#[tokio::test]
async fn a_callback_is_accepted_if_its_query_was_escaped_after_it_was_signed() {
    let stack = TestStack::empty().await;
    let (signed, sent) = ("?from=sip:ada@example.com", "?from=sip%3Aada%40example.com");
    let accepted = twilio_signed_as(&stack, signed, sent, &completed(), demo::AUTH_TOKEN).await;
    assert_eq!(accepted.body, json!({"indexed": true}));
    let other = "?from=sip%3Aeve%40example.com";
    let refused = twilio_signed_as(&stack, signed, other, &completed(), demo::AUTH_TOKEN).await;
    refused.recordings_error(403, "invalid_signature");
}

#[tokio::test]
async fn a_signed_callback_may_have_repeated_names_and_bytes_that_are_not_utf8_in_its_query() {
    let stack = TestStack::empty().await;
    for query in [
        "?a=1&a=2",
        "?name=%E9milie",
        "?dispatch_id=dispatch_1_2&dispatch_id=dispatch_1_2",
        "?=&&x",
    ] {
        let accepted = twilio(&stack, query, &completed(), demo::AUTH_TOKEN).await;
        assert_eq!(accepted.status, 200, "{query}: {}", accepted.body);
    }
    let two = "?dispatch_id=dispatch_1_2&dispatch_id=dispatch_1_3";
    let refused = twilio(&stack, two, &completed(), demo::AUTH_TOKEN).await;
    assert!(
        refused
            .recordings_error(400, "invalid_parameter")
            .contains("dispatch_id")
    );
}

#[tokio::test]
async fn a_signature_is_not_accepted_for_parameters_that_are_divided_differently() {
    let stack = TestStack::empty().await;
    for (name, part, value) in [
        ("RecordingDuration", "RecordingDuration4", "5"),
        ("RecordingDuration", "RecordingDura", "tion45"),
        ("RecordingStatus", "RecordingStatuscomp", "leted"),
    ] {
        let divided: Vec<_> = completed()
            .into_iter()
            .map(|own| if own.0 == name { (part, value) } else { own })
            .collect();
        let refused = twilio(&stack, "", &divided, demo::AUTH_TOKEN).await;
        refused.recordings_error(400, "invalid_parameter");
    }
    assert_eq!(list(&stack, "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_same_call_recorded_by_both_is_one_row_with_both_recordings() {
    for (by_number, query) in [(true, ""), (false, "?dispatch_id=dispatch_1754653479_15103455686")] {
        let stack = TestStack::empty().await;
        if by_number {
            stack
                .stack
                .twilio
                .add_call(CALL_SID, "sip:+15103455686@sip.example.com");
        }
        stack.put_object(KEY, b"sound");
        assert_eq!(twilio(&stack, query, &completed(), demo::AUTH_TOKEN).await.status, 200);
        let body = egress("EGRESS_LIMIT_REACHED");
        livekit(&stack, &body, &body).await;
        report_interaction(&stack, json!({"dispatch_id": ID, "customer_name": "Louis Smith"})).await;
        let rows = list(&stack, "").await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(
            (&rows[0]["dispatch_id"], &rows[0]["source"]),
            (&json!(ID), &json!("livekit"))
        );
        let recordings = rows[0]["recordings"].as_array().unwrap();
        let sources: Vec<&Value> = recordings.iter().map(|recording| &recording["source"]).collect();
        assert_eq!(sources, ["livekit", "twilio"]);
        let url = recordings[1]["recording_url"].as_str().unwrap();
        assert!(url.ends_with(&format!("/Recordings/{RECORDING_SID}.mp3")), "{url}");
    }
}

#[tokio::test]
async fn a_callback_is_accepted_only_with_twilios_signature_and_is_idempotent() {
    let stack = TestStack::with_environment([("AUTO_TRANSCRIBE", "true")]).await;
    let queued = || stack.stack.aws.calls_of(Service::Sqs, "SendMessage");
    let forged = twilio(&stack, "", &completed(), "another token").await;
    forged.recordings_error(403, "invalid_signature");
    let mut other = completed();
    other[0].1 = "AC00000000000000000000000000000000";
    twilio(&stack, "", &other, demo::AUTH_TOKEN)
        .await
        .recordings_error(400, "invalid_parameter");
    assert_eq!((list(&stack, "").await.len(), queued()), (0, 0));
    let mut running = completed();
    running[3].1 = "in-progress";
    twilio(&stack, "", &running, demo::AUTH_TOKEN).await;
    assert_eq!((list(&stack, "").await.len(), queued()), (0, 0));
    for late in [completed(), completed(), running] {
        assert_eq!(twilio(&stack, "", &late, demo::AUTH_TOKEN).await.status, 200);
    }
    let rows = list(&stack, "").await;
    assert_eq!(
        (rows.len(), queued()),
        (1, 1),
        "a late or repeated callback changes nothing"
    );
    assert_eq!(rows[0]["source"], "twilio");
    assert_eq!(
        (&rows[0]["dispatch_id"], &rows[0]["call_sid"]),
        (&Value::Null, &json!(CALL_SID))
    );
    assert_eq!(
        (&rows[0]["duration"], &rows[0]["start_time"]),
        (&json!(45), &json!("2025-08-08T11:44:41.000Z"))
    );
}

#[tokio::test]
async fn values_missing_from_a_name_are_taken_from_the_webhook() {
    let stack = TestStack::empty().await;
    let key = "egress-recordings/room-abc_x1.ogg";
    stack.put_object(key, b"sound");
    let body = json!({"event": "egress_ended", "createdAt": "1754653700", "egressInfo": {
        "egressId": "EG_1", "roomName": "room-abc", "status": "EGRESS_COMPLETE",
        "participant": {"identity": "sip_+15103455686"},
        "fileResults": [{"filename": key, "size": "5", "startedAt": "1754653482000000000"}],
    }});
    assert_eq!(livekit(&stack, &body, &body).await.body, json!({"indexed": true}));
    report_interaction(&stack, json!({"dispatch_id": ID})).await;
    let rows = list(&stack, "").await;
    assert_eq!((rows.len(), &rows[0]["dispatch_id"]), (1, &json!(ID)));
    assert_eq!(stack.get(&format!("/recordings/{ID}")).await.body["s3_key"], key);
    let other = json!({"event": "egress_ended", "egressInfo": {"status": "EGRESS_COMPLETE", "fileResults": [{"filename": "elsewhere/x.mp4"}]}});
    let ignored = livekit(&stack, &other, &other).await.body;
    assert_eq!(ignored["reason"], "The file is not below RECORDINGS_PREFIX.");
}

#[tokio::test]
async fn an_absent_recording_is_indexed_with_its_reason() {
    let stack = TestStack::empty().await;
    let mut absent = completed();
    absent[3].1 = "absent";
    absent.push(("ErrorCode", "16102"));
    twilio(&stack, "", &absent, demo::AUTH_TOKEN).await;
    assert_eq!(list(&stack, "").await, Vec::<Value>::new());
    let rows = list(&stack, "has_recording=false").await;
    assert_eq!(rows[0]["recording_error"], "Twilio has no recording: it was silent.");
}

#[tokio::test]
async fn an_interaction_without_a_dispatch_id_is_paired_by_number_and_time() {
    let interaction = json!({"interaction_id": "i-1", "customer_name": "Louis Smith", "phone": "+15103455686",
        "start_time": "2025-08-08T11:44:41Z"});
    for interaction_first in [true, false] {
        let stack = TestStack::empty().await;
        stack.put_object(KEY, b"sound");
        let found = format!("/recordings/{ID}");
        if interaction_first {
            report_interaction(&stack, interaction.clone()).await;
        }
        assert_eq!(stack.get(&found).await.body["s3_key"], KEY);
        if !interaction_first {
            report_interaction(&stack, interaction.clone()).await;
        }
        let rows = list(&stack, "").await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        let row = &rows[0];
        assert_eq!(
            (&row["dispatch_id"], &row["interaction_id"], &row["customer_name"]),
            (&json!(ID), &json!("i-1"), &json!("Louis Smith"))
        );
        assert_eq!(list(&stack, "has_recording=false").await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn numbers_extensions_and_epoch_times_of_a_report_are_paired_like_their_text() {
    for (phone, start) in [
        (json!(15_103_455_686_u64), json!(1_754_653_481)),
        (json!("+1 510-345-5686 ext. 12"), json!(1_754_653_481_000_u64)),
        (json!("sip:+15103455686@trunk7.example.com"), json!("1754653481")),
    ] {
        let stack = TestStack::empty().await;
        stack.put_object(KEY, b"sound");
        stack.get(&format!("/recordings/{ID}")).await;
        let report = json!({"interaction_id": 4711, "phone": phone, "start_time": start, "duration": 12.6});
        assert_eq!(report_interaction(&stack, report).await.body["interaction_id"], "4711");
        let rows = list(&stack, "").await;
        assert_eq!(rows.len(), 1, "{phone}: {rows:?}");
        assert_eq!(
            [
                &rows[0]["dispatch_id"],
                &rows[0]["interaction_id"],
                &rows[0]["duration"]
            ],
            [&json!(ID), &json!("4711"), &json!(13)]
        );
        assert_eq!(list(&stack, "phone=15103455686").await.len(), 1);
        assert_eq!(list(&stack, "phone=sip:agent-7").await.len(), 0);
    }
}

#[tokio::test]
async fn an_unanswered_call_is_not_paired_with_the_recording_of_the_next_one() {
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let body = egress("EGRESS_COMPLETE");
    livekit(&stack, &body, &body).await;
    let unanswered = "dispatch_1754653360_15103455686";
    report_interaction(&stack, json!({"dispatch_id": unanswered, "interaction_id": "i-1"})).await;
    let answered = json!({"interaction_id": "i-2", "phone": "+15103455686", "start_time": "2025-08-08T11:44:40Z"});
    report_interaction(&stack, answered).await;
    assert_eq!(list(&stack, "").await[0]["interaction_id"], "i-2");
    let answer = stack.get(&format!("/recordings/{unanswered}")).await;
    answer.recordings_error(404, "recording_not_found");
}

#[tokio::test]
async fn a_failed_recording_that_was_restarted_is_not_a_separate_call() {
    let stack = TestStack::empty().await;
    report_interaction(&stack, json!({"dispatch_id": ID})).await;
    let mut failed = egress("EGRESS_FAILED");
    failed["egressInfo"]["egressId"] = "EG_0".into();
    failed["egressInfo"]["fileResults"] = json!([]);
    failed["egressInfo"]["startedAt"] = "1754653480000000000".into();
    livekit(&stack, &failed, &failed).await;
    assert_eq!(list(&stack, "has_recording=false").await.len(), 1);
    stack.put_object(KEY, b"sound");
    let body = egress("EGRESS_COMPLETE");
    livekit(&stack, &body, &body).await;
    assert_eq!(list(&stack, "").await[0]["dispatch_id"], ID);
    assert_eq!(list(&stack, "has_recording=false").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_call_that_is_reported_later_is_paired_with_its_recording() {
    // An id that LiveKit generated contains neither number nor time.
    let reports = [
        json!({"dispatch_id": "AD_x", "interaction_id": "i-1"}),
        json!({"interaction_id": "i-1", "phone": "+15103455686", "start_time": "2025-08-08T11:44:41Z"}),
    ];
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let body = egress("EGRESS_COMPLETE");
    livekit(&stack, &body, &body).await;
    for report in reports {
        report_interaction(&stack, report).await;
    }
    let rows = list(&stack, "").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["dispatch_id"], &rows[0]["interaction_id"]),
        (&json!("AD_x"), &json!("i-1"))
    );
    assert_eq!(stack.get("/recordings/AD_x").await.body["s3_key"], KEY);
}

#[tokio::test]
async fn the_newest_report_of_each_field_counts_in_any_order() {
    let stack = TestStack::empty().await;
    stack.put_object(KEY, b"sound");
    let at = |second: u32| format!("2025-08-08T12:00:{second:02}Z");
    for report in [
        json!({"interaction_id": "i-1", "status": "COMPLETED", "updated_at": at(9)}),
        json!({"interaction_id": "i-1", "status": "IN_PROGRESS", "outcome": "PAYMENT_PROMISED", "updated_at": at(3)}),
        json!({"dispatch_id": ID, "interaction_id": "i-1", "customer_name": "Louis", "updated_at": at(1)}),
        json!({"interaction_id": "i-1", "customer_name": "Louis Smith", "outcome": "NONE", "updated_at": at(2)}),
    ] {
        assert_eq!(report_interaction(&stack, report).await.status, 200);
    }
    stack.get(&format!("/recordings/{ID}")).await;
    let rows = list(&stack, "interaction_id=i-1").await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        [
            &row["dispatch_id"],
            &row["customer_name"],
            &row["status"],
            &row["outcome"]
        ],
        [
            &json!(ID),
            &json!("Louis Smith"),
            &json!("COMPLETED"),
            &json!("PAYMENT_PROMISED")
        ]
    );
}

#[tokio::test]
async fn an_invalid_interaction_is_rejected_with_the_reason() {
    let stack = TestStack::empty().await;
    for (body, part) in [
        (json!({}), "interaction_id or dispatch_id"),
        (json!({"interaction_id": "i", "state": "x"}), "state"),
        (json!({"interaction_id": "i", "duration": "long"}), "duration"),
    ] {
        let refused = report_interaction(&stack, body).await;
        let text = refused.recordings_error(400, "invalid_interaction");
        assert!(text.contains(part), "{text}");
    }
    let keyless = stack
        .request(Method::POST, "/interactions")
        .json(&json!({"interaction_id": "i"}));
    answer(keyless).await.recordings_error(401, "unauthorized");
}

#[tokio::test]
async fn interaction_events_are_indexed_and_an_invalid_one_blocks_nothing() {
    let stack = TestStack::empty().await;
    let put = |entries: Value| {
        let request = reqwest::Client::new()
            .post(&stack.stack.aws_url)
            .header("x-amz-target", "AWSEvents.PutEvents");
        async move {
            let answer = request
                .body(json!({"Entries": entries}).to_string())
                .send()
                .await
                .unwrap();
            answer.json::<Value>().await.unwrap()
        }
    };
    let entry = |detail: &str| json!({"Source": "crm", "DetailType": "interaction.updated", "Detail": detail});
    let poison = json!({"status": "COMPLETED"}).to_string();
    let report = json!({"dispatch_id": ID, "customer_name": "Louis Smith", "something": 1}).to_string();
    let answer = put(json!([entry("{"), entry(&poison), entry(&report)])).await;
    assert_eq!(answer["FailedEntryCount"], 1);
    assert_eq!(answer["Entries"][0]["ErrorCode"], "MalformedDetail");
    let mut rows = Vec::new();
    while rows.is_empty() {
        rows = list(&stack, "has_recording=false").await;
    }
    assert_eq!(
        (&rows[0]["dispatch_id"], &rows[0]["customer_name"]),
        (&json!(ID), &json!("Louis Smith"))
    );
}

#[tokio::test]
async fn a_transcript_is_shown_in_the_list_whether_it_or_the_callback_came_first() {
    let recording = demo::twilio_recordings(demo::DOCUMENTED_TIME).pop().unwrap();
    let parameters = [
        ("AccountSid", demo::ACCOUNT_SID),
        ("CallSid", &recording.call_sid),
        ("RecordingSid", &recording.sid),
        ("RecordingStatus", "completed"),
        ("RecordingStartTime", "Mon, 15 Jan 2024 10:30:00 +0000"),
    ];
    let body = json!({"recording_sid": recording.sid});
    for transcript_first in [true, false] {
        let stack = TestStack::demo().await;
        let shown = async || {
            let rows = list(&stack, "started_before=2024-02-01").await;
            rows.iter().map(|row| row["has_transcript"].clone()).collect::<Vec<_>>()
        };
        if transcript_first {
            assert_eq!(stack.post("/api/twilio/transcript/", &body).await.status, 200);
            assert_eq!(shown().await, Vec::<Value>::new(), "it is not a separate call");
        }
        twilio(&stack, "", &parameters, demo::AUTH_TOKEN).await;
        if !transcript_first {
            assert_eq!(shown().await, [false]);
            assert_eq!(stack.post("/api/twilio/transcript/", &body).await.status, 200);
        }
        assert_eq!(shown().await, [true]);
    }
}

#[tokio::test]
async fn filters_select_the_same_rows_in_both_orders_and_across_pages() {
    let stack = TestStack::demo().await;
    let all = list(&stack, "limit=100").await;
    let middle = all[all.len() / 2]["start_time"].as_str().unwrap();
    let status = all[0]["status"].as_str().unwrap();
    let phone = all[0]["phone"].as_str().unwrap().trim_start_matches('+');
    let is = |name: &'static str, value: &str| {
        let value = value.to_owned();
        Box::new(move |row: &Value| row[name].as_str() == Some(&value)) as Box<dyn Fn(&Value) -> bool>
    };
    for (query, passes) in [
        (format!("status={status}"), is("status", status)),
        ("outcome=PAYMENT_PROMISED".into(), is("outcome", "PAYMENT_PROMISED")),
        (format!("phone=%2B{phone}"), is("phone", &format!("+{phone}"))),
        (
            "interaction_id=test_interaction_louis_001".into(),
            is("interaction_id", "test_interaction_louis_001"),
        ),
        (
            format!("started_after={middle}"),
            Box::new(|row| row["start_time"].as_str() >= Some(middle)),
        ),
        (
            format!("started_before={middle}"),
            Box::new(|row| row["start_time"].as_str() < Some(middle)),
        ),
        (
            "min_duration=60".into(),
            Box::new(|row| row["duration"].as_i64() >= Some(60)),
        ),
        ("has_transcript=true".into(), Box::new(|_| false)),
        ("has_transcript=false".into(), Box::new(|_| true)),
    ] {
        let mut expected: Vec<&Value> = all
            .iter()
            .filter(|row| passes(row))
            .map(|row| &row["dispatch_id"])
            .collect();
        for order in ["desc", "asc"] {
            let (mut found, mut next) = (Vec::new(), String::new());
            loop {
                let answer = stack
                    .get(&format!("/recordings?limit=2&order={order}&{query}{next}"))
                    .await;
                assert_eq!(answer.status, 200, "{query}: {}", answer.body);
                found.extend(
                    answer.body["recordings"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|row| row["dispatch_id"].clone()),
                );
                let Some(cursor) = answer.body["next_cursor"].as_str() else {
                    break;
                };
                next = format!("&cursor={cursor}");
                let other = stack.get(&format!("/recordings?limit=2&order={order}{next}")).await;
                other.recordings_error(400, "invalid_parameter");
            }
            assert!(found.iter().eq(expected.iter().copied()), "{query} {order}");
            expected.reverse();
        }
    }
    let whole = stack.get("/recordings?limit=1&include_total=true").await.body;
    assert_eq!(whole["total"], all.len());
    let filtered = stack.get("/recordings?include_total=true&status=COMPLETED").await;
    filtered.recordings_error(400, "invalid_parameter");
    for (name, bad) in [
        ("order", "up"),
        ("has_recording", "maybe"),
        ("started_after", "soon"),
        ("min_duration", "-1"),
        ("phone", "abc"),
    ] {
        let refused = stack.get(&format!("/recordings?{name}={bad}")).await;
        assert!(refused.recordings_error(400, "invalid_parameter").contains(name));
    }
}

#[tokio::test]
async fn the_report_lists_calls_without_recordings_and_recordings_without_calls() {
    let stack = TestStack::empty().await;
    stack
        .get("/reports/completeness")
        .await
        .recordings_error(404, "no_report");
    let yesterday = jiff::Timestamp::now().as_second() - 86_400;
    let day = jiff::Timestamp::from_second(yesterday)
        .unwrap()
        .strftime("%Y/%m/%d")
        .to_string();
    stack.put_object(
        &format!("egress-recordings/{day}/outbound-15103455686_{yesterday}.mp4"),
        b"sound",
    );
    report_interaction(
        &stack,
        json!({"dispatch_id": format!("dispatch_{yesterday}_14155550123")}),
    )
    .await;
    let functions = local::stack::functions::Functions::from_env(&stack.stack.environment)
        .await
        .unwrap();
    let deadline = std::time::SystemTime::now() + std::time::Duration::from_secs(900);
    functions
        .deliver("reconcile-recordings", json!({}), deadline)
        .await
        .unwrap()
        .unwrap();
    let report = stack.get("/reports/completeness/").await.body;
    assert_eq!(report["playable"], 1);
    assert_eq!(report["recordings_without_call"]["total"], 1);
    assert_eq!(report["calls_without_recording"]["total"], 1);
    let entry = &report["calls_without_recording"]["entries"][0];
    assert_eq!(entry["dispatch_id"], format!("dispatch_{yesterday}_14155550123"));
    assert_eq!(entry["reason"], "Nothing is known of a recording.");
}
