//! Injected faults and billing.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn only_successes_are_billed_and_the_same_file_has_the_same_hash() {
    let (whisper, url) = start().await;
    let talk = |seed| spoken(tones::Wav::new(8000, [tones::Script::spoken(4.2, seed)]), &VERBOSE);
    let busy = Fault::Status {
        status: 503,
        headers: Vec::new(),
        body: "{}".into(),
    };
    whisper.fault(busy, Some(1));
    for (seed, status) in [(1, 503), (1, 200), (2, 200), (1, 200)] {
        assert_eq!(post(&url, talk(seed)).await.status(), status);
    }
    assert_eq!(post(&url, form("a.wav", vec![0; 10], &VERBOSE)).await.status(), 400);
    assert_eq!(whisper.billed_seconds(), 15);
    let log = whisper.requests();
    let billed: Vec<u64> = log.iter().map(Logged::billed_seconds).collect();
    assert_eq!(billed, [0, 5, 5, 5, 0]);
    assert_eq!(
        log[0].text.as_deref(),
        Some(tones::Script::spoken(4.2, 1).text().as_str())
    );
    assert!(log[0].sha256.is_some() && log[1].sha256 == log[3].sha256 && log[1].sha256 != log[2].sha256);
    assert_eq!((log[4].seconds, &log[4].text), (None, &None));
}

#[tokio::test]
async fn a_fault_can_be_for_one_call_or_one_word() {
    let (whisper, url) = start().await;
    let say = |word| {
        spoken(
            tones::Wav::new(8000, [tones::Script::new(1.0, [(0.2, word)])]),
            &VERBOSE,
        )
    };
    let status = |status| {
        Box::new(Fault::Status {
            status,
            headers: Vec::new(),
            body: "{}".into(),
        })
    };
    whisper.fault(Fault::OnWord("river".into(), status(500)), Some(2));
    whisper.fault(Fault::OnCall(2, status(429)), None);
    let mut answers = Vec::new();
    for word in ["river", "river", "lemon", "river", "river"] {
        answers.push(post(&url, say(word)).await.status().as_u16());
    }
    assert_eq!(answers, [500, 429, 200, 500, 200]);

    let gate = Arc::new(Semaphore::new(0));
    whisper.clear_faults();
    whisper.fault(Fault::OnWord("lemon".into(), Box::new(Fault::Gate(gate.clone()))), None);
    let held = tokio::spawn({
        let (url, upload) = (url.clone(), say("lemon"));
        async move { post(&url, upload).await.status() }
    });
    whisper.wait_for_calls(6).await;
    assert_eq!(post(&url, say("river")).await.status(), 200);
    assert!(!held.is_finished() && whisper.requests()[5].status.is_none());
    gate.add_permits(1);
    assert_eq!(held.await.unwrap(), 200);
}

#[tokio::test]
async fn a_broken_connection_has_no_response() {
    let (whisper, url) = start().await;
    whisper.fault(Fault::Cut, Some(1));
    let upload = || form("a.mp3", CLIPS[4].mp3, &[("model", "whisper-1")]);
    let request = client().post(&url).bearer_auth("key").multipart(upload());
    let error = request.send().await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    assert_eq!((whisper.calls(), whisper.billed_seconds()), (1, 0));
    assert_eq!(post(&url, upload()).await.status(), 200);
}

#[tokio::test]
async fn a_fault_occurs_after_the_request_was_read() {
    let (whisper, url) = start().await;
    let upload = || form("a.mp3", CLIPS[4].mp3, &[("model", "whisper-1")]);
    let headers = vec![("retry-after".to_owned(), "3".to_owned())];
    whisper.fault(
        Fault::Status {
            status: 429,
            headers,
            body: "{}".into(),
        },
        Some(1),
    );
    let limited = post(&url, upload()).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"3".parse().unwrap())
    );
    assert_eq!(whisper.requests()[0].file_bytes, CLIPS[4].mp3.len() as u64);

    let gate = Arc::new(Semaphore::new(0));
    whisper.fault(Fault::Gate(gate.clone()), Some(1));
    let held = tokio::spawn({
        let (url, upload) = (url.clone(), upload());
        async move { post(&url, upload).await.status() }
    });
    whisper.wait_for_calls(2).await;
    assert_eq!(post(&url, upload()).await.status(), 200);
    assert!(!held.is_finished());
    gate.add_permits(1);
    assert_eq!(held.await.unwrap(), 200);

    whisper.fault(Fault::Hang, None);
    let hanging = tokio::spawn({
        let (url, upload) = (url.clone(), upload());
        async move { post(&url, upload).await.status() }
    });
    whisper.wait_for_calls(4).await;
    whisper.clear_faults();
    assert_eq!(post(&url, upload()).await.status(), 200);
    assert!(!hanging.is_finished());
    assert_eq!(whisper.calls(), 5);
    hanging.abort();
}
