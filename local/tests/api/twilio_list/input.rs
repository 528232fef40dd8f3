//! Parameters, keys and paths.

use super::*;

#[tokio::test]
async fn invalid_parameters_are_named_without_a_request_to_twilio() {
    let stack = TestStack::empty().await;
    for (query, named) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=500", "limit"),
        ("limit=-1", "limit"),
        ("limit=abc", "limit"),
        ("limit=", "limit"),
        ("limit", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=%31%00", "limit"),
        ("limit=5&limit=5", "limit"),
        ("status=done", "status"),
        ("status=Completed", "status"),
        ("status=", "status"),
        ("status=completed&status=failed", "status"),
        ("date_created_after=yesterday", "date_created_after"),
        ("date_created_after=2024-02-30", "date_created_after"),
        ("date_created_after=", "date_created_after"),
        ("date_created_after=1705312200", "date_created_after"),
        ("date_created_before=2024-01-15T10:30:00+99:00", "date_created_before"),
        ("date_created_before=9999-12-31", "date_created_before"),
        (
            "date_created_after=2024-02-01&date_created_before=2024-01-31",
            "date_created_after",
        ),
        (
            "date_created_after=2024-01-01T00:00:00Z&date_created_before=2024-01-01T00:00:00Z",
            "date_created_after",
        ),
        (
            "date_created_after=2024-01-01&date_created_after=2024-01-02",
            "date_created_after",
        ),
        ("page=2", "page"),
        ("Limit=5", "Limit"),
        ("page_token=", "page_token"),
        ("page_token=garbage", "page_token"),
        ("page_token=e30", "page_token"),
        ("status=%ff", "query string"),
    ] {
        let refused = stack.get(&format!("{LIST}?{query}")).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
        let code = refused.body["code"].as_str().unwrap();
        let error = refused.twilio_error(400, code);
        assert!(error.contains(named), "{query}: {error}");
        assert_eq!(refused.body.get("retryable"), None);
    }
    assert_eq!(stack.stack.twilio.requests(), []);
}

#[tokio::test]
async fn without_a_valid_key_there_is_no_request_to_twilio() {
    let stack = TestStack::demo().await;
    for (path, key) in [
        (LIST.to_owned(), None),
        (LIST.to_owned(), Some("wrong")),
        (LIST.to_owned(), Some("")),
        (format!("{LIST}?api_key=wrong"), None),
        // The header takes precedence.
        (format!("{LIST}?api_key={}", demo::API_KEY), Some("wrong")),
    ] {
        let mut request = stack.request(Method::GET, &path);
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        answer(request).await.twilio_error(401, "unauthorized");
    }
    assert_eq!(stack.stack.twilio.requests(), []);
}

#[tokio::test]
async fn an_unknown_path_below_the_prefix_is_a_404_in_its_format() {
    let stack = TestStack::empty().await;
    for path in [
        "/api/twilio/recordings/x",
        "/api/twilio/other",
        "/api/twilio/recordings/../x/",
    ] {
        let refused = stack.get(path).await;
        assert_eq!(refused.status, 404, "{path}: {}", refused.body);
    }
    assert_eq!(stack.stack.twilio.requests(), []);
}

#[tokio::test]
async fn dates_are_exact_at_both_ends() {
    let stack = TestStack::empty().await;
    let moments = [
        "2025-06-01T23:59:59Z",
        "2025-06-02T00:00:00Z",
        "2025-06-02T10:30:00Z",
        "2025-06-02T23:59:59Z",
        "2025-06-03T00:00:00Z",
    ];
    for (number, moment) in (1..).zip(moments) {
        stack.stack.twilio.add(Recording {
            date_created: at(moment),
            ..recording(number, "completed")
        });
    }
    for (query, expected) in [
        ("date_created_after=2025-06-02", vec![5, 4, 3, 2]),
        ("date_created_before=2025-06-02", vec![4, 3, 2, 1]),
        (
            "date_created_after=2025-06-02&date_created_before=2025-06-02",
            vec![4, 3, 2],
        ),
        ("date_created_after=2025-06-02T10:30:00Z", vec![5, 4, 3]),
        ("date_created_before=2025-06-02T10:30:00Z", vec![2, 1]),
        ("date_created_after=2025-06-02T10:30:01Z", vec![5, 4]),
        ("date_created_before=2025-06-02T10:30:00.001Z", vec![3, 2, 1]),
        ("date_created_after=2025-06-02T10:30:00", vec![5, 4, 3]),
        ("date_created_after=2025-06-02T12:30:00%2B02:00", vec![5, 4, 3]),
        ("date_created_after=2025-06-02T12:30:00+02:00", vec![5, 4, 3]),
        ("date_created_after=2025-06-02T08:30:00-02:00", vec![5, 4, 3]),
        ("date_created_before=2025-06-03T00:00:00Z", vec![4, 3, 2, 1]),
        // In UTC these times are on the day before and the day after.
        ("date_created_after=2025-06-03T01:00:00%2B02:00", vec![5, 4]),
        ("date_created_before=2025-06-01T23:00:00-02:00", vec![2, 1]),
        ("date_created_after=2025-06-03T00:00:01Z", vec![]),
    ] {
        let list = stack.get(&format!("{LIST}?{query}")).await;
        let expected: Vec<_> = expected.into_iter().map(sid).collect();
        assert_eq!(sids(&list), expected, "{query}");
    }
}

#[tokio::test]
async fn an_unescaped_plus_is_the_same_date_in_the_response_and_the_token() {
    let stack = TestStack::empty().await;
    for number in 1..=3 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let list = stack
        .get(&format!("{LIST}?limit=1&date_created_after=2025-03-01T01:00:00+01:00"))
        .await;
    assert_eq!(
        list.body["query_parameters"]["date_created_after"],
        "2025-03-01T01:00:00+01:00"
    );
    let token = list.body["next_page_token"].as_str().unwrap();
    let next = stack
        .get(&format!(
            "{LIST}?limit=1&date_created_after=2025-03-01T01:00:00%2B01:00&page_token={token}"
        ))
        .await;
    assert_eq!(sids(&next), [sid(2)]);
}
