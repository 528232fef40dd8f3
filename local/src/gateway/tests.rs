use std::sync::{Arc, Mutex};

use lambda_http::{
    Body as LambdaBody, Request as LambdaRequest, RequestExt, Response as LambdaResponse, http::Request as HttpRequest,
    request::RequestContext, tower::ServiceExt,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn gateway() -> Gateway {
    Gateway::from_template(TEMPLATE).unwrap()
}

fn chosen<'a>(gateway: &'a Gateway, method: &str, path: &'a str) -> Option<(&'a str, String)> {
    route::find(&gateway.routes, method, path).map(|target| (target.route.function.as_str(), target.route.key()))
}

/// Sends one request to an API whose functions only remember what they were called with.
async fn call(request: HttpRequest<Body>) -> (Response, Option<(String, LambdaRequest)>) {
    let seen = Arc::new(Mutex::new(None));
    let router = {
        let seen = Arc::clone(&seen);
        gateway().router(move |function, request| {
            *seen.lock().unwrap() = Some((function, request));
            async { LambdaResponse::new(LambdaBody::Empty) }
        })
    };
    let response = router.oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap().take();
    (response, seen)
}

/// The request as the function behind it gets it.
async fn received(request: HttpRequest<Body>) -> LambdaRequest {
    let (response, seen) = call(request).await;
    assert_eq!(response.status(), 200);
    seen.expect("the function was called").1
}

fn get(target: &str) -> HttpRequest<Body> {
    HttpRequest::get(target)
        .header("host", "localhost:8000")
        .body(Body::empty())
        .unwrap()
}

fn post(body: impl Into<Body>) -> HttpRequest<Body> {
    HttpRequest::post("/api/twilio/transcript/")
        .header("host", "localhost:8000")
        .body(body.into())
        .unwrap()
}

