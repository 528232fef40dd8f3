//! What browsers and players need: cross-origin requests, `HEAD`, and a link to the audio that does not expire.

use reqwest::{Client, Method, Response, redirect::Policy};
use serde_json::json;

use crate::stack::TestStack;

const RECORDED: &str = "/recordings/dispatch_1754653479_15103455686";
const KEY: &str = "your_api_key_here";
const ORIGIN: &str = "https://app.example.com";

async fn with_origins(origins: &[&str]) -> TestStack {
    TestStack::with(|settings| {
        settings.empty = false;
        settings.cors_allowed_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
    })
    .await
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn preflight(stack: &TestStack, origin: &str) -> Response {
    let request = stack.request(Method::OPTIONS, "/recordings").header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "GET");
    let request = request.header("Access-Control-Request-Headers", "x-api-key");
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_the_api_and_another_may_not() {
    let stack = with_origins(&[ORIGIN, "https://other.example.com"]).await;
    let allowed = preflight(&stack, ORIGIN).await;
    assert_eq!(allowed.status(), 204);
    assert_eq!(header(&allowed, "access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(
        header(&allowed, "access-control-allow-methods"),
        Some("GET,HEAD,POST,PATCH,DELETE")
    );
    assert_eq!(
        header(&allowed, "access-control-allow-headers"),
        Some("content-type,prefer,x-api-key")
    );
    assert_eq!(header(&allowed, "access-control-max-age"), Some("600"));
    let refused = preflight(&stack, "https://app.example.com.evil.example").await;
    assert_eq!(refused.status(), 204);
    assert_eq!(header(&refused, "access-control-allow-origin"), None);

    // Errors too, so that the page can read them.
    for (path, status) in [
        ("/recordings", 401),
        ("/nowhere", 401),
        ("/recordings?limit=0&api_key=your_api_key_here", 400),
    ] {
        let request = stack.request(Method::GET, path).header("Origin", ORIGIN);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(header(&response, "access-control-allow-origin"), Some(ORIGIN), "{path}");
        let exposed = header(&response, "access-control-expose-headers").unwrap();
        assert!(exposed.contains("retry-after"), "{exposed}");
    }
    let request = stack.request(Method::GET, "/recordings").header("Origin", "null");
    assert_eq!(
        header(&request.send().await.unwrap(), "access-control-allow-origin"),
        None
    );
}

#[tokio::test]
async fn without_origins_no_page_may_call_the_api_and_with_a_star_every_page_may() {
    let stack = with_origins(&[]).await;
    let refused = preflight(&stack, ORIGIN).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(header(&refused, "access-control-allow-origin"), None);
    let request = stack.request(Method::GET, "/recordings").header("Origin", ORIGIN);
    let response = request.send().await.unwrap();
    assert_eq!(header(&response, "access-control-allow-origin"), None);

    let open = with_origins(&["*"]).await;
    assert_eq!(
        header(&preflight(&open, ORIGIN).await, "access-control-allow-origin"),
        Some("*")
    );
}

#[tokio::test]
async fn head_has_the_status_and_headers_of_get_without_its_body() {
    let stack = with_origins(&[]).await;
    for path in [
        "/recordings",
        "/recordings/",
        "/recordings?limit=0",
        RECORDED,
        "/recordings/dispatch_1_1",
        "/recordings/dispatch_1_1/transcript",
        "/reports/daily?from=2025-08-01&to=2025-08-31",
        "/api/twilio/recordings/",
        "/api/twilio/usage",
        "/openapi.json",
        "/docs",
        "/nowhere",
    ] {
        let send = async |method| {
            let request = stack.request(method, path).header("X-API-Key", KEY);
            request.send().await.unwrap()
        };
        let (get, head) = (send(Method::GET).await, send(Method::HEAD).await);
        assert_eq!(get.status(), head.status(), "{path}");
        for name in ["content-type", "cache-control"] {
            assert_eq!(header(&get, name), header(&head, name), "{path}");
        }
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn the_link_to_the_audio_redirects_each_time_to_a_url_that_plays_and_seeks() {
    let stack = with_origins(&[]).await;
    let recording = stack.get(RECORDED).await;
    let stable_url = recording.body["stable_url"].as_str().unwrap();
    assert_eq!(stable_url, format!("{RECORDED}/audio"));
    let list = stack.get("/recordings?interaction_id=test_interaction_louis_001").await;
    assert_eq!(
        list.body["recordings"][0]["recordings"][0]["stable_url"],
        json!(stable_url)
    );

    let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let url = |path: &str| format!("{}{path}", stack.stack.api_url.as_ref().unwrap());
    let redirected = async |method: Method, path: String| {
        let request = client.request(method, url(&path)).header("X-API-Key", KEY);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 302, "{path}");
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        header(&response, "location").unwrap().to_owned()
    };
    for slash in ["", "/"] {
        let audio = redirected(Method::GET, format!("{stable_url}{slash}")).await;
        assert!(!audio.contains(KEY));
        let part = client
            .get(&audio)
            .header("Range", "bytes=100-199")
            .send()
            .await
            .unwrap();
        assert_eq!(
            (part.status().as_u16(), header(&part, "content-type")),
            (206, Some("audio/mp4"))
        );
        assert_eq!(part.bytes().await.unwrap().len(), 100);
        let download = redirected(Method::GET, format!("{stable_url}{slash}?download=1")).await;
        let download = client.get(&download).send().await.unwrap();
        assert!(
            header(&download, "content-disposition")
                .unwrap()
                .starts_with("attachment")
        );
        let head = redirected(Method::HEAD, format!("{stable_url}{slash}")).await;
        let head = client.head(&head).send().await.unwrap();
        assert_eq!(head.status(), 200);
        assert!(header(&head, "content-length").is_some_and(|length| length != "0"));
    }
    // A client that follows redirects, as players do, with the key where a player can put it.
    let followed = stack.request(Method::GET, &format!("{stable_url}?api_key={KEY}"));
    let followed = followed.header("Range", "bytes=0-1").send().await.unwrap();
    assert_eq!(followed.status(), 206);
}

#[tokio::test]
async fn the_link_to_the_audio_needs_the_key_and_a_recording() {
    let stack = with_origins(&[]).await;
    let audio = format!("{RECORDED}/audio");
    stack
        .get_without_key(&audio)
        .await
        .recordings_error(401, "unauthorized");
    let absent = stack.get("/recordings/dispatch_1_1/audio").await;
    absent.recordings_error(404, "recording_not_found");
    let invalid = stack.get("/recordings/not%20an%20id/audio").await;
    invalid.recordings_error(400, "invalid_dispatch_id");
    for query in ["download=yes", "download=", "expires_in=60"] {
        assert_eq!(stack.get(&format!("{audio}?{query}")).await.status, 400, "{query}");
    }
    // A dispatch may have the name of the route's last part.
    let named = stack.get("/recordings/audio").await;
    named.recordings_error(404, "recording_not_found");
    let deeper = stack.get("/recordings/a/b/audio").await;
    deeper.recordings_error(404, "path_not_found");
}
