//! Twilio's callback: its signature and the recordings that it reports.

use super::*;

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
async fn a_callback_by_get_has_its_parameters_in_the_signed_url() {
    let get = async |stack: &TestStack, signed: &str, sent: &str| {
        let mut mac = Hmac::<Sha1>::new_from_slice(demo::AUTH_TOKEN.as_bytes()).unwrap();
        mac.update(format!("http://localhost:8000{CALLBACK}?{signed}").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let request = stack.request(Method::GET, &format!("{CALLBACK}?{sent}"));
        answer(request.header("x-twilio-signature", signature)).await
    };
    let query = |parameters: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| {
            format!(
                "{name}={}",
                value.replace(' ', "%20").replace('+', "%2B").replace(',', "%2C")
            )
        };
        parameters.iter().map(pair).collect::<Vec<_>>().join("&")
    };
    let stack = TestStack::empty().await;
    let sent = format!("dispatch_id={ID}&{}", query(&completed()));
    assert_eq!(get(&stack, &sent, &sent).await.body, json!({"indexed": true}));
    let rows = list(&stack, "").await;
    assert_eq!(
        (&rows[0]["dispatch_id"], &rows[0]["call_sid"]),
        (&json!(ID), &json!(CALL_SID))
    );

    let forged = sent.replace(RECORDING_SID, "REffffffffffffffffffffffffffffffff");
    get(&stack, &sent, &forged)
        .await
        .recordings_error(403, "invalid_signature");
    // What was signed for a POST is not a GET.
    let body_only = get(&stack, "", &sent).await;
    body_only.recordings_error(403, "invalid_signature");
    let incomplete = format!("dispatch_id={ID}&AccountSid={}", demo::ACCOUNT_SID);
    get(&stack, &incomplete, &incomplete)
        .await
        .recordings_error(400, "missing_parameter");
}
