//! Injected faults.

use super::*;

#[tokio::test]
async fn a_fault_occurs_for_its_path_and_as_often_as_requested() {
    let (twilio, base) = start([recording("RE1", "2024-01-15T10:30:00Z", Media::mp3(CLIPS[0].mp3))]).await;
    let (list, media) = (url(&base, "Recordings.json"), url(&base, "Recordings/RE1.mp3"));
    twilio.fault(
        "Recordings.json",
        Fault::Status {
            status: 429,
            retry_after: Some(2),
            body: None,
        },
        Some(1),
    );
    let limited = get(&list).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );
    assert_eq!(limited.json::<Value>().await.unwrap()["code"], 20429);
    assert_eq!(get(&list).await.status(), 200);

    twilio.fault(".mp3", Fault::Redirect("http://elsewhere.test/x".into()), Some(1));
    assert_eq!(get(&media).await.headers()["location"], "http://elsewhere.test/x");

    twilio.fault(".mp3", Fault::Truncate, Some(1));
    let mut cut = get(&media).await;
    assert_eq!(cut.content_length(), Some(CLIPS[0].mp3.len() as u64));
    let mut received = 0;
    let end = loop {
        match cut.chunk().await {
            Ok(Some(chunk)) => received += chunk.len(),
            end => break end,
        }
    };
    assert!(end.is_err());
    assert_eq!(received, CLIPS[0].mp3.len() / 2);

    twilio.fault(".mp3", Fault::NoContentLength, Some(1));
    let chunked = get(&media).await;
    assert_eq!(chunked.content_length(), None);
    assert_eq!(chunked.bytes().await.unwrap(), CLIPS[0].mp3);

    twilio.fault("RE1", Fault::Hang, Some(1));
    let before = twilio.requests().len();
    let request = client().get(&media).basic_auth(ACCOUNT, Some("token")).send();
    let hanging = tokio::spawn(request);
    twilio.wait_for_requests(before + 1).await;
    assert_eq!(get(&media).await.status(), 200);
    assert!(!hanging.is_finished());
    hanging.abort();
}