async fn json_body(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn assert_refused(response: Response, status: u16, message: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(json_body(response).await, json!({ "message": message }));
}

#[test]
fn every_function_of_the_template_has_its_documented_route_and_the_one_for_the_trailing_slash() {
    let gateway = gateway();
    let mut routes: Vec<_> = gateway
        .routes()
        .iter()
        .filter(|route| route.method != "HEAD")
        .map(|route| (route.function.as_str(), route.key()))
        .collect();
    routes.sort();
    // `/api/twilio/usage/` comes by the greedy route of list-twilio-recordings, `/recordings/{dispatch_id}/transcript/` by that of get-recording,
    // `/reports/daily/` by that of get-completeness; they pass them on.
    let expected = [
        ("get-completeness", "GET /reports/completeness"),
        ("get-completeness", "GET /reports/{proxy+}"),
        ("get-daily-report", "GET /reports/daily"),
        ("get-docs", "GET /docs"),
        ("get-docs", "GET /docs/{file}"),
        ("get-docs", "GET /openapi.json"),
        ("get-egress-transcript", "GET /recordings/{dispatch_id}/transcript"),
        ("get-recording", "GET /recordings/{dispatch_id}"),
        ("get-recording", "GET /recordings/{dispatch_id}/audio"),
        ("get-recording", "GET /recordings/{proxy+}"),
        ("get-transcript", "GET /api/twilio/transcript/{proxy+}"),
        ("get-transcript", "GET /api/twilio/transcript/{recording_sid}"),
        ("get-usage", "GET /api/twilio/usage"),
        ("list-recordings", "GET /recordings"),
        ("list-recordings", "GET /{proxy+}"),
        ("list-twilio-recordings", "GET /api/twilio/recordings"),
        ("list-twilio-recordings", "GET /api/twilio/{proxy+}"),
        ("livekit-webhook", "POST /webhooks/livekit"),
        ("livekit-webhook", "POST /webhooks/{proxy+}"),
        ("record-interaction", "POST /interactions"),
        ("transcribe-egress", "POST /recordings/{dispatch_id}/transcript"),
        ("transcribe-egress", "POST /recordings/{proxy+}"),
        ("transcribe-recording", "POST /api/twilio/transcript"),
        ("transcribe-recording", "POST /api/twilio/{proxy+}"),
        ("twilio-callback", "POST /webhooks/twilio/recording"),
        ("twilio-callback", "POST /webhooks/twilio/{proxy+}"),
    ];
    assert_eq!(routes, expected.map(|(function, key)| (function, key.to_owned())));
    assert!(
        gateway
            .routes()
            .iter()
            .all(|route| route.timeout == Duration::from_secs(28))
    );
}

#[test]
fn head_goes_wherever_get_goes() {
    let gateway = gateway();
    let of = |method: &str| -> Vec<_> {
        let routes = gateway.routes().iter().filter(|route| route.method == method);
        let mut routes: Vec<_> = routes.map(|route| (&route.path, &route.function)).collect();
        routes.sort();
        routes
    };
    assert!(!of("GET").is_empty());
    assert_eq!(of("HEAD"), of("GET"));
}

#[test]
fn both_forms_of_every_documented_path_reach_their_function() {
    let gateway = gateway();
    for (method, path, function) in [
        ("GET", "/recordings", "list-recordings"),
        ("GET", "/recordings/dispatch_1754653479_15103455686", "get-recording"),
        ("GET", "/api/twilio/recordings", "list-twilio-recordings"),
        ("GET", "/api/twilio/transcript/RE1234567890abcdef", "get-transcript"),
        ("POST", "/api/twilio/transcript", "transcribe-recording"),
        (
            "POST",
            "/recordings/dispatch_1754653479_15103455686/transcript",
            "transcribe-egress",
        ),
        ("GET", "/reports/completeness", "get-completeness"),
        ("POST", "/webhooks/livekit", "livekit-webhook"),
        ("POST", "/webhooks/twilio/recording", "twilio-callback"),
    ] {
        for path in [path.to_owned(), format!("{path}/")] {
            assert_eq!(
                chosen(&gateway, method, &path).map(|(function, _)| function),
                Some(function),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn a_trailing_slash_is_another_path_and_no_variable_is_empty() {
    let gateway = gateway();
    let key = |path| chosen(&gateway, "GET", path).map(|(_, key)| key);
    assert_eq!(key("/recordings/").as_deref(), Some("GET /{proxy+}"));
    assert_eq!(key("/recordings/a/").as_deref(), Some("GET /recordings/{proxy+}"));
    assert_eq!(
        key("/api/twilio/recordings/").as_deref(),
        Some("GET /api/twilio/{proxy+}")
    );
    assert_eq!(key("/api/twilio/").as_deref(), Some("GET /{proxy+}"));
    assert_eq!(key("/"), None);
    assert_eq!(key(""), None);
    assert_eq!(key("*"), None);
}

#[test]
fn a_method_without_a_route_has_none_even_where_the_path_has() {
    let gateway = gateway();
    for (method, path) in [
        ("POST", "/recordings"),
        ("GET", "/"),
        ("DELETE", "/recordings/x"),
        ("PUT", "/api/twilio/transcript/"),
    ] {
        assert_eq!(chosen(&gateway, method, path), None, "{method} {path}");
    }
}

#[test]
fn the_most_specific_route_wins_whatever_the_order_in_the_template() {
    let route = |method: &str, path: &str| Route {
        method: method.to_owned(),
        path: path.to_owned(),
        function: "f".to_owned(),
        timeout: Duration::from_secs(1),
    };
    let mut routes = vec![
        route("ANY", "/{proxy+}"),
        route("GET", "/pets/{proxy+}"),
        route("GET", "/pets/dog/{id}"),
        route("ANY", "/pets/dog/1"),
        route("GET", "/pets/dog/1"),
    ];
    for _ in 0..routes.len() {
        let key = |method, path| route::find(&routes, method, path).map(|target| target.route.key());
        assert_eq!(key("GET", "/pets/dog/1").as_deref(), Some("GET /pets/dog/1"));
        assert_eq!(key("PUT", "/pets/dog/1").as_deref(), Some("ANY /pets/dog/1"));
        assert_eq!(key("GET", "/pets/dog/2").as_deref(), Some("GET /pets/dog/{id}"));
        assert_eq!(key("GET", "/pets/cat/1").as_deref(), Some("GET /pets/{proxy+}"));
        assert_eq!(key("POST", "/test/5").as_deref(), Some("ANY /{proxy+}"));
        routes.rotate_left(1);
    }
}

#[test]
fn a_template_that_cannot_be_served_is_refused_with_the_place_and_the_reason() {
    let template =
        |function: &str| format!("Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n{function}");
    let event = |path: &str| {
        template(&format!(
            "      CodeUri: f/\n      Events:\n        E:\n          Type: HttpApi\n          Properties: {{Method: GET, Path: '{path}'}}\n"
        ))
    };
    for (yaml, reason) in [
        ("a: [".to_owned(), "not valid YAML"),
        (String::new(), "empty"),
        ("Resources: {}".to_owned(), "no function has an HttpApi event"),
        (event("/x/"), "F.Events.E: the path `/x/` ends in a slash"),
        (event("x"), "must start with a slash"),
        (event("/{a+}/x"), "must come last"),
        (
            template("      CodeUri: f\n      Timeout: !Ref T\n"),
            "F: Timeout must be a number of seconds",
        ),
        (template("      Events: {E: {Type: HttpApi}}\n"), "F needs a CodeUri"),
        (
            template("      CodeUri: f\n      Events: {E: {Type: HttpApi}}\n"),
            "F.Events.E needs a Method",
        ),
    ] {
        let error = Gateway::from_template(&yaml).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_function_without_a_timeout_has_the_global_one_or_lambdas_three_seconds() {
    let function = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: functions/f/, Events: {E: {Type: HttpApi, Properties: {Method: get, Path: /x}}}}\n";
    let timeout = |yaml: &str| Gateway::from_template(yaml).unwrap().routes()[0].timeout;
    assert_eq!(timeout(function), Duration::from_secs(3));
    assert_eq!(
        timeout(&format!("Globals: {{Function: {{Timeout: 9}}}}\n{function}")),
        Duration::from_secs(9)
    );
}

#[tokio::test]
async fn the_function_gets_path_query_and_variables_as_they_were_sent() {
    let request = received(get("/recordings/a%2Fb%00c?x=1&x=2&api_key=a%2Bb+c&%zz=%&flag")).await;
    assert_eq!(request.raw_http_path(), "/recordings/a%2Fb%00c");
    assert_eq!(
        request
            .path_parameters_ref()
            .and_then(|parameters| parameters.first("dispatch_id")),
        Some("a%2Fb%00c")
    );
    assert_eq!(request.uri().query(), Some("x=1&x=2&api_key=a%2Bb+c&%zz=%&flag"));
    assert_eq!(
        request
            .query_string_parameters_ref()
            .and_then(|query| query.first("api_key")),
        Some("a+b c")
    );

    let request = received(get("/api/twilio/recordings//")).await;
    assert_eq!(
        request
            .path_parameters_ref()
            .and_then(|parameters| parameters.first("proxy")),
        Some("recordings//")
    );
}

#[tokio::test]
async fn the_request_context_names_route_stage_and_request() {
    let (response, seen) = call(get("/recordings?limit=5")).await;
    let (function, request) = seen.unwrap();
    assert_eq!(function, "list-recordings");
    let RequestContext::ApiGatewayV2(context) = request.request_context() else {
        panic!("not an HTTP API event")
    };
    assert_eq!(context.stage.as_deref(), Some("$default"));
    assert_eq!(context.route_key.as_deref(), Some("GET /recordings"));
    assert_eq!(context.http.method, "GET");
    assert_eq!(context.http.path.as_deref(), Some("/recordings"));
    assert_eq!(context.http.protocol.as_deref(), Some("HTTP/1.1"));
    let id = context.request_id.unwrap();
    assert_eq!(id, request.lambda_context().request_id);
    assert_eq!(response.headers()["apigw-requestid"], id.as_str());
    assert_eq!(id.len(), 36);
    assert_ne!(id, request_id());
}

#[tokio::test]
async fn the_context_carries_the_deadline_of_the_functions_own_timeout() {
    let before = SystemTime::now();
    let deadline = received(get("/recordings")).await.lambda_context().deadline();
    let after = SystemTime::now();
    let timeout = Duration::from_secs(28);
    assert!(deadline + Duration::from_millis(1) >= before + timeout && deadline <= after + timeout);
}

#[tokio::test]
async fn repeated_headers_are_joined_and_cookies_arrive_whole() {
    let mut request = get("/recordings");
    for (name, value) in [
        ("X-API-Key", "a"),
        ("x-api-key", "b"),
        ("cookie", "c=1; d=2"),
        ("cookie", "e=3"),
    ] {
        request
            .headers_mut()
            .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let request = received(request).await;
    assert_eq!(request.headers()["x-api-key"], "a,b");
    assert_eq!(request.headers().get_all("x-api-key").iter().count(), 1);
    assert_eq!(request.headers()["cookie"], "c=1; d=2; e=3");
    assert_eq!(request.headers()["host"], "localhost:8000");
    assert_eq!(request.headers()["x-forwarded-proto"], "http");
}

#[test]
fn the_event_is_the_shape_of_payload_format_2() {
    let gateway = gateway();
    let mut request = post(Body::empty());
    request
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    request.headers_mut().insert("cookie", "a=1; b=2".parse().unwrap());
    *request.uri_mut() = "/api/twilio/transcript/?a=1&a=2&b=%20".parse().unwrap();
    let (parts, _) = request.into_parts();
    let target = route::find(&gateway.routes, "POST", parts.uri.path()).unwrap();
    let mut event = event::build(&parts, b"{}", &target, "id", None).unwrap();
    assert!(event["requestContext"]["timeEpoch"].take().is_i64());
    assert!(event["requestContext"]["time"].take().is_string());
    let expected = json!({
        "version": "2.0",
        "routeKey": "POST /api/twilio/{proxy+}",
        "rawPath": "/api/twilio/transcript/",
        "rawQueryString": "a=1&a=2&b=%20",
        "cookies": ["a=1", "b=2"],
        "headers": {"content-type": "application/json", "host": "localhost:8000", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"},
        "queryStringParameters": {"a": "1,2", "b": " "},
        "pathParameters": {"proxy": "transcript/"},
        "requestContext": {
            "accountId": "000000000000", "apiId": "local", "domainName": "localhost:8000", "domainPrefix": "localhost:8000",
            "http": {"method": "POST", "path": "/api/twilio/transcript/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": null},
            "requestId": "id", "routeKey": "POST /api/twilio/{proxy+}", "stage": "$default", "time": null, "timeEpoch": null,
        },
        "body": "{}",
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[test]
fn the_events_for_sam_local_invoke_go_to_the_function_they_are_named_after() {
    let gateway = gateway();
    for (name, text) in [
        ("get-recording", include_str!("../../../events/get-recording.json")),
        ("get-transcript", include_str!("../../../events/get-transcript.json")),
        ("list-recordings", include_str!("../../../events/list-recordings.json")),
        (
            "list-twilio-recordings",
            include_str!("../../../events/list-twilio-recordings.json"),
        ),
        (
            "transcribe-recording",
            include_str!("../../../events/transcribe-recording.json"),
        ),
    ] {
        let event: Value = serde_json::from_str(text).unwrap();
        let method = event["requestContext"]["http"]["method"].as_str().unwrap();
        let target = route::find(&gateway.routes, method, event["rawPath"].as_str().unwrap()).unwrap();
        assert_eq!(target.route.function, name);
        assert_eq!(event["routeKey"], target.route.key());
        assert_eq!(
            event["pathParameters"]
                .as_object()
                .map_or(0, |parameters| parameters.len()),
            target.variables.len()
        );
        assert!(
            target
                .variables
                .iter()
                .all(|(variable, value)| event["pathParameters"][variable] == *value)
        );
        lambda_http::request::from_str(text).unwrap();
    }
}

#[tokio::test]
async fn textual_bodies_arrive_as_text_and_others_byte_for_byte() {
    for (content_type, body, text) in [
        (
            Some("application/json; charset=utf-8"),
            "{\"a\": \"ü\\u0000\"}".as_bytes(),
            true,
        ),
        (Some("text/plain"), b"hello", true),
        (Some("application/problem+json"), b"{}", true),
        (Some("application/x-www-form-urlencoded"), b"a=1", false),
        (Some("application/json"), b"{\"a\": \"\xff\xfe\"}", false),
        (Some("\u{fc}"), b"x", false),
        (None, b"{}", false),
    ] {
        let mut request = post(body);
        if let Some(content_type) = content_type {
            let value = HeaderValue::from_bytes(content_type.as_bytes()).unwrap();
            request.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        let received = received(request).await;
        assert_eq!(received.body().as_ref(), body);
        assert_eq!(matches!(received.body(), LambdaBody::Text(_)), text, "{content_type:?}");
    }
    assert!(matches!(received(post("")).await.body(), LambdaBody::Empty));
}

#[tokio::test]
async fn header_bytes_that_are_not_utf8_do_not_fail_the_request() {
    let mut request = get("/recordings");
    request
        .headers_mut()
        .insert("x-odd", HeaderValue::from_bytes(b"a\xffb\t\"c\\").unwrap());
    let request = received(request).await;
    assert_eq!(request.headers()["x-odd"].as_bytes(), "a\u{fffd}b\t\"c\\".as_bytes());
}

#[tokio::test]
async fn odd_paths_and_queries_reach_the_function_unchanged() {
    for target in [
        "/recordings/%",
        "/recordings/%ff%fe",
        "/recordings/..%2f..%2fetc",
        "/recordings/../x",
        "/recordings/a%0d%0ab",
        "/recordings//",
        "//recordings",
        "/recordings/a;b=c:@!$&'()*+,{}\"",
        "/recordings?%ff=%ff&&=&===",
        "/recordings?a=[1]{2}|'",
        "/recordings/?",
    ] {
        let request = received(get(target)).await;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert_eq!(request.raw_http_path(), path);
        assert_eq!(request.uri().query().unwrap_or_default(), query);
    }
}

#[tokio::test]
async fn a_host_that_makes_no_url_is_a_bad_request_and_a_missing_one_is_not() {
    for host in ["", "a b", "[::1", "host:99999", "%zz", "a/b", "a?b", "a#b", "\u{fc}"] {
        let mut request = get("/recordings?limit=5");
        request
            .headers_mut()
            .insert(header::HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        let (response, seen) = call(request).await;
        assert!(seen.is_none(), "{host}");
        assert_refused(response, 400, "Bad Request").await;
    }
    let mut request = get("/recordings");
    request.headers_mut().remove(header::HOST);
    request
        .headers_mut()
        .insert("x-forwarded-proto", HeaderValue::from_static(":not a scheme:"));
    received(request).await;
}

/// The status line that a socket answers, for requests that no HTTP client would send.
async fn status_line(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_next_request_is_served() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = gateway().router(|_, _| async { LambdaResponse::new(LambdaBody::Empty) });
    let server = tokio::spawn(axum::serve(listener, router).into_future());

    for request in [
        &b"GET /recordings/\x00 HTTP/1.1\r\nhost: h\r\n\r\n"[..],
        b"GET /recordings/\xff HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /recordings HTTP/1.1\r\nhost: h\r\nbad header\r\n\r\n",
        b"POST /api/twilio/transcript HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/twilio/transcript HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n{}",
    ] {
        assert_eq!(
            status_line(address, request).await,
            "HTTP/1.1 400 Bad Request",
            "{}",
            request.escape_ascii()
        );
    }
    for byte in 0..=u8::MAX {
        let [path, query] = [b"GET /recordings/a".as_slice(), b"GET /recordings?a"]
            .map(|start| [start, &[byte], b"b HTTP/1.1\r\nhost: h\r\n\r\n"].concat());
        for request in [path, query] {
            let answer = status_line(address, &request).await;
            let served = ["HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request"].contains(&answer.as_str());
            assert!(served, "{}: {answer}", request.escape_ascii());
        }
    }
    let fine = b"GET /recordings HTTP/1.1\r\nhost: h\r\n\r\n";
    assert_eq!(status_line(address, fine).await, "HTTP/1.1 200 OK");
    server.abort();
}

#[tokio::test]
async fn a_path_or_method_without_a_route_is_the_gateways_own_404() {
    for (method, path) in [
        ("GET", "/"),
        ("DELETE", "/recordings"),
        ("OPTIONS", "/recordings"),
        ("POST", "/recordings"),
    ] {
        let request = HttpRequest::builder()
            .method(method)
            .uri(path)
            .header("host", "h")
            .body(Body::empty())
            .unwrap();
        let (response, seen) = call(request).await;
        assert!(seen.is_none());
        assert_refused(response, 404, "Not Found").await;
    }
}

#[tokio::test]
async fn a_payload_over_the_gateways_or_lambdas_limit_is_413() {
    for size in [MAX_BODY + 1, MAX_EVENT] {
        let (response, seen) = call(post(vec![b'x'; size])).await;
        assert!(seen.is_none());
        assert_refused(response, 413, "Request Entity Too Large").await;
    }
    assert_eq!(
        received(post(vec![b'x'; 4 * 1024 * 1024])).await.body().len(),
        4 * 1024 * 1024
    );
}

#[tokio::test]
async fn a_head_over_the_gateways_limit_is_431() {
    let mut request = get("/recordings");
    request
        .headers_mut()
        .insert("x-long", "x".repeat(MAX_HEAD).parse().unwrap());
    let (response, seen) = call(request).await;
    assert!(seen.is_none());
    assert_refused(response, 431, "Request Header Fields Too Large").await;
    received(get(&format!("/recordings?q={}", "x".repeat(MAX_HEAD - 200)))).await;
}

#[tokio::test]
async fn a_function_that_panics_is_a_500_and_the_next_request_is_served() {
    let router = gateway().router(|_, request: LambdaRequest| async move {
        assert!(request.raw_http_path() != "/recordings/crash", "crashed on purpose");
        LambdaResponse::new(LambdaBody::from("fine"))
    });
    assert_refused(
        router.clone().oneshot(get("/recordings/crash")).await.unwrap(),
        500,
        "Internal Server Error",
    )
    .await;
    assert_eq!(router.oneshot(get("/recordings/x")).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_exceeds_its_timeout_is_a_503() {
    let router = gateway().router(|_, _| std::future::pending());
    let started = tokio::time::Instant::now();
    assert_refused(
        router.oneshot(get("/recordings")).await.unwrap(),
        503,
        "Service Unavailable",
    )
    .await;
    assert_eq!(tokio::time::Instant::now().duration_since(started).as_secs(), 28);
}

#[tokio::test]
async fn status_headers_and_body_of_the_function_reach_the_client() {
    let router = gateway().router(|_, _| async {
        LambdaResponse::builder()
            .status(202)
            .header("content-type", "application/octet-stream")
            .header("retry-after", "3")
            .header("content-length", "99")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .body(LambdaBody::from(&b"\xff\x00"[..]))
            .unwrap()
    });
    let response = router.oneshot(get("/recordings")).await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.headers()["retry-after"], "3");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        &b"\xff\x00"[..]
    );
}
