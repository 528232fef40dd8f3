//! What has no item: requests that are refused, find nothing, or send nothing.

use local::stack::account;
use reqwest::Method;
use serde_json::{Value, json};

use super::{AT_TWILIO, CALL, Item, SID, demo_with_keys, done, items, record_at_twilio, send};
use crate::{
    stack::{TestStack, answer},
    webhooks,
};

/// The actions of all items.
async fn actions(stack: &TestStack) -> Vec<String> {
    let items = items(stack).await;
    items
        .into_iter()
        .map(|mut item| item.remove("action").unwrap())
        .collect()
}

#[tokio::test]
async fn routes_that_show_nothing_of_calls_and_requests_that_fail_write_nothing() {
    let stack = demo_with_keys().await;
    for path in [
        "/api/twilio/usage",
        "/reports/daily?from=2025-08-01&to=2025-08-02",
        "/reports/queues",
        "/recordings/dispatch_1_2",
        "/recordings?limit=0",
        &format!("/recordings/{CALL}/transcript"),
        "/audit?from=x",
    ] {
        send(&stack, Method::GET, path).send().await.unwrap();
    }
    assert_eq!(stack.get_without_key("/audit").await.status, 401);
    let estimated = json!({"dry_run": true});
    let estimate = stack.post(&format!("/recordings/{CALL}/transcript"), &estimated).await;
    assert_eq!(estimate.status, 200, "{}", estimate.body);
    assert_eq!(items(&stack).await, Vec::<Item>::new());
}

#[tokio::test]
async fn a_transcript_over_the_budget_has_no_item() {
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("MONTHLY_BUDGET_USD".into(), "0".into()));
    })
    .await;
    let refused = stack.post(&format!("/recordings/{CALL}/transcript"), &json!({})).await;
    refused.recordings_error(402, "budget_exceeded");
    let body = json!({"recording_sid": SID});
    let refused = stack.post("/api/twilio/transcript", &body).await;
    refused.twilio_error(402, "budget_exceeded");
    assert_eq!(actions(&stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_waveform_that_cannot_be_drawn_has_no_item() {
    let stack = TestStack::empty().await;
    let key = "egress-recordings/2025/07/31/outbound-15550001111_1754000003.wav";
    stack.put_object(key, b"<html><body>not a recording at all</body></html>");
    let path = "/recordings/dispatch_1754000000_15550001111/waveform";
    let refused = stack.post(path, &json!({})).await;
    refused.recordings_error(422, "media_not_audio");
    assert_eq!(actions(&stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_head_has_an_item_only_where_its_headers_lead_to_a_recording() {
    let stack = demo_with_keys().await;
    let made = stack.post(&format!("/recordings/{CALL}/transcript"), &json!({})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    webhooks::round(&stack).await;
    let before = actions(&stack).await.len();
    for path in [
        "/recordings".to_owned(),
        "/api/twilio/recordings".to_owned(),
        format!("/recordings/{CALL}"),
        format!("/recordings/{CALL}/transcript"),
        format!("/recordings/{CALL}/shares"),
        "/reports/completeness".to_owned(),
        "/audit".to_owned(),
    ] {
        let answered = send(&stack, Method::HEAD, &path).send().await.unwrap();
        assert_eq!(answered.status(), 200, "{path}");
        assert_eq!(actions(&stack).await.len(), before, "{path}");
    }
    let played = send(&stack, Method::HEAD, &format!("/recordings/{CALL}/audio"));
    assert_eq!(played.send().await.unwrap().status(), 200);
    assert_eq!(actions(&stack).await[before..], ["play"]);
}

#[tokio::test]
async fn the_refusal_to_erase_a_held_call_does_not_say_why_it_is_held() {
    let stack = demo_with_keys().await;
    let path = format!("/recordings/{CALL}");
    let hold = json!({"hold": {"reason": "Complaint 17"}});
    let held = send(&stack, Method::PATCH, &path).json(&hold).send().await.unwrap();
    assert_eq!(held.status(), 200);
    let refused = answer(send(&stack, Method::DELETE, &path)).await;
    let by_id = stack.post("/erasures", &json!({"dispatch_id": CALL})).await;
    for refused in [refused, by_id] {
        assert!(!refused.recordings_error(409, "recording_held").contains("Complaint"));
    }
    assert_eq!(actions(&stack).await, ["hold"]);
}

#[tokio::test]
async fn the_empty_list_of_shares_is_an_item_of_a_known_call_only() {
    let stack = demo_with_keys().await;
    record_at_twilio(&stack).await;
    let listed = stack.get("/recordings/dispatch_1_2/shares").await;
    assert_eq!(listed.body, json!({"shares": []}));
    assert_eq!(items(&stack).await, Vec::<Item>::new());
    let listed = stack.get(&format!("/recordings/{AT_TWILIO}/shares")).await;
    assert_eq!(listed.body, json!({"shares": []}));
    let items = items(&stack).await;
    assert_eq!(
        items.iter().map(done).collect::<Vec<_>>(),
        [("read_shares", Some("demo"), Some(AT_TWILIO))]
    );
}

#[tokio::test]
async fn each_request_for_a_copy_that_is_being_made_has_an_item() {
    let stack = TestStack::empty().await;
    record_at_twilio(&stack).await;
    let path = format!("/recordings/{AT_TWILIO}/archive");
    let put = stack
        .aws()
        .dynamodb()
        .update_item()
        .table_name(account::LIFECYCLE_TABLE);
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    // It is being copied.
    let put = put.key("id", text(&format!("recording#{AT_TWILIO}")));
    let put = put.update_expression("SET due_list = :copy, due_at = :at");
    let put = put.expression_attribute_values(":copy", text("copy"));
    let later = jiff::Timestamp::now().as_millisecond() + 600_000;
    let later = aws_sdk_dynamodb::types::AttributeValue::N(later.to_string());
    put.expression_attribute_values(":at", later).send().await.unwrap();
    let requested = stack.post(&path, &Value::Null).await;
    assert_eq!(requested.status, 202, "{}", requested.body);
    let items = items(&stack).await;
    assert_eq!(
        items.iter().map(done).collect::<Vec<_>>(),
        [("archive", Some("demo"), Some(AT_TWILIO))]
    );
}
