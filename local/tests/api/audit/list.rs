//! `GET /audit`: filters, pages and cursors.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::stack::account;
use serde_json::Value;

use super::{CALL, demo_with_keys, items};
use crate::stack::TestStack;

const WORDS: [&str; 3] = ["play", "list", "erase"];
const KEYS: [&str; 3] = ["a", "b", "c"];
const CALLS: [&str; 3] = ["dispatch_1_1", "RE00000000000000000000000000000077", "other"];

/// An item as the table has it.
#[derive(Debug, Clone)]
struct Written {
    at: Timestamp,
    id: String,
    action: &'static str,
    key: &'static str,
    call: Option<&'static str>,
}

impl Written {
    fn order(&self) -> String {
        format!("{:.3}#{}", self.at, self.id)
    }
}

/// Items of some weeks, several of them at the same millisecond.
async fn write(stack: &TestStack, count: u64, seed: u64) -> Vec<Written> {
    let mut random = fastrand::Rng::with_seed(seed);
    let now = Timestamp::now() - SignedDuration::from_hours(1);
    let mut written = Vec::new();
    for number in 0..count {
        let minutes = random.i64(0..60 * 24 * 45) / 600 * 600;
        let written_now = Written {
            at: Timestamp::from_millisecond((now - SignedDuration::from_mins(minutes)).as_millisecond()).unwrap(),
            id: format!("r{number}="),
            action: WORDS[random.usize(..3)],
            key: KEYS[random.usize(..3)],
            call: random.bool().then(|| CALLS[random.usize(..3)]),
        };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = stack.aws().dynamodb().put_item().table_name(account::AUDIT_TABLE);
        let mut item = HashMap::from([
            ("day".to_owned(), text(&format!("{:.3}", written_now.at)[..10])),
            ("order".to_owned(), text(&written_now.order())),
            ("action".to_owned(), text(written_now.action)),
            ("actor".to_owned(), text("key")),
            ("key_id".to_owned(), text(written_now.key)),
            (
                "expires_at".to_owned(),
                AttributeValue::N((now.as_second() + 86_400).to_string()),
            ),
        ]);
        item.extend(written_now.call.map(|call| ("subject".to_owned(), text(call))));
        put.set_item(Some(item)).send().await.unwrap();
        written.push(written_now);
    }
    written.sort_by_key(|item| std::cmp::Reverse(item.order()));
    written
}

