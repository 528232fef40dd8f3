//! What the audit has of a call that was erased.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use shared::audit::{Action, Actor, AuditLog, Event, Origin};

use super::{AT_TWILIO, CALL, CALL_SID, Item, NUMBER, SHARED, demo_with_keys, items, record_at_twilio, send};
use crate::{
    logs::invoked,
    stack::{TestStack, answer},
};

async fn erase(stack: &TestStack, body: &Value) -> Value {
    let requested = stack.post("/erasures", body).await;
    assert_eq!(requested.status, 202, "{}", requested.body);
    let path = requested.body["status_url"].as_str().unwrap();
    for _ in 0..1200 {
        let body = stack.get(path).await.body;
        if body["status"] == "done" {
            return body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not done: {}", stack.get(path).await.body)
}

#[tokio::test]
async fn items_of_an_erased_call_keep_key_time_and_action_and_lose_the_call_under_all_its_ids() {
    let stack = demo_with_keys().await;
    for path in ["", "/audio", "/audio?download=1"] {
        let status = send(&stack, Method::GET, &format!("/recordings/{CALL}{path}"))
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, 200);
    }
    let page = stack
        .request(Method::GET, &format!("/s/{SHARED}"))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let before = items(&stack).await;
    let erased = erase(&stack, &json!({"phone": format!("+{NUMBER}")})).await;
    let after = items(&stack).await;
    assert!(!format!("{after:?}").contains(NUMBER), "{after:?}");
    let kept = |item: &Item| {
        let names = ["day", "order", "action", "actor", "key_id", "share_id", "expires_at"];
        names.map(|name| item.get(name).cloned())
    };
    let with_call: Vec<&Item> = before.iter().filter(|item| item["subject"].contains(NUMBER)).collect();
    assert!(with_call.len() >= 3, "{before:?}");
    for item in &with_call {
        let now = after.iter().find(|now| now["order"] == item["order"]).unwrap();
        assert_eq!(kept(now), kept(item));
        assert_eq!(now.get("address"), None);
        assert!(now.contains_key("call_erased"));
    }
    let steps = erased["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["kind"] == "audit_items").unwrap();
    assert_eq!(
        (&step["state"], &step["erased"]),
        (&json!("done"), &json!(with_call.len()))
    );
    let receipt = &erased["receipt"]["receipt"];
    assert_eq!(receipt["erased"]["audit_items"], with_call.len());
    assert!(receipt["remains"].to_string().contains("audit"), "{receipt}");
    let shown = stack.get("/audit?action=play").await;
    let shown = &shown.body["items"][0];
    assert_eq!(
        (&shown["key_id"], &shown["recording"], &shown["erased"]),
        (&json!("demo"), &Value::Null, &json!(true))
    );
    // Nobody names the call again.
    let late = json!({"interaction_id": "i-late", "dispatch_id": CALL, "status": "PAID"});
    assert!(stack.post("/interactions", &late).await.status.is_success());
    assert_eq!(stack.get(&format!("/audit?recording={CALL}")).await.status, 200);
    assert!(!format!("{:?}", items(&stack).await).contains(NUMBER));
}

#[tokio::test]
async fn an_erasure_by_one_id_finds_the_items_of_the_others_and_no_other_call() {
    let stack = TestStack::empty().await;
    record_at_twilio(&stack).await;
    let log = AuditLog::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    for (number, id) in [AT_TWILIO, CALL_SID, AT_TWILIO].into_iter().enumerate() {
        let origin = Origin {
            actor: Actor::Key("ops".into()),
            request_id: format!("r-{number}"),
            address: Some("192.0.2.1".into()),
        };
        let play = Event::new(Action::Play).about(id);
        invoked(log.write(&play, &origin)).await.unwrap();
    }
    // Other calls keep theirs.
    let other = json!({"interaction_id": "i-other", "status": "NEW"});
    assert!(stack.post("/interactions", &other).await.status.is_success());
    erase(&stack, &json!({"recording_sid": AT_TWILIO})).await;
    let subjects: Vec<Option<String>> = items(&stack)
        .await
        .iter()
        .map(|item| item.get("subject").cloned())
        .collect();
    let named: Vec<String> = subjects.into_iter().flatten().collect();
    assert_eq!(named, ["interaction#i-other"]);
    let again = answer(send(&stack, Method::DELETE, &format!("/recordings/{AT_TWILIO}"))).await;
    again.recordings_error(404, "call_not_found");
}

/// A recording that is played under an id that nobody reported, and then belongs to a call that is reported.
#[tokio::test]
async fn a_play_under_another_id_is_found_and_erased_with_the_call_that_has_the_recording() {
    let stack = TestStack::empty().await;
    let (phone, unix) = ("15550002222", Timestamp::now().as_second() - 7200);
    let day = Timestamp::from_second(unix).unwrap().strftime("%Y/%m/%d").to_string();
    let key = format!("egress-recordings/{day}/outbound-{phone}_{unix}.mp4");
    stack.put_object(&key, b"sound");
    let guessed = format!("dispatch_{}_{phone}", unix - 30);
    let reported = format!("dispatch_{}_{phone}", unix - 2);
    let played = send(&stack, Method::GET, &format!("/recordings/{guessed}/audio"));
    assert_eq!(played.send().await.unwrap().status(), 200);
    let interaction = json!({"dispatch_id": reported, "interaction_id": "i-re", "phone": format!("+{phone}")});
    assert!(stack.post("/interactions", &interaction).await.status.is_success());
    let found = stack.get(&format!("/recordings/{reported}")).await;
    assert_eq!(found.body["s3_key"], json!(key));

    for by in [format!("recording={reported}"), "interaction_id=i-re".to_owned()] {
        let listed = stack.get(&format!("/audit?{by}&action=play")).await;
        let shown: Vec<&Value> = listed.body["items"].as_array().unwrap().iter().collect();
        assert_eq!(shown.len(), 1, "{by}: {}", listed.body);
        assert_eq!(shown[0]["recording"], json!(guessed), "as the request named it");
    }
    erase(&stack, &json!({"dispatch_id": reported})).await;
    let left = format!("{:?}", items(&stack).await);
    assert!(!left.contains(phone), "{left}");
}
