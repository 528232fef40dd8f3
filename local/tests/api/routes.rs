//! Routes with and without a trailing slash, and unknown paths.

use local::demo;
use reqwest::Method;
use serde_json::json;

use crate::stack::{TestStack, answer};

const ID: &str = "dispatch_1754653479_15103455686";

#[tokio::test]
async fn every_documented_route_works_with_and_without_a_trailing_slash() {
    let stack = TestStack::demo().await;
    for path in [
        "/recordings".to_owned(),
        format!("/recordings/{ID}"),
        "/api/twilio/recordings".into(),
    ] {
        for slash in ["", "/", "?", "/?"] {
            let answer = stack.get(&format!("{path}{slash}")).await;
            assert_eq!(answer.status, 200, "{path}{slash}: {}", answer.body);
        }
    }
    for path in ["/recordings?limit=2", "/recordings/?limit=2"] {
        assert_eq!(stack.get(path).await.body["recordings"].as_array().unwrap().len(), 2);
    }
    let body = json!({"recording_sid": "RE1234567890abcdef"});
    for path in ["/api/twilio/transcript", "/api/twilio/transcript/"] {
        let answer = stack.post(path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let stored = stack
            .get(&path.replace("transcript", "transcript/RE1234567890abcdef"))
            .await;
        assert_eq!(stored.status, 200, "{path}: {}", stored.body);
    }
}

#[tokio::test]
async fn an_unknown_path_is_a_404_in_the_format_of_its_prefix_or_of_the_gateway() {
    let stack = TestStack::demo().await;
    for path in [
        "/nothing",
        "/recording",
        "/recordingsx/",
        "/api",
        "/api/twilio",
        "/api/twilio/",
        "/api/other/recordings",
        "/recordings/a/b",
        "/recordings/a/b/",
        "/recordings//a",
        "/Recordings/",
        "/favicon.ico",
    ] {
        let answer = stack.get(path).await;
        answer.recordings_error(404, "path_not_found");
    }
    for path in [
        "/api/twilio/nothing",
        "/api/twilio/recordings/a",
        "/api/twilio/transcript",
        "/api/twilio/transcript/",
        "/api/twilio/transcript/RE1234567890abcdef/a",
        "/api/twilio/recording/",
    ] {
        stack.get(path).await.twilio_error(404, "path_not_found");
    }
    for path in [
        "/api/twilio/nothing",
        "/api/twilio/recordings/",
        "/api/twilio/transcript/a",
    ] {
        stack.post(path, &json!({})).await.twilio_error(404, "path_not_found");
    }
    let one = format!("/recordings/{ID}");
    for (method, path) in [
        (Method::POST, "/"),
        (Method::POST, "/recordings"),
        (Method::POST, "/recordings/"),
        (Method::POST, "/api/nothing"),
        (Method::DELETE, "/recordings"),
        (Method::PUT, &one),
        (Method::PATCH, "/api/twilio/recordings"),
        (Method::DELETE, "/api/twilio/transcript/"),
    ] {
        let answer = answer(stack.request(method.clone(), path).header("X-API-Key", demo::API_KEY)).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert_eq!(answer.body, json!({"message": "Not Found"}), "{method} {path}");
    }
}

#[tokio::test]
async fn without_a_key_existing_and_unknown_paths_have_the_same_response() {
    let stack = TestStack::with_environment([("RECORDINGS_AUTH", "required")]).await;
    for path in ["/nothing", "/recordings/a/b", "/recordings/%00"] {
        stack.get_without_key(path).await.recordings_error(401, "unauthorized");
    }
    stack
        .get_without_key("/api/twilio/nothing")
        .await
        .twilio_error(401, "unauthorized");
}
