//! The responses that clients receive: the function's response or the gateway's error.

use super::*;

/// The status line of the response on a plain socket, for requests that HTTP clients can't send.
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
async fn malformed_requests_are_rejected_and_the_next_request_is_served() {
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
        ("POST", "/"),
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
