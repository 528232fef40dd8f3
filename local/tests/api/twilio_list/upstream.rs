//! Errors of Twilio and of the credentials.

use super::*;

#[tokio::test]
async fn each_upstream_error_has_its_code_and_only_transient_ones_are_retried() {
    let stack = TestStack::empty().await;
    let own = format!("/2010-04-01/Accounts/{}/Recordings.json", demo::ACCOUNT_SID);
    let next = |uri: &str| answers(json!({"recordings": [], "next_page_uri": uri}));
    // Fault, code, retryable, Retry-After, requests to Twilio.
    for (fault, code, retryable, retry_after, requests) in [
        (fails(401, None), "twilio_unauthorized", false, None, 1),
        (fails(403, None), "twilio_unauthorized", false, None, 1),
        (fails(404, None), "twilio_unauthorized", false, None, 1),
        (fails(400, None), "twilio_error", false, None, 1),
        (fails(429, Some(0)), "twilio_rate_limited", true, Some("1"), 4),
        (fails(429, Some(3600)), "twilio_rate_limited", true, Some("3600"), 1),
        (
            fails(429, Some(10u64.pow(18))),
            "twilio_rate_limited",
            true,
            Some("1000000000000000000"),
            1,
        ),
        (fails(500, Some(0)), "twilio_unavailable", true, Some("1"), 4),
        (fails(503, Some(0)), "twilio_unavailable", true, Some("1"), 4),
        (answers("{\"recordings\": ["), "twilio_error", false, None, 1),
        (answers("<html>"), "twilio_error", false, None, 1),
        (answers("{}"), "twilio_error", false, None, 1),
        (
            next("https://elsewhere.example/2010-04-01/Accounts/x/Recordings.json?Page=1"),
            "twilio_error",
            false,
            None,
            1,
        ),
        (
            next("//elsewhere.example/Recordings.json?Page=1"),
            "twilio_error",
            false,
            None,
            1,
        ),
        (
            next("/2010-04-01/Accounts/AC00000000000000000000000000000000/Recordings.json?Page=1"),
            "twilio_error",
            false,
            None,
            1,
        ),
        (next(&format!("{own}?PageSize=50")), "twilio_error", false, None, 1),
        (
            Fault::Redirect(format!("{}{own}", stack.stack.aws_url)),
            "twilio_error",
            false,
            None,
            4,
        ),
    ] {
        let before = stack.stack.twilio.requests().len();
        stack.stack.twilio.fault("Recordings.json", fault.clone(), None);
        let failed = stack.get(LIST).await;
        stack.stack.twilio.clear_faults();
        let context = format!("{fault:?}: {}", failed.body);
        assert_eq!(failed.body["code"], code, "{context}");
        let error = failed.twilio_error(500, code);
        assert!(error.starts_with("Failed to list recordings: "), "{context}");
        assert_eq!(
            failed.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{context}"
        );
        let header = failed.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(header, retry_after, "{context}");
        assert_eq!(stack.stack.twilio.requests().len() - before, requests, "{context}");
    }
}

#[tokio::test]
async fn a_transient_fault_is_retried_and_not_visible_to_the_caller() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(1, "completed"));
    for fault in [fails(429, None), fails(503, None), Fault::Truncate] {
        stack.stack.twilio.fault("Recordings.json", fault.clone(), Some(1));
        assert_eq!(sids(&stack.get(LIST).await), [sid(1)], "{fault:?}");
    }
}

#[tokio::test]
async fn rows_read_before_a_fault_are_returned_with_a_token_to_continue() {
    for matching in [true, false] {
        let (stack, _) = with_twilio(move |request| {
            let query = request.uri().query().unwrap_or_default();
            if request.uri().path().contains(".mp3") {
                StatusCode::OK.into_response()
            } else if query.contains("PageToken=PA1") {
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "0")]).into_response()
            } else {
                page(
                    if matching { &[2, 1] } else { &[] },
                    Some("PageSize=200&Page=1&PageToken=PA1"),
                )
            }
        })
        .await;
        let list = stack.get(&format!("{LIST}?status=completed")).await;
        let expected = if matching { vec![sid(2), sid(1)] } else { vec![] };
        assert_eq!(sids(&list), expected);
        let token = list.body["next_page_token"].as_str().expect("there may be more");
        let again = stack.get(&format!("{LIST}?status=completed&page_token={token}")).await;
        again.twilio_error(500, "twilio_unavailable");
    }
}

