//! Who sent a request, and how its item shows it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use local::demo;
use reqwest::{Method, header};

use super::{CALL, NUMBER, SHARED, demo_with_keys, items, send};
use crate::stack::TestStack;

#[tokio::test]
async fn a_list_of_many_rows_is_one_item_with_the_names_of_its_filters() {
    let stack = demo_with_keys().await;
    let path = format!(
        "/recordings?limit=100&order=asc&phone=%2B{NUMBER}&api_key={}",
        demo::API_KEY
    );
    let listed = stack.get_without_key(&path).await;
    let rows = listed.body["recordings"].as_array().unwrap().len();
    let all = stack.get("/recordings?limit=100").await.body["recordings"]
        .as_array()
        .unwrap()
        .len();
    assert!(rows >= 1 && all > 20, "{rows} {all}");
    let items = items(&stack).await;
    let shown: BTreeSet<(&str, String)> = items
        .iter()
        .map(|item| (item["parameters"].as_str(), item["rows"].clone()))
        .collect();
    let expected = BTreeSet::from([("limit,order,phone", rows.to_string()), ("limit", all.to_string())]);
    assert_eq!((items.len(), shown), (2, expected));
    assert!(!format!("{items:?}").contains(NUMBER));
    let days = items[0]["expires_at"].parse::<i64>().unwrap() - Timestamp::now().as_second();
    assert!((89 * 86_400..=90 * 86_400).contains(&days), "{days}");
}

#[tokio::test]
async fn sessions_shares_and_requests_without_a_key_are_told_apart() {
    let stack = demo_with_keys().await;
    let signed_in = send(&stack, Method::POST, "/console/session").send().await.unwrap();
    let cookie = signed_in.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let path = format!("/recordings/{CALL}/audio");
    let played = stack.request(Method::GET, &path).header(header::COOKIE, cookie);
    // Anyone can send this header.
    let played = played.header("X-Forwarded-For", "198.51.100.9");
    assert_eq!(played.send().await.unwrap().status(), 200);
    for path in [format!("/s/{SHARED}"), format!("/s/{SHARED}/audio")] {
        assert_eq!(
            stack
                .request(Method::HEAD, &format!("/s/{SHARED}"))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
        assert_eq!(
            stack.request(Method::GET, &path).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let found = items(&stack).await;
    let who: BTreeSet<(&str, &str, bool, bool)> = found
        .iter()
        .map(|item| {
            let has = |name: &str| item.contains_key(name);
            (
                item["action"].as_str(),
                item["actor"].as_str(),
                has("key_id"),
                has("share_id"),
            )
        })
        .collect();
    let expected = [
        ("play", "console", true, false),
        ("open_share", "share", false, true),
        ("play", "share", false, true),
    ];
    assert_eq!((found.len(), who), (3, BTreeSet::from(expected)));
    assert!(
        found
            .iter()
            .all(|item| item["subject"].starts_with("dispatch_") && item.contains_key("address"))
    );

    assert!(found.iter().all(|item| item["address"] != "198.51.100.9"));

    let open = TestStack::demo().await;
    assert_eq!(open.get_without_key(&format!("/recordings/{CALL}")).await.status, 200);
    let found = items(&open).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0]["actor"].as_str(), found[0].get("key_id")), ("anyone", None));
    // What is open to everyone is not who plays it.
    assert_eq!(open.get_without_key("/audit").await.status, 401);
}
