//! Reported interactions, by request and by event.

use super::*;
use crate::bound_transcripts::index;

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

/// Sends events to EventBridge.
pub(super) async fn put_events(stack: &TestStack, body: &Value) -> Value {
    let request = reqwest::Client::new()
        .post(&stack.stack.aws_url)
        .header("x-amz-target", "AWSEvents.PutEvents");
    let answer = request.body(body.to_string()).send().await.unwrap();
    answer.json().await.unwrap()
}

#[tokio::test]
async fn interaction_events_are_indexed_and_an_invalid_one_blocks_nothing() {
    let stack = TestStack::empty().await;
    let entry = |detail: &str| json!({"Source": "crm", "DetailType": "interaction.updated", "Detail": detail});
    let poison = json!({"status": "COMPLETED"}).to_string();
    let report = json!({"dispatch_id": ID, "customer_name": "Louis Smith", "something": 1}).to_string();
    let answer = put_events(
        &stack,
        &json!({"Entries": [entry("{"), entry(&poison), entry(&report)]}),
    )
    .await;
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
async fn a_reported_number_without_country_code_is_one_of_the_default_country() {
    let stack = TestStack::with_environment([("DEFAULT_COUNTRY", "US")]).await;
    stack.put_object(KEY, b"sound");
    let start = "2025-08-08T11:44:39Z";
    let interaction = json!({"interaction_id": "i-1", "phone": "(510) 345-5686", "start_time": start});
    assert_eq!(report_interaction(&stack, interaction).await.status, 200);
    let detail = json!({"interaction_id": "i-2", "phone": "4155550123", "start_time": start}).to_string();
    let entry = json!({"Source": "crm", "DetailType": "interaction.updated", "Detail": detail});
    put_events(&stack, &json!({"Entries": [entry]})).await;
    index(&stack, KEY).await;
    let row = &list(&stack, "phone=%2B15103455686").await[0];
    assert_eq!(
        (&row["phone"], &row["interaction_id"]),
        (&json!("+15103455686"), &json!("i-1"))
    );
    assert!(
        !row["recording_url"].is_null(),
        "it is paired with its recording: {row}"
    );
    while list(&stack, "phone=%2B14155550123&has_recording=false")
        .await
        .is_empty()
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
