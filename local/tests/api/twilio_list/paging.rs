//! Pages and page tokens.

use super::*;

#[tokio::test]
async fn twilios_pages_are_read_until_enough_rows_match() {
    let stack = TestStack::empty().await;
    for number in 1..=3 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    for number in 4..=430 {
        stack.stack.twilio.add(recording(number, "paused"));
    }
    let list = stack.get(&format!("{LIST}?limit=2&status=completed")).await;
    assert_eq!(sids(&list), [sid(3), sid(2)]);
    assert!(list.body["next_page_token"].is_string());
    assert!(
        (2..=10).contains(&pages(&stack).len()),
        "few large pages: {}",
        pages(&stack).len()
    );
    let probes = stack.stack.twilio.requests().len() - pages(&stack).len();
    assert_eq!(probes, 2, "only the media of returned rows is checked");
}

/// Follows `next_page_token` to the last page. `between` is called after each page with its number, from 1.
async fn walk(stack: &TestStack, query: &str, mut between: impl FnMut(u32)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut path = format!("{LIST}?{query}");
    for page in 1.. {
        assert!(page < 50, "the pagination does not end");
        let list = stack.get(&path).await;
        seen.extend(sids(&list).into_iter().map(str::to_owned));
        let Some(token) = list.body["next_page_token"].as_str() else {
            break;
        };
        path = format!("{LIST}?{query}&page_token={token}");
        between(page);
    }
    seen
}

#[tokio::test]
async fn pagination_returns_every_row_once_and_in_order_while_rows_are_added() {
    for query in [
        "limit=3",
        "limit=3&status=completed",
        "limit=4&date_created_after=2025-03-01",
    ] {
        let stack = TestStack::empty().await;
        for number in 1..=14 {
            let status = if query.contains("status") && number % 3 == 0 {
                "absent"
            } else {
                "completed"
            };
            stack.stack.twilio.add(recording(number, status));
        }
        let expected: Vec<_> = (1..=14)
            .rev()
            .filter(|number| !query.contains("status") || number % 3 != 0)
            .map(sid)
            .collect();
        assert_eq!(walk(&stack, query, |_| {}).await, expected, "{query}");
        let arriving = |page| {
            for number in 0..2 {
                stack.stack.twilio.add(recording(100 * page + number, "completed"));
            }
        };
        assert_eq!(walk(&stack, query, arriving).await, expected, "{query}, rows arriving");
    }
}

#[tokio::test]
async fn a_row_that_moved_to_twilios_next_page_is_still_found() {
    let stack = TestStack::empty().await;
    for number in 1..=205 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let query = "limit=100&status=completed";
    let arriving = |page| {
        // After the first page, the row after which the list continues moves from Twilio's first page of 200 to its second.
        for number in 0..150 {
            stack.stack.twilio.add(recording(1000 * page + number, "completed"));
        }
    };
    let expected: Vec<_> = (1..=205).rev().map(sid).collect();
    assert_eq!(walk(&stack, query, arriving).await, expected);
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_filters_only_and_forgeries_are_rejected() {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    let stack = TestStack::empty().await;
    for number in 1..=5 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let list = stack.get(&format!("{LIST}?limit=2&status=completed")).await;
    let token = list.body["next_page_token"].as_str().unwrap();
    let asked = stack.stack.twilio.requests().len();
    for query in [
        format!("page_token={token}"),
        format!("status=failed&page_token={token}"),
        format!("status=completed&date_created_after=2025-01-01&page_token={token}"),
        format!("status=completed&page_token={token}x"),
        format!("status=completed&page_token={}", &token[..token.len() - 4]),
    ] {
        let refused = stack.get(&format!("{LIST}?{query}")).await;
        let error = refused.twilio_error(400, "invalid_parameter");
        assert!(error.contains("page_token"), "{error}");
    }
    let token_of = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let none = json!([null, null, null]);
    for forged in [
        json!({"page": "PageSize=5#", "after": null, "filter": none}),
        json!({"page": "PageSize=5 HTTP/1.1\r\nHost: elsewhere", "after": null, "filter": none}),
        json!({"page": "PageSize=5", "after": "../../x", "filter": none}),
        json!({"page": "PageSize=5", "after": null, "filter": none, "host": "elsewhere"}),
        json!({"page": 5, "after": null, "filter": none}),
        json!([]),
        Value::Null,
    ] {
        let refused = stack.get(&format!("{LIST}?page_token={}", token_of(forged))).await;
        refused.twilio_error(400, "invalid_parameter");
    }
    assert_eq!(stack.stack.twilio.requests().len(), asked, "Twilio was asked");

    // Tokens that only Twilio can reject.
    let junk = token_of(json!({"page": "PageSize=5&Page=1&PageToken=junk", "after": null, "filter": none}));
    let refused = stack.get(&format!("{LIST}?page_token={junk}")).await;
    refused.twilio_error(400, "page_token_expired");
    let more = stack
        .get(&format!("{LIST}?limit=1&status=completed&page_token={token}"))
        .await;
    assert_eq!(sids(&more), [sid(3)]);
    stack.stack.twilio.remove(&sid(4));
    let expired = stack
        .get(&format!("{LIST}?limit=2&status=completed&page_token={token}"))
        .await;
    expired.twilio_error(400, "page_token_expired");
}

#[tokio::test]
async fn twilio_is_queried_only_for_the_requested_days() {
    let (stack, log) = with_twilio(|_| page(&[], None)).await;
    stack
        .get(&format!(
            "{LIST}?limit=7&date_created_after=2024-01-01&date_created_before=2024-01-31"
        ))
        .await;
    stack.get(&format!("{LIST}?limit=7")).await;
    let log = log.lock().unwrap();
    assert!(log[0].1.contains("DateCreated%3E=2024-01-01"), "{log:?}");
    assert!(log[0].1.contains("DateCreated%3C=2024-02-0"), "{log:?}");
    assert_eq!(log[1].1, "PageSize=7");
}
