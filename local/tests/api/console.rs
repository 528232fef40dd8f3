//! The console's files, and the session that stands for an API key.

use local::{demo, stack::account};
use reqwest::{Method, RequestBuilder, Response, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::{
    clients::secrets,
    http::access::{self, Scope},
};

use crate::stack::{TestStack, answer, pass};

const CALL: &str = "/recordings/dispatch_1754653479_15103455686";
const SESSION: &str = "/console/session";

async fn required() -> TestStack {
    TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
    })
    .await
}

/// Replaces the keys by these: id, which is also the key, scopes and end.
async fn put_keys(stack: &TestStack, keys: &[(&str, &[&str], Option<&str>)]) {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(id, scopes, end)| json!({"id": id, "sha256": access::hash_key(id), "scopes": scopes, "expires_at": end}))
        .collect();
    let secret = json!({ "keys": keys }).to_string();
    stack.put_secret(account::API_KEYS_SECRET, &secret).await;
}

async fn sign_in(stack: &TestStack, key: &str) -> Response {
    let request = stack.request(Method::POST, SESSION).header("X-API-Key", key);
    request.send().await.unwrap()
}

/// The cookie as a browser sends it back.
async fn cookie(stack: &TestStack, key: &str) -> String {
    let response = sign_in(stack, key).await;
    assert_eq!(response.status(), 200);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// A request of the console's own page.
fn from_console(stack: &TestStack, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    let request = stack.request(method, path).header(header::COOKIE, cookie);
    request.header("Sec-Fetch-Site", "same-origin")
}

#[tokio::test]
async fn a_key_is_exchanged_for_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let stack = required().await;
    let response = sign_in(&stack, demo::API_KEY).await;
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(!cookie.contains(demo::API_KEY), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"),
        "{cookie}"
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["signed_in"]["key_id"], "demo");
    assert_eq!(body["signed_in"]["scopes"].as_array().unwrap().len(), Scope::ALL.len());
    assert_eq!(body["reading_is_open"], false);

    let pair = cookie.split(';').next().unwrap();
    let known = answer(from_console(&stack, Method::GET, SESSION, pair)).await;
    assert_eq!(known.body["signed_in"]["key_id"], "demo");
    for path in ["/recordings", CALL, "/api/twilio/recordings?limit=1"] {
        let allowed = answer(from_console(&stack, Method::GET, path, pair)).await;
        assert_eq!(allowed.status, 200, "{path}: {}", allowed.body);
    }
    let out = from_console(&stack, Method::DELETE, SESSION, pair)
        .send()
        .await
        .unwrap();
    let forgotten = out.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(forgotten.starts_with("call_recordings_session=;") && forgotten.ends_with("Max-Age=0"));
    assert_eq!(out.json::<Value>().await.unwrap()["signed_in"], Value::Null);

    // A form of another site can send a key in the URL, but not a header.
    let in_url = format!("{SESSION}?api_key={}", demo::API_KEY);
    let in_url = stack.request(Method::POST, &in_url).send().await.unwrap();
    assert_eq!(in_url.status(), 401);
    assert!(!in_url.headers().contains_key(header::SET_COOKIE));
    let wrong = sign_in(&stack, "wrong").await;
    assert_eq!(wrong.status(), 401);
    assert!(!wrong.headers().contains_key(header::SET_COOKIE));
    let nobody = stack.get_without_key(SESSION).await;
    assert_eq!((nobody.status.as_u16(), &nobody.body["signed_in"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_session_changes_something_only_from_the_consoles_own_origin() {
    let stack = required().await;
    let cookie = cookie(&stack, demo::API_KEY).await;
    let api = stack.stack.api_url.clone().unwrap();
    let post = |headers: &[(&'static str, &str)]| {
        let mut request = stack.request(Method::POST, &format!("{CALL}/shares"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(header::COOKIE, &cookie);
        answer(request.json(&json!({"expires_in": 60})))
    };
    for own in [&[("Sec-Fetch-Site", "same-origin")][..], &[("Origin", &api)]] {
        assert_eq!(post(own).await.status, 201, "{own:?}");
    }
    let port = api.rsplit(':').next().unwrap();
    let neighbour = format!("http://127.0.0.1:{port}");
    for other in [
        &[][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &api)],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", &neighbour)],
    ] {
        post(other).await.recordings_error(403, "other_origin");
    }
    // A key that a program sends needs no origin, and takes precedence over the cookie.
    assert_eq!(post(&[("X-API-Key", demo::API_KEY)]).await.status, 201);
    post(&[("X-API-Key", "wrong"), ("Sec-Fetch-Site", "same-origin")])
        .await
        .recordings_error(401, "unauthorized");
    // Reading changes nothing, and other sites never get the cookie.
    let read = stack
        .request(Method::GET, "/recordings")
        .header(header::COOKIE, &cookie);
    assert_eq!(answer(read).await.status, 200);
}

#[tokio::test]
async fn a_session_has_the_scopes_of_its_key_and_ends_with_it() {
    let stack = required().await;
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let all: &[(&str, &[&str], Option<&str>)] = &[
        ("reader", &["recordings:read"], Some(&soon)),
        ("operator", &["*"], None),
    ];
    put_keys(&stack, all).await;
    let signed_in: Value = sign_in(&stack, "reader").await.json().await.unwrap();
    assert_eq!(signed_in["signed_in"]["scopes"], json!(["recordings:read"]));
    // Not after its key.
    let end: jiff::Timestamp = signed_in["signed_in"]["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(end <= soon.parse().unwrap(), "{end}");

    let (reader, operator) = (cookie(&stack, "reader").await, cookie(&stack, "operator").await);
    let list = async |cookie: &str| answer(from_console(&stack, Method::GET, "/recordings", cookie)).await;
    assert_eq!(list(&reader).await.status, 200);
    let share = from_console(&stack, Method::POST, &format!("{CALL}/shares"), &reader);
    let refused = answer(share.json(&json!({"expires_in": 60}))).await;
    assert!(refused.recordings_error(403, "forbidden").contains("recordings:share"));

    // The same id with another key, as after a rotation, is not the key of the session.
    let rotated = json!({"keys": [{"id": "reader", "sha256": access::hash_key("other"), "scopes": ["*"]},
                                  {"id": "operator", "sha256": access::hash_key("operator"), "scopes": ["*"]}]});
    stack.put_secret(account::API_KEYS_SECRET, &rotated.to_string()).await;
    pass(secrets::TTL).await;
    list(&reader).await.recordings_error(401, "unauthorized");
    assert_eq!(list(&operator).await.status, 200);
    let gone = answer(from_console(&stack, Method::GET, SESSION, &reader)).await;
    assert_eq!((gone.status.as_u16(), &gone.body["signed_in"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_forged_or_altered_cookie_is_no_session() {
    let stack = required().await;
    let genuine = cookie(&stack, demo::API_KEY).await;
    let (end, mac) = genuine.split_once('.').unwrap();
    let (name, end) = end.split_once('=').unwrap();
    let later = end.parse::<i64>().unwrap() + 3600;
    for forged in [
        format!("{name}={later}.{mac}"),
        format!("{name}={end}.{}", "0".repeat(64)),
        format!("{name}={end}.{}", &mac[..62]),
        format!("{name}={end}"),
        format!("{name}=1.{mac}"),
        format!("{name}={}", demo::API_KEY),
    ] {
        let refused = answer(from_console(&stack, Method::GET, "/recordings", &forged)).await;
        refused.recordings_error(401, "unauthorized");
    }
    let beside = format!("theme=dark; {name}=x; {genuine}");
    let found = answer(from_console(&stack, Method::GET, "/recordings", &beside)).await;
    assert_eq!(found.status, 200);
}

#[tokio::test]
async fn what_is_open_needs_no_session() {
    let stack = TestStack::demo().await;
    let state = stack.get_without_key(SESSION).await;
    assert_eq!(state.body, json!({"signed_in": null, "reading_is_open": true}));
}

#[tokio::test]
async fn the_page_loads_its_own_files_only_and_browsers_keep_them() {
    let stack = required().await;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let api = stack.stack.api_url.as_ref().unwrap();
    let root = client.get(format!("{api}/")).send().await.unwrap();
    assert_eq!(
        (root.status().as_u16(), &root.headers()["location"]),
        (302, &"console".parse().unwrap())
    );

    let page = client
        .get(format!("{api}/console?call=x&utm_source=mail&a=1&a=2"))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let bucket = &stack.stack.aws_url;
    assert!(policy.contains(&format!("media-src 'self' {bucket};")), "{policy}");
    assert!(
        policy.contains("script-src 'self';") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.headers()["cache-control"], "no-store");
    let html = page.text().await.unwrap();
    assert!(
        !html.contains("://") && !html.contains("<script>") && !html.contains(" style="),
        "{html}"
    );

    let links = html.split(['"']).filter(|part| part.starts_with("console/assets/"));
    let links: std::collections::BTreeSet<_> = links.collect();
    assert!(links.len() > 10, "{links:?}");
    for link in &links {
        let file = client
            .get(format!("{api}/{link}"))
            .header("Accept-Encoding", "gzip")
            .send()
            .await
            .unwrap();
        assert_eq!(file.status(), 200, "{link}");
        assert_eq!(file.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(file.headers()["content-encoding"], "gzip");
        let plain = client.get(format!("{api}/{link}")).send().await.unwrap();
        assert!(!plain.headers().contains_key("content-encoding"));
        let text = plain.bytes().await.unwrap();
        if link.ends_with("/preact.js") {
            let sum = format!("{}  standalone.module.js", hex(&Sha256::digest(&text)));
            assert!(
                include_str!("../../../functions/console/preact/SHA256SUMS").contains(&sum),
                "{sum}"
            );
        }
    }
    let script = links.iter().find(|link| link.ends_with("/app.js")).unwrap();
    let version = script.split('/').nth(2).unwrap();
    for absent in [
        script.replace(version, "0000000000000000"),
        script.replace("app.js", "other.js"),
        script.replace("app.js", "lib.rs"),
    ] {
        let absent = stack.get_without_key(&format!("/{absent}")).await;
        absent.recordings_error(404, "path_not_found");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
