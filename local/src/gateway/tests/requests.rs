//! The requests that functions receive.

use super::*;

#[tokio::test]
async fn the_function_receives_path_query_and_variables_unchanged() {
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
async fn repeated_headers_are_joined_and_cookies_are_complete() {
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
fn the_event_has_payload_format_2() {
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
fn the_example_events_are_routed_to_the_function_in_their_name() {
    let gateway = gateway();
    for (name, text) in [
        ("get-recording", include_str!("../../../../events/get-recording.json")),
        ("get-transcript", include_str!("../../../../events/get-transcript.json")),
        (
            "list-recordings",
            include_str!("../../../../events/list-recordings.json"),
        ),
        (
            "list-twilio-recordings",
            include_str!("../../../../events/list-twilio-recordings.json"),
        ),
        (
            "transcribe-recording",
            include_str!("../../../../events/transcribe-recording.json"),
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
async fn textual_bodies_are_passed_as_text_and_others_byte_for_byte() {
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
async fn unusual_paths_and_queries_reach_the_function_unchanged() {
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
async fn an_invalid_host_is_a_bad_request_and_a_missing_one_is_not() {
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
