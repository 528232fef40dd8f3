//! Shares: links by which people without a key play one recording.

use std::time::Duration;

use jiff::Timestamp;
use local::{aws::Service, demo};
use reqwest::{Client, Method, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};
use shared::{
    clients::bucket::RecordingRef,
    ids::DispatchId,
    shares::{Share, ShareToken, Shares, Visitor},
};

use crate::stack::{Answer, TestStack, answer};

const RECORDED: &str = "dispatch_1754653479_15103455686";
const KEY: &str = "egress-recordings/2025/08/08/outbound-15103455686_1754653479.mp4";

fn shares_of(dispatch: &str) -> String {
    format!("/recordings/{dispatch}/shares")
}

async fn share(stack: &TestStack, body: &Value) -> Answer {
    stack.post(&shares_of(RECORDED), body).await
}

/// The path of a new share's page.
async fn shared(stack: &TestStack, body: &Value) -> String {
    let created = share(stack, body).await;
    assert_eq!(created.status, 201, "{}", created.body);
    format!("/s/{}", created.body["token"].as_str().unwrap())
}

/// A page: its status and its HTML. Every page has the headers that keep it out of caches, search engines, other pages and other sites' logs.
async fn page(stack: &TestStack, method: Method, path: &str) -> (u16, String) {
    read(stack.request(method, path).send().await.unwrap()).await
}

async fn read(response: Response) -> (u16, String) {
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-robots-tag"), "noindex, nofollow");
    let policy = header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn with_passcode(stack: &TestStack, path: &str, passcode: &str) -> Response {
    let form = stack.request(Method::POST, path).form(&[("passcode", passcode)]);
    form.send().await.unwrap()
}

/// The path of the audio that a page plays, without the stretch.
fn audio_of(html: &str) -> String {
    let source = html.split("<audio").nth(1).unwrap().split("src=\"").nth(1).unwrap();
    let source = source.split(['"', '#']).next().unwrap();
    format!("/s/{source}")
}

/// The redirect of a page's audio.
async fn redirect(stack: &TestStack, method: Method, path: &str) -> Response {
    let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let url = format!("{}{path}", stack.stack.api_url.as_ref().unwrap());
    client.request(method, url).send().await.unwrap()
}

fn location(response: &Response) -> String {
    assert_eq!(response.status(), 302);
    response.headers()["location"].to_str().unwrap().to_owned()
}

async fn first(stack: &TestStack) -> Value {
    stack.get(&shares_of(RECORDED)).await.body["shares"][0].clone()
}

fn table(stack: &TestStack) -> Shares {
    Shares::from_env(&stack.stack.environment, &stack.aws()).unwrap()
}

#[tokio::test]
async fn a_share_plays_the_recording_without_a_key_until_it_is_revoked() {
    let stack = TestStack::demo().await;
    let created = share(&stack, &json!({"expires_in": 3600, "note": "For <Ann>"})).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let token = created.body["token"].as_str().unwrap();
    assert_eq!(token.len(), 32);
    let url = created.body["url"].as_str().unwrap();
    assert!(url.ends_with(&format!("/s/{token}")), "{url}");
    assert_eq!(created.body["status"], "active");
    assert_eq!(created.body["created_by"], "demo");
    let path = format!("/s/{token}");

    for path in [
        path.clone(),
        format!("{path}/"),
        format!("{path}?utm_source=mail&utm_source=x%ff"),
    ] {
        let (status, html) = page(&stack, Method::GET, &path).await;
        assert_eq!(status, 200, "{html}");
        assert!(html.contains("8 August 2025, 11:44 UTC"), "{html}");
        assert!(
            !html.contains("Ann") && !html.contains("Louis") && !html.contains("5103455686"),
            "{html}"
        );
    }
    let (_, html) = page(&stack, Method::GET, &path).await;
    let audio = audio_of(&html);
    assert_eq!(audio, format!("{path}/audio"));
    let media = location(&redirect(&stack, Method::GET, &audio).await);
    let part = stack.fetch(&media).header("Range", "bytes=0-99").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().len()), (206, 100));
    let head = location(&redirect(&stack, Method::HEAD, &format!("{audio}/")).await);
    assert_eq!(Client::new().head(&head).send().await.unwrap().status(), 200);

    // Looking without opening is not counted.
    let head = stack.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0));
    let listed = first(&stack).await;
    assert_eq!(listed["opened_count"], 4);
    assert_eq!(listed["note"], "For <Ann>");
    assert!(listed["last_opened_at"].is_string());
    let id = listed["id"].as_str().unwrap();
    assert_eq!(created.body["id"], id);
    let one = format!("{}/{id}", shares_of(RECORDED));
    let details = stack.get(&one).await;
    let openings = details.body["openings"].as_array().unwrap();
    assert_eq!(openings.len(), 4);
    assert!(openings[0]["at"].as_str() >= openings[3]["at"].as_str());
    assert!(openings[0]["address"].is_string());
    assert!(!details.body.to_string().contains(token), "only the hash is stored");

    let delete = |path: &str| answer(stack.request(Method::DELETE, path).header("X-API-Key", demo::API_KEY));
    let other_call = format!("{}/{id}", shares_of("dispatch_1_1"));
    delete(&other_call).await.recordings_error(404, "share_not_found");
    let revoked = delete(&one).await;
    assert_eq!(
        (revoked.status.as_u16(), &revoked.body["status"]),
        (200, &json!("revoked"))
    );
    assert_eq!(delete(&one).await.body["revoked_at"], revoked.body["revoked_at"]);
    assert_eq!(page(&stack, Method::GET, &path).await.0, 404);
    assert_eq!(page(&stack, Method::GET, &audio).await.0, 404);
}

