//! Reports from the bucket, LiveKit, Twilio and other systems, and their effect on the list.

mod interactions;
mod livekit;
mod twilio;

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

/// All senders report one call.
pub(crate) async fn everyone_reports(stack: &TestStack) {
    let interaction = json!({"interaction_id": "i-1", "phone": "+15103455686", "start_time": "2025-08-08T11:44:39Z"});
    assert!(report_interaction(stack, interaction.clone()).await.status.is_success());
    let detail = json!({"interaction_id": "i-1", "status": "COMPLETED"}).to_string();
    let entry = json!({"Source": "crm", "DetailType": "interaction.updated", "Detail": detail});
    interactions::put_events(stack, &json!({"Entries": [entry]})).await;
    let is_reported = async || {
        let mut rows = list(stack, "interaction_id=i-1").await;
        rows.extend(list(stack, "interaction_id=i-1&has_recording=false").await);
        rows.iter().any(|row| row["status"] == "COMPLETED")
    };
    while !is_reported().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let body = egress("EGRESS_COMPLETE");
    livekit(stack, &body, &body).await;
    stack.put_object(KEY, b"sound");
    livekit(stack, &body, &body).await;
    stack.stack.twilio.add_call(CALL_SID, "+15103455686");
    let reported = twilio(stack, "", &completed(), demo::AUTH_TOKEN).await;
    assert_eq!(reported.status, 200, "{}", reported.body);
}

/// LiveKit reports that it has written this file.
pub(crate) async fn egress_completes(stack: &TestStack, key: &str) {
    let mut body = egress("EGRESS_COMPLETE");
    body["egressInfo"]["fileResults"][0]["filename"] = key.into();
    let reported = livekit(stack, &body, &body).await;
    assert_eq!(reported.status, 200, "{}", reported.body);
}

/// Twilio reports that a call is being recorded.
pub(crate) async fn recording_begins(stack: &TestStack, call_sid: &str, recording_sid: &str, at: jiff::Timestamp) {
    recording_is(stack, call_sid, recording_sid, at, "in-progress").await;
}

/// Twilio reports that the recording of a call is completed.
pub(crate) async fn recording_completes(stack: &TestStack, call_sid: &str, recording_sid: &str, at: jiff::Timestamp) {
    recording_is(stack, call_sid, recording_sid, at, "completed").await;
}

/// A run of the reconciler.
pub(crate) async fn round(stack: &TestStack) {
    let function = "/2015-03-31/functions/reconcile-recordings/invocations";
    let url = format!("{}{function}", stack.stack.aws_url);
    let round = reqwest::Client::new().post(&url).send().await.unwrap();
    assert_eq!(round.status(), 200);
}

async fn recording_is(stack: &TestStack, call_sid: &str, recording_sid: &str, at: jiff::Timestamp, status: &str) {
    let start = at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    let parameters = [
        ("AccountSid", demo::ACCOUNT_SID),
        ("CallSid", call_sid),
        ("RecordingSid", recording_sid),
        ("RecordingStatus", status),
        ("RecordingStartTime", &start),
    ];
    let reported = twilio(stack, "", &parameters, demo::AUTH_TOKEN).await;
    assert_eq!(reported.status, 200, "{}", reported.body);
}
