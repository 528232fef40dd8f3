//! Checks whether the audio of each recording can be fetched.

use super::*;

#[tokio::test]
async fn a_failed_media_check_is_shown_in_its_row_and_never_fails_the_list() {
    let stack = TestStack::empty().await;
    let twilio = &stack.stack.twilio;
    let refusing = "http://127.0.0.1:9/";
    let itself = format!(
        "{}/2010-04-01/Accounts/{}/Recordings/{}.mp3",
        stack.stack.aws_url,
        demo::ACCOUNT_SID,
        sid(8)
    );
    for number in 1..=8 {
        twilio.add(recording(number, "completed"));
    }
    for (number, status) in [(2, 404), (3, 410), (4, 500), (5, 403)] {
        twilio.add(Recording {
            media: Media::Status(status),
            ..recording(number, "completed")
        });
    }
    twilio.fault(format!("{}.mp3", sid(6)), fails(429, Some(0)), None);
    twilio.fault(format!("{}.mp3", sid(7)), Fault::Redirect(refusing.into()), None);
    twilio.fault(format!("{}.mp3", sid(8)), Fault::Redirect(itself), None);
    let list = stack.get(LIST).await;
    assert_eq!(list.status, 200);
    let rows = list.body["recordings"].as_array().unwrap();
    let got: Vec<_> = rows
        .iter()
        .rev()
        .map(|row| {
            (
                row["media_accessible"].as_bool().unwrap(),
                row["media_status_code"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            (true, Some(200)),
            (false, Some(404)),
            (false, Some(410)),
            (false, Some(500)),
            (false, Some(403)),
            (false, Some(429)),
            (false, None),
            (false, None),
        ]
    );
    assert_eq!(list.body["summary"]["accessible_media"], 1);
    assert_eq!(list.body["summary"]["inaccessible_media"], 7);
    let loops = stack.stack.twilio.requests();
    let loops = loops.iter().filter(|request| request.path.contains(&sid(8))).count();
    assert_eq!(
        loops, 4,
        "redirects are followed three times, and a loop is not retried"
    );
}

#[tokio::test]
async fn media_that_hangs_does_not_block_the_list() {
    let stack = TestStack::empty().await;
    for number in 1..=20 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    stack.stack.twilio.fault(".mp3", Fault::Hang, None);
    let clock = StoppedClock::new();
    let request = stack.request(Method::GET, LIST).header("x-api-key", demo::API_KEY);
    let list = tokio::spawn(answer(request));
    // One page and the first media checks.
    stack.stack.twilio.wait_for_requests(1 + 16).await;
    tokio::time::advance(Duration::from_secs(9)).await;
    let list = list.await.unwrap();
    drop(clock);
    assert_eq!(sids(&list).len(), 20);
    for row in list.body["recordings"].as_array().unwrap() {
        assert_eq!(
            (&row["media_accessible"], &row["media_status_code"]),
            (&json!(false), &Value::Null)
        );
    }
}

#[tokio::test]
async fn media_is_checked_with_get_if_head_is_not_supported() {
    let (stack, log) = with_twilio(|request| match (request.method(), request.uri().path()) {
        (&Method::HEAD, path) if path.contains(".mp3") => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (_, path) if path.contains(".mp3") => "ID3".into_response(),
        _ => page(&[1], None),
    })
    .await;
    let list = stack.get(LIST).await;
    assert_eq!(list.body["recordings"][0]["media_status_code"], 200, "{}", list.body);
    assert_eq!(list.body["recordings"][0]["media_accessible"], true);
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_neither_credentials_nor_a_referer() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let elsewhere = serve(Router::new().fallback(move |request: Request| {
        log.lock().unwrap().push(request.headers().clone());
        async { "ID3" }
    }))
    .await;
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(1, "completed"));
    stack.stack.twilio.fault(".mp3", Fault::Redirect(elsewhere), None);
    let list = stack.get(LIST).await;
    assert_eq!(list.body["recordings"][0]["media_accessible"], true, "{}", list.body);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    for name in [header::AUTHORIZATION, header::COOKIE, header::REFERER] {
        assert_eq!(seen[0].get(&name), None, "{name} was sent elsewhere");
    }
    assert!(stack.stack.twilio.requests().iter().all(|request| request.authorized));
}

#[tokio::test]
async fn a_redirect_on_twilios_own_host_keeps_the_credentials() {
    let stack = TestStack::empty().await;
    for number in 1..=2 {
        stack.stack.twilio.add(recording(number, "completed"));
    }
    let other = format!(
        "{}/2010-04-01/Accounts/{}/Recordings/{}.mp3",
        stack.stack.aws_url,
        demo::ACCOUNT_SID,
        sid(2)
    );
    stack
        .stack
        .twilio
        .fault(format!("{}.mp3", sid(1)), Fault::Redirect(other), None);
    let list = stack.get(LIST).await;
    assert_eq!(list.body["summary"]["accessible_media"], 2, "{}", list.body);
}
