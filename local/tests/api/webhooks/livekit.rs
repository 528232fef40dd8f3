//! LiveKit's webhook and the recordings that it reports.

use super::*;

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
async fn ids_and_keys_that_cannot_be_stored_are_ignored() {
    let stack = TestStack::empty().await;
    for id in [String::new(), "E".repeat(3000)] {
        let mut failed = egress("EGRESS_FAILED");
        failed["egressInfo"]["egressId"] = id.into();
        failed["egressInfo"]["fileResults"] = json!([]);
        let ignored = livekit(&stack, &failed, &failed).await;
        assert_eq!(
            ignored.body["reason"], "The webhook has no usable egress id.",
            "{}",
            ignored.status
        );
    }
    let mut stored = egress("EGRESS_COMPLETE");
    let key = format!("egress-recordings/{}.mp4", "k".repeat(1024));
    stored["egressInfo"]["fileResults"] = json!([{"filename": key}]);
    let ignored = livekit(&stack, &stored, &stored).await;
    assert_eq!(ignored.body["indexed"], json!(false), "{}", ignored.status);
    assert_eq!(list(&stack, "has_recording=false").await, Vec::<Value>::new());
}