/// All pages of a list: the ids of the requests.
async fn all(stack: &TestStack, query: &str, limit: usize) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = stack.get(&format!("/audit?limit={limit}{query}{cursor}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        let items = page.body["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        found.extend(items.iter().map(|item| item["request_id"].as_str().unwrap().to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn every_page_has_what_matches_once_and_in_order() {
    let stack = demo_with_keys().await;
    let written = write(&stack, 60, 7).await;
    let middle = written[30].at;
    let day = format!("{middle:.3}")[..10].to_owned();
    let start: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
    // Without an end the list also has the items of these requests.
    let end = format!("&to={}", written[0].at + SignedDuration::from_secs(1));
    type Matches = Box<dyn Fn(&Written) -> bool>;
    let filters: Vec<(String, Matches)> = vec![
        (end.clone(), Box::new(|_| true)),
        (format!("{end}&key_id=a"), Box::new(|item| item.key == "a")),
        (
            format!("{end}&action=play&key_id=b"),
            Box::new(|item| item.action == "play" && item.key == "b"),
        ),
        (
            format!("{end}&recording={}", CALLS[0]),
            Box::new(|item| item.call == Some(CALLS[0])),
        ),
        (
            format!("{end}&recording={}&action=list", CALLS[1]),
            Box::new(|item| item.call == Some(CALLS[1]) && item.action == "list"),
        ),
        (format!("&from={middle}{end}"), Box::new(move |item| item.at >= middle)),
        (format!("&to={middle}"), Box::new(move |item| item.at < middle)),
        (
            format!("&from={day}&to={day}"),
            Box::new(move |item| item.at >= start && item.at < start + SignedDuration::from_hours(24)),
        ),
        (format!("{end}&key_id=nobody"), Box::new(|_| false)),
    ];
    for (query, matches) in filters {
        let expected: Vec<String> = written
            .iter()
            .filter(|item| matches(item))
            .map(|item| item.id.clone())
            .collect();
        for limit in [1, 7, 100] {
            if limit > 1 || expected.len() < 20 {
                assert_eq!(all(&stack, &query, limit).await, expected, "{query} limit={limit}");
            }
        }
    }
}

#[tokio::test]
async fn all_items_of_a_call_are_found_by_each_of_its_ids() {
    let stack = demo_with_keys().await;
    super::record_at_twilio(&stack).await;
    assert_eq!(
        stack
            .post(&format!("/recordings/{}/archive", super::AT_TWILIO), &Value::Null)
            .await
            .status,
        202
    );
    let retained = serde_json::json!({"retain_until": "2099-01-01T00:00:00Z"});
    let patch = super::send(
        &stack,
        reqwest::Method::PATCH,
        &format!("/recordings/{}", super::CALL_SID),
    );
    assert_eq!(patch.json(&retained).send().await.unwrap().status(), 200);
    let found = items(&stack).await;
    let subjects: BTreeSet<&str> = found.iter().map(|item| item["subject"].as_str()).collect();
    assert_eq!(subjects, BTreeSet::from([super::AT_TWILIO, super::CALL_SID]));
    for id in [super::AT_TWILIO, super::CALL_SID] {
        for action in ["archive", "retain"] {
            let found = stack.get(&format!("/audit?recording={id}&action={action}")).await;
            assert_eq!(
                found.body["items"].as_array().unwrap().len(),
                1,
                "{id} {action}: {}",
                found.body
            );
            assert_eq!(found.body["next_cursor"], Value::Null);
        }
    }
    assert_eq!(
        stack.get("/audit?recording=dispatch_1_2").await.body["items"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn items_that_have_ended_are_not_shown_and_wrong_parameters_are_refused() {
    let stack = demo_with_keys().await;
    stack.get(&format!("/recordings/{CALL}")).await;
    let item = items(&stack).await.remove(0);
    let text = |name: &str| AttributeValue::S(item[name].clone());
    let update = stack.aws().dynamodb().update_item().table_name(account::AUDIT_TABLE);
    let update = update.key("day", text("day")).key("order", text("order"));
    let update = update.update_expression("SET expires_at = :past");
    update
        .expression_attribute_values(":past", AttributeValue::N("1".into()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        stack.get("/audit?action=get_urls").await.body["items"],
        serde_json::json!([])
    );

    let cursor = stack.get("/audit?limit=1").await.body["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    for (query, code) in [
        ("limit=0", "invalid_parameter"),
        ("limit=101", "invalid_parameter"),
        ("action=listen", "invalid_parameter"),
        ("from=yesterday", "invalid_parameter"),
        ("from=2026-01-02&to=2026-01-01", "invalid_parameter"),
        ("key_id=", "invalid_parameter"),
        ("recording=a%2Fb", "invalid_parameter"),
        ("interaction_id=", "invalid_parameter"),
        ("recording=dispatch_1_2&interaction_id=i", "invalid_parameter"),
        ("cursor=x", "invalid_parameter"),
        ("cursor=", "invalid_parameter"),
        (format!("cursor={cursor}&key_id=demo").as_str(), "invalid_parameter"),
        ("user=demo", "unknown_parameter"),
        ("limit=1&limit=2", "repeated_parameter"),
    ] {
        stack.get(&format!("/audit?{query}")).await.recordings_error(400, code);
    }
}

#[tokio::test]
async fn all_items_of_a_call_are_found_after_the_days_were_lowered_and_one_that_cannot_be_read_is_left_out() {
    let stack = crate::stack::TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
        settings.environment.push(("AUDIT_DAYS".into(), "1".into()));
    })
    .await;
    let written = write(&stack, 60, 7).await;
    let of_call: Vec<String> = written
        .iter()
        .filter(|item| item.call == Some(CALLS[0]))
        .map(|item| item.id.clone())
        .collect();
    let oldest = written.iter().rfind(|item| item.call == Some(CALLS[0])).unwrap();
    assert!(Timestamp::now().duration_since(oldest.at) > SignedDuration::from_hours(72));
    assert_eq!(all(&stack, &format!("&recording={}", CALLS[0]), 7).await, of_call);

    let text = |text: &str| AttributeValue::S(text.to_owned());
    let update = stack.aws().dynamodb().update_item().table_name(account::AUDIT_TABLE);
    let update = update.key("day", text(&format!("{:.3}", oldest.at)[..10]));
    let update = update.key("order", text(&oldest.order()));
    let update = update.update_expression("REMOVE #action");
    let update = update.expression_attribute_names("#action", "action");
    update.send().await.unwrap();
    let readable = &of_call[..of_call.len() - 1];
    assert_eq!(all(&stack, &format!("&recording={}", CALLS[0]), 7).await, readable);
}