#[tokio::test]
async fn a_cycle_of_pages_is_an_error() {
    let (stack, log) = with_twilio(|request| {
        let second = request.uri().query().is_some_and(|query| query.contains("Page=1"));
        let next = if second {
            "PageSize=200&Page=0"
        } else {
            "PageSize=200&Page=1"
        };
        page(&[], Some(next))
    })
    .await;
    let failed = stack.get(&format!("{LIST}?status=completed")).await;
    failed.twilio_error(500, "twilio_error");
    assert!(log.lock().unwrap().len() <= 4);
}

#[tokio::test]
async fn a_twilio_that_hangs_is_a_timeout() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.fault("Recordings.json", Fault::Hang, None);
    let clock = StoppedClock::new();
    let request = stack.request(Method::GET, LIST).header("x-api-key", demo::API_KEY);
    let list = tokio::spawn(answer(request));
    stack.stack.twilio.wait_for_requests(1).await;
    tokio::time::advance(Duration::from_secs(11)).await;
    let failed = list.await.unwrap();
    drop(clock);
    failed.twilio_error(500, "twilio_timeout");
    assert_eq!(failed.body["retryable"], true);
}

#[tokio::test]
async fn rows_with_missing_fields_are_listed() {
    let (stack, _) = with_twilio(|request| {
        if request.uri().path().contains(".mp3") {
            return StatusCode::NOT_FOUND.into_response();
        }
        let rows = json!([
            {"sid": sid(1)},
            {"sid": sid(2), "status": "on-hold", "duration": "-1", "price": -0.0025, "date_created": "soon", "channels": null, "new_field": {}},
        ]);
        axum::Json(json!({"recordings": rows})).into_response()
    })
    .await;
    let list = stack.get(LIST).await;
    assert_eq!(sids(&list), [sid(1), sid(2)]);
    let row = &list.body["recordings"][1];
    assert_eq!(
        (&row["duration"], &row["price"], &row["date_created"]),
        (&Value::Null, &json!("-0.0025"), &Value::Null)
    );
    assert_eq!(row["account_sid"], demo::ACCOUNT_SID);
    assert_eq!(list.body["summary"]["in_progress"], 2);
}

/// A stack whose Twilio secret has this text, or does not exist.
async fn with_secret(text: Option<&str>) -> TestStack {
    let stack = TestStack::with_environment([("TWILIO_SECRET", "other")]).await;
    if let Some(text) = text {
        let secrets = stack.aws().secrets_manager();
        secrets
            .create_secret()
            .name("other")
            .secret_string(text)
            .send()
            .await
            .unwrap();
    }
    stack
}

#[tokio::test]
async fn unusable_credentials_are_reported_without_their_values() {
    for secret in [
        None,
        Some("not JSON, hunter2"),
        Some(r#"{"account_sid":"AC1234567890abcdef"}"#),
        Some(r#"{"account_sid":"AC1234567890abcdef","auth_token":""}"#),
        Some(r#"{"account_sid":"hunter2","auth_token":"hunter2"}"#),
    ] {
        let stack = with_secret(secret).await;
        let failed = stack.get(LIST).await;
        let error = failed.twilio_error(500, "twilio_not_configured");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(stack.stack.twilio.requests(), []);
    }
}

#[tokio::test]
async fn an_api_key_of_the_account_is_used_in_place_of_its_token() {
    let secret = json!({
        "account_sid": demo::ACCOUNT_SID,
        "api_key_sid": "SK0123456789abcdef0123456789abcdef",
        "api_key_secret": "key secret",
    });
    let stack = with_secret(Some(&secret.to_string())).await;
    stack
        .stack
        .twilio
        .add_api_key("SK0123456789abcdef0123456789abcdef", "key secret");
    stack.stack.twilio.add(recording(1, "completed"));
    assert_eq!(sids(&stack.get(LIST).await), [sid(1)]);
    assert!(stack.stack.twilio.requests().iter().all(|request| request.authorized));
}

#[tokio::test]
async fn a_rotated_token_is_read_at_the_first_401_and_not_for_each_request() {
    let credentials = |token: &str| json!({"account_sid": demo::ACCOUNT_SID, "auth_token": token}).to_string();
    let stack = with_secret(Some(&credentials("the old token"))).await;
    stack.stack.twilio.add(recording(1, "completed"));
    stack.get(LIST).await.twilio_error(500, "twilio_unauthorized");
    stack.put_secret("other", &credentials(demo::AUTH_TOKEN)).await;
    // Secrets that are refused cause at most one read in 30 seconds.
    stack.get(LIST).await.twilio_error(500, "twilio_unauthorized");
    pass(Duration::from_secs(31)).await;
    assert_eq!(sids(&stack.get(LIST).await), [sid(1)]);
}