#[tokio::test]
async fn every_link_that_does_not_work_has_the_same_page() {
    let stack = TestStack::demo().await;
    let revoked = shared(&stack, &json!({"expires_in": 60})).await;
    let id = first(&stack).await["id"].as_str().unwrap().to_owned();
    let revoke = stack.request(Method::DELETE, &format!("{}/{id}", shares_of(RECORDED)));
    assert_eq!(answer(revoke.header("X-API-Key", demo::API_KEY)).await.status, 200);

    let expired = ShareToken::random().unwrap();
    let ended = Timestamp::now() - Duration::from_secs(1);
    let past = Share {
        id: expired.id(),
        dispatch_id: DispatchId::parse(RECORDED).unwrap(),
        recording: RecordingRef {
            key: KEY.into(),
            etag: None,
            size: None,
            recording_sid: None,
        },
        created_at: ended - Duration::from_secs(60),
        created_by: None,
        expires_at: ended,
        from: None,
        to: None,
        with_transcript: false,
        passcode: None,
        note: None,
        revoked_at: None,
        opened_count: 0,
        last_opened_at: None,
    };
    table(&stack).create(&past).await.unwrap();
    let listed = stack.get(&shares_of(RECORDED)).await;
    let statuses: Vec<_> = listed.body["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| &share["status"])
        .collect();
    assert!(
        statuses.contains(&&json!("expired")) && statuses.contains(&&json!("revoked")),
        "{statuses:?}"
    );
    // A share that ends between the page's first look and the opening is not opened.
    let visitor = Visitor {
        address: None,
        user_agent: None,
    };
    assert_eq!(
        table(&stack).open(&past, &visitor, Timestamp::now()).await.unwrap(),
        None
    );

    let unknown = ShareToken::random().unwrap();
    let mut pages = Vec::new();
    for path in [
        revoked,
        format!("/s/{}", expired.as_str()),
        format!("/s/{}", unknown.as_str()),
        format!("/s/{}/audio", unknown.as_str()),
        format!("/s/{}", unknown.as_str().to_uppercase()),
        "/s/x".into(),
        "/s/%ff".into(),
        "/s/a/b/c".into(),
        "/s/%3Cscript%3E".into(),
    ] {
        let (status, html) = page(&stack, Method::GET, &path).await;
        assert_eq!(status, 404, "{path}");
        pages.push(html);
    }
    pages.dedup();
    assert_eq!(pages.len(), 1);
}

#[tokio::test]
async fn a_share_ends_with_its_recording() {
    let stack = TestStack::demo().await;
    let path = shared(&stack, &json!({"expires_in": 3600})).await;
    assert_eq!(page(&stack, Method::GET, &path).await.0, 200);
    // Another recording under the same key, as a LiveKit restart can write it.
    let s3 = aws_sdk_s3::Client::from_conf(stack.aws().s3_config());
    let put = s3
        .put_object()
        .bucket("recordings")
        .key(KEY)
        .body(b"another call".to_vec().into());
    put.send().await.unwrap();
    assert_eq!(page(&stack, Method::GET, &path).await.0, 404);
    assert_eq!(page(&stack, Method::GET, &format!("{path}/audio")).await.0, 404);

    let erased = shared(&stack, &json!({"expires_in": 3600})).await;
    s3.delete_object().bucket("recordings").key(KEY).send().await.unwrap();
    assert_eq!(page(&stack, Method::GET, &erased).await.0, 404);
}

#[tokio::test]
async fn a_shared_stretch_shows_its_part_of_the_transcript() {
    let stack = TestStack::demo().await;
    let body = json!({"expires_in": 3600, "from": 5, "to": 12.5, "with_transcript": true});
    let path = shared(&stack, &body).await;
    let (_, before) = page(&stack, Method::GET, &path).await;
    assert!(
        before.contains("There is no transcript of this recording yet."),
        "{before}"
    );
    let transcribed = stack
        .post(
            &format!("/recordings/{RECORDED}/transcript"),
            &json!({"timestamps": "segment"}),
        )
        .await;
    assert_eq!(transcribed.status, 200, "{}", transcribed.body);

    let (status, html) = page(&stack, Method::GET, &path).await;
    assert_eq!(status, 200);
    assert!(
        html.contains("audio#t=5,12.5\" data-from=\"5\" data-to=\"12.5\""),
        "{html}"
    );
    assert!(html.contains("From 0:05 to 0:12"), "{html}");
    for segment in transcribed.body["segments"].as_array().unwrap() {
        let number = |name: &str| segment[name].as_f64().unwrap();
        let is_within = number("end") > 5.0 && number("start") < 12.5;
        let text = segment["text"].as_str().unwrap();
        assert_eq!(html.contains(text), is_within, "{segment}");
    }
    let whole = shared(&stack, &json!({"expires_in": 3600, "with_transcript": true})).await;
    let (_, html) = page(&stack, Method::GET, &whole).await;
    assert!(html.contains("I will pay the full amount on Friday."), "{html}");
    let without = shared(&stack, &json!({"expires_in": 3600})).await;
    assert!(!page(&stack, Method::GET, &without).await.1.contains("Friday"));
}

#[tokio::test]
async fn a_passcode_protects_page_and_audio_and_can_be_tried_five_times() {
    let stack = TestStack::demo().await;
    let path = shared(&stack, &json!({"expires_in": 3600, "passcode": "häuser 7"})).await;
    let (status, form) = page(&stack, Method::GET, &path).await;
    assert_eq!(status, 200);
    assert!(
        form.contains("<form method=\"post\">") && !form.contains("<audio"),
        "{form}"
    );
    let listed = first(&stack).await;
    assert_eq!(
        (&listed["has_passcode"], &listed["opened_count"]),
        (&json!(true), &json!(0))
    );
    assert!(!listed.to_string().contains("häuser"), "{listed}");

    let (status, html) = read(with_passcode(&stack, &path, "häuser 8").await).await;
    assert_eq!(status, 403);
    assert!(
        html.contains("That passcode is not right.") && !html.contains("<audio"),
        "{html}"
    );
    let (status, html) = read(with_passcode(&stack, &format!("{path}/"), "häuser 7").await).await;
    assert_eq!(status, 200, "{html}");
    let opening = html
        .split("?opening=")
        .nth(1)
        .unwrap()
        .split(['"', '#'])
        .next()
        .unwrap();
    let audio = format!("{path}/audio?opening={opening}");
    let media = location(&redirect(&stack, Method::GET, &audio).await);
    assert_eq!(stack.fetch(&media).send().await.unwrap().status(), 200);
    for audio in [
        format!("{path}/audio"),
        format!("{path}/audio?opening=1.2"),
        audio.replace("opening=1", "opening=2"),
    ] {
        assert_eq!(page(&stack, Method::GET, &audio).await.0, 404, "{audio}");
    }

    // At the same time, as a program would try them. The right one of before has started the count anew.
    let tries = (0..8).map(|_| with_passcode(&stack, &path, "0000"));
    let tried = futures_util::future::join_all(tries).await;
    let mut statuses: Vec<_> = tried.iter().map(|response| response.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [403, 403, 403, 403, 403, 429, 429, 429]);
    let limited = with_passcode(&stack, &path, "häuser 7").await;
    let after: u64 = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=900).contains(&after), "{after}");
    let (status, html) = read(limited).await;
    assert_eq!(status, 429);
    assert!(
        html.contains("Too many passcodes were tried. Try again in 15 minutes."),
        "{html}"
    );
    // After the window, by the table's own clock.
    let id = shared::shares::ShareId::parse(first(&stack).await["id"].as_str().unwrap()).unwrap();
    let stored = table(&stack).get(&id).await.unwrap().unwrap();
    let later = Timestamp::now() + shared::shares::PASSCODE_WINDOW;
    let result = table(&stack).try_passcode(&stored, "häuser 7", later).await.unwrap();
    assert_eq!(result, shared::shares::PasscodeResult::Right);
}

