//! Web pages in the developer's browser, which must not reach into this machine.

use local::{demo, stack::account};
use reqwest::{Method, RequestBuilder, header};
use serde_json::json;

use crate::stack::TestStack;

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn both_ports_refuse_requests_for_a_foreign_name_that_resolves_to_this_machine() {
    let stack = TestStack::with(|settings| settings.allowed_hosts = vec!["calls.tunnel.example".into()]).await;
    let http = reqwest::Client::new();
    let api = format!("{}/recordings", stack.stack.api_url.as_deref().unwrap());
    let aws = format!("{}/v1/models", stack.stack.aws_url);
    for host in ["evil.example:8000", "localhost.evil.example", "192.168.1.5:8000"] {
        for url in [&api, &aws] {
            // A page can set X-Forwarded-Host, but not Host (rails/rails 33145).
            let request = http.get(url).header(header::HOST, host);
            let answer = request.header("x-forwarded-host", "localhost").send().await.unwrap();
            assert_eq!(answer.status(), 403, "{host}");
            assert!(answer.text().await.unwrap().contains("--allow-host"));
        }
    }
    for host in ["LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "calls.tunnel.example"] {
        assert_eq!(status(http.get(&api).header(header::HOST, host)).await, 200, "{host}");
    }
}

#[tokio::test]
async fn the_host_of_the_public_base_url_is_accepted() {
    let stack = TestStack::with_environment([("PUBLIC_BASE_URL", "https://calls.example.org/prod")]).await;
    let request = stack.request(Method::GET, "/recordings");
    assert_eq!(status(request.header(header::HOST, "calls.example.org")).await, 200);
}

#[tokio::test]
async fn a_page_can_neither_plant_an_api_key_nor_run_a_function_and_asks_for_permission_in_vain() {
    let stack = TestStack::empty().await;
    let http = reqwest::Client::new();
    let aws = &stack.stack.aws_url;
    let plant = json!({"SecretId": account::API_KEYS_SECRET, "SecretString": "{}"});
    let writes = [
        ("/", "secretsmanager.PutSecretValue", plant.to_string()),
        (
            "/2015-03-31/functions/reconcile-recordings/invocations",
            "",
            "{}".to_owned(),
        ),
    ];
    for (path, target, body) in writes {
        for origin in ["https://evil.example", "null", "http://localhost:8000"] {
            let request = http.post(format!("{aws}{path}")).header(header::ORIGIN, origin);
            let request = request.header("x-amz-target", target).body(body.clone());
            assert_eq!(status(request).await, 403, "{path} {origin}");
        }
        let asks = http
            .request(Method::OPTIONS, format!("{aws}{path}"))
            .header(header::ORIGIN, "https://evil.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-amz-target");
        let answer = asks.send().await.unwrap();
        assert_eq!(answer.status(), 403);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
    let list = stack.request(Method::GET, "/api/twilio/recordings/");
    assert_eq!(
        status(list.header("X-API-Key", demo::API_KEY)).await,
        200,
        "the keys are as they were"
    );
}