#[tokio::test]
async fn a_fault_is_a_page_that_says_so_and_nothing_else() {
    let stack = TestStack::demo().await;
    let path = shared(&stack, &json!({"expires_in": 3600})).await;
    let faults = stack.stack.aws.faults();
    for (service, status) in [
        (Service::S3, StatusCode::SERVICE_UNAVAILABLE),
        (Service::S3, StatusCode::FORBIDDEN),
        (Service::DynamoDb, StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        faults.set(service, Some(status));
        let (answered, html) = page(&stack, Method::GET, &path).await;
        assert!(matches!(answered, 500 | 503), "{service:?} {status}: {answered}");
        assert!(html.contains("Please try again in a few minutes."), "{html}");
        assert!(!html.contains("s3:") && !html.contains("<audio"), "{html}");
        faults.set(service, None);
    }
    assert_eq!(page(&stack, Method::GET, &path).await.0, 200);
    assert_eq!(
        first(&stack).await["opened_count"],
        1,
        "a page that was not shown was not opened"
    );
}

#[tokio::test]
async fn a_share_needs_a_recording_a_key_with_its_scope_and_valid_values() {
    let stack = TestStack::demo().await;
    let path = shares_of(RECORDED);
    for (body, code) in [
        (json!({}), "missing_parameter"),
        (json!({"expires_in": 0}), "invalid_parameter"),
        (json!({"expires_in": 2_592_001}), "invalid_parameter"),
        (json!({"expires_in": -1}), "invalid_body"),
        (json!({"expires_in": "1h"}), "invalid_body"),
        (json!({"expires_in": 60, "from": -1}), "invalid_parameter"),
        (json!({"expires_in": 60, "to": 1e9}), "invalid_parameter"),
        (json!({"expires_in": 60, "from": 20, "to": 10}), "invalid_parameter"),
        (json!({"expires_in": 60, "from": 20, "to": 20}), "invalid_parameter"),
        (json!({"expires_in": 60, "to": 0}), "invalid_parameter"),
        (json!({"expires_in": 60, "passcode": "123"}), "invalid_parameter"),
        (
            json!({"expires_in": 60, "passcode": "1".repeat(65)}),
            "invalid_parameter",
        ),
        (json!({"expires_in": 60, "note": "n".repeat(501)}), "invalid_parameter"),
        (json!({"expires_in": 60, "until": "tomorrow"}), "invalid_body"),
    ] {
        let message = share(&stack, &body).await.recordings_error(400, code).to_owned();
        assert!(!message.contains("111"), "a passcode is not repeated: {message}");
    }
    let tiny = share(&stack, &json!({"expires_in": 60, "from": 8.4e-210, "to": 1.23456})).await;
    assert_eq!(
        (&tiny.body["from"], &tiny.body["to"]),
        (&json!(0.0), &json!(1.235)),
        "{}",
        tiny.body
    );
    let absent = stack.post(&shares_of("dispatch_1_1"), &json!({"expires_in": 60})).await;
    absent.recordings_error(404, "recording_not_found");
    let invalid = stack.post("/recordings/a%20b/shares", &json!({"expires_in": 60})).await;
    invalid.recordings_error(400, "invalid_dispatch_id");
    for id in ["x", "00112233445566778899aabbccddeeff"] {
        stack
            .get(&format!("{path}/{id}"))
            .await
            .recordings_error(404, "share_not_found");
    }
    // Also where RECORDINGS_AUTH=open needs no key for the recording itself.
    stack.get_without_key(&path).await.recordings_error(401, "unauthorized");
    let create = stack.request(Method::POST, &path).json(&json!({"expires_in": 60}));
    answer(create).await.recordings_error(401, "unauthorized");
    let hash = shared::http::access::hash_key("reader");
    let keys = json!({"keys": [{"id": "reader", "sha256": hash, "scopes": ["recordings:read"], "expires_at": null}]});
    stack.put_secret("call-recordings/api-keys", &keys.to_string()).await;
    crate::stack::pass(Duration::from_secs(31)).await;
    let read = stack.request(Method::GET, &path).header("X-API-Key", "reader");
    answer(read).await.recordings_error(403, "forbidden");
}

#[tokio::test]
async fn a_deployment_can_limit_how_long_shares_last() {
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("SHARE_MAX_SECONDS".into(), "60".into()));
    })
    .await;
    let refused = share(&stack, &json!({"expires_in": 61})).await;
    let message = refused.recordings_error(400, "invalid_parameter");
    assert_eq!(
        message,
        "expires_in must be a whole number of seconds from 1 to 60; it was \"61\"."
    );
    assert_eq!(share(&stack, &json!({"expires_in": 60})).await.status, 201);
}

#[tokio::test]
async fn the_demo_has_a_share_with_a_known_link() {
    let stack = TestStack::demo().await;
    let (status, html) = page(&stack, Method::GET, &format!("/s/{}", demo::SHARE_TOKEN)).await;
    assert_eq!(status, 200, "{html}");
}
