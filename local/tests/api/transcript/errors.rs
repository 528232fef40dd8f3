//! Errors of Twilio, of the transcription API and of the database.

use super::*;

#[tokio::test]
async fn a_failure_is_not_stored() {
    let stack = with_speech().await;
    let refusal = whisper::Fault::Status {
        status: 400,
        headers: Vec::new(),
        body: json!({"error": {"message": "Audio file might be corrupted or unsupported"}}).to_string(),
    };
    // The file is refused, and so is the decoded audio that is sent after it.
    stack.stack.whisper.fault(refusal, Some(2));
    failed(&stack.post(TRANSCRIPT, &by_sid()).await, "audio_unsupported");
    let second = stack.post(TRANSCRIPT, &by_sid()).await;
    assert_eq!(
        (completed(&second), &second.body["cached"]),
        (words().as_str(), &json!(false))
    );
}

#[tokio::test]
async fn a_recording_that_is_not_completed_is_an_error_with_its_status() {
    let stack = with_speech().await;
    for (status, retryable) in [
        ("in-progress", true),
        ("paused", true),
        ("stopped", true),
        ("processing", true),
        ("absent", false),
        ("deleted", false),
        ("failed", false),
    ] {
        stack.stack.twilio.add(Recording {
            status: status.into(),
            ..recording(Media::None)
        });
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        let reason = failed(&refused, "recording_not_completed");
        assert_eq!(reason, format!("Recording not completed (status={status})"));
        assert_eq!(
            refused.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{status}"
        );
    }
    assert_eq!((media_requests(&stack), stack.stack.whisper.calls()), (0, 0));
}

#[tokio::test]
async fn unavailable_audio_has_a_separate_code_and_is_not_paid_for() {
    let stack = TestStack::empty().await;
    let mp3 = || Media::mp3(clips::CLIPS[0].mp3);
    for (row, code, retryable) in [
        (
            Recording {
                encryption_details: Some(json!({"encryption_public_key_sid": "CR1"})),
                ..recording(mp3())
            },
            "recording_encrypted",
            false,
        ),
        (
            Recording {
                external_media_url: Some("https://customer.example/x.wav".into()),
                ..recording(mp3())
            },
            "recording_stored_externally",
            false,
        ),
        (recording(Media::None), "media_not_found", false),
        (recording(Media::Status(410)), "media_not_found", false),
        (recording(Media::Status(401)), "twilio_unauthorized", false),
        (recording(Media::Status(400)), "twilio_error", false),
        (recording(Media::mp3(&b""[..])), "media_empty", false),
        (
            recording(Media::mp3(&b"<!DOCTYPE html><html>"[..])),
            "media_not_audio",
            false,
        ),
        (
            recording(Media::mp3(&b"{\"code\": 20404}"[..])),
            "media_not_audio",
            false,
        ),
        (recording(Media::mp3(&b"ID"[..])), "media_not_audio", false),
    ] {
        stack.stack.twilio.add(row);
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        failed(&refused, code);
        assert_eq!(
            refused.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{code}"
        );
    }
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn truncated_media_is_downloaded_again_and_never_transcribed() {
    for fault in [twilio::Fault::Truncate] {
        let stack = with_speech().await;
        stack.stack.twilio.fault(".mp3", fault.clone(), Some(1));
        assert_eq!(completed(&stack.post(TRANSCRIPT, &by_sid()).await), words());
        assert_eq!(media_requests(&stack), 2);

        let stack = with_speech().await;
        stack.stack.twilio.fault(".mp3", fault, None);
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        failed(&refused, "twilio_unavailable");
        assert_eq!(refused.body["retryable"], true);
        assert_eq!(media_requests(&stack), 3, "nested retries would multiply");
        stack.stack.twilio.clear_faults();
        let next = stack.post(TRANSCRIPT, &by_sid()).await;
        assert_eq!(
            (completed(&next), &next.body["cached"]),
            (words().as_str(), &json!(false))
        );
    }
}

#[tokio::test]
async fn twilios_errors_have_separate_codes_for_metadata_and_media() {
    let stack = with_speech().await;
    let status = |status, retry_after| twilio::Fault::Status {
        status,
        retry_after,
        body: None,
    };
    let broken = twilio::Fault::Status {
        status: 200,
        retry_after: None,
        body: Some("<html>".into()),
    };
    for (path, fault, code, retryable, retry_after, requests) in [
        (".json", status(401, None), "twilio_unauthorized", false, None, 1),
        (".json", status(429, Some(0)), "twilio_rate_limited", true, Some("1"), 4),
        (
            ".json",
            status(429, Some(90)),
            "twilio_rate_limited",
            true,
            Some("90"),
            1,
        ),
        (".json", status(503, Some(0)), "twilio_unavailable", true, Some("1"), 4),
        (".json", broken, "twilio_error", false, None, 1),
        (".mp3", status(401, None), "twilio_unauthorized", false, None, 1),
        (".mp3", status(404, None), "media_not_found", false, None, 1),
        (".mp3", status(429, Some(0)), "twilio_rate_limited", true, Some("1"), 3),
        (
            ".mp3",
            status(429, Some(90)),
            "twilio_rate_limited",
            true,
            Some("90"),
            1,
        ),
        (".mp3", status(500, Some(0)), "twilio_unavailable", true, Some("1"), 3),
    ] {
        let path_contains = format!("{DOCUMENTED}{path}");
        stack.stack.twilio.fault(&path_contains, fault.clone(), None);
        let before = stack.stack.twilio.requests().len();
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        stack.stack.twilio.clear_faults();
        let context = format!("{path} {fault:?}: {}", refused.body);
        let error = refused.twilio_error(500, code);
        if path == ".json" {
            assert!(error.starts_with("Failed to fetch recording details: "), "{context}");
        } else {
            failed(&refused, code);
        }
        assert_eq!(
            refused.body.get("retryable"),
            retryable.then_some(&json!(true)),
            "{context}"
        );
        let header = refused.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(header, retry_after, "{context}");
        let log = stack.stack.twilio.requests();
        let asked = log[before..]
            .iter()
            .filter(|request| request.path.ends_with(&path_contains))
            .count();
        assert_eq!(asked, requests, "{context}");
    }
    assert_eq!(stack.stack.whisper.calls(), 0);
}

#[tokio::test]
async fn an_upstream_that_hangs_is_abandoned_before_the_deadline_and_the_job_is_queued() {
    // Shortly after the function's deadline and before the gateway's.
    let deadline = Duration::from_millis(26_600);
    for hangs in ["whisper", "twilio"] {
        let stack = with_speech().await;
        match hangs {
            "whisper" => stack.stack.whisper.fault(whisper::Fault::Hang, Some(1)),
            _ => stack.stack.twilio.fault(".mp3", twilio::Fault::Hang, Some(1)),
        }
        let clock = StoppedClock::new();
        let request = stack
            .request(Method::POST, TRANSCRIPT)
            .header("x-api-key", demo::API_KEY);
        let waiting = tokio::spawn(answer(request.json(&by_sid())));
        match hangs {
            "whisper" => stack.stack.whisper.wait_for_calls(1).await,
            _ => stack.stack.twilio.wait_for_requests(2).await,
        }
        tokio::time::advance(deadline).await;
        let accepted = waiting.await.unwrap();
        assert_eq!(
            (accepted.status.as_u16(), &accepted.body["status"]),
            (202, &json!("processing")),
            "{hangs}"
        );
        drop(clock);
        tokio::time::resume();
        let done = finished(&stack, accepted.body["status_url"].as_str().unwrap()).await;
        assert_eq!(completed(&done), words(), "{hangs}");
    }
}

#[tokio::test]
async fn without_the_database_nothing_is_paid() {
    let stack = with_speech().await;
    stack
        .stack
        .aws
        .faults()
        .set(Service::DynamoDb, Some(StatusCode::INTERNAL_SERVER_ERROR));
    let refused = stack.post(TRANSCRIPT, &by_sid()).await;
    refused.twilio_error(503, "database_unavailable");
    assert_eq!(refused.body["retryable"], true);
    assert_eq!(
        (stack.stack.twilio.requests().len(), stack.stack.whisper.calls()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_paid_transcript_is_returned_even_if_it_cannot_be_stored() {
    let stack = with_speech().await;
    let gate = Arc::new(Semaphore::new(0));
    stack.stack.whisper.fault(whisper::Fault::Gate(gate.clone()), None);
    let body = by_sid();
    let outage = async {
        stack.stack.whisper.wait_for_calls(1).await;
        let down = Some(StatusCode::SERVICE_UNAVAILABLE);
        stack.stack.aws.faults().set(Service::DynamoDb, down);
        gate.close();
    };
    let (got, ()) = tokio::join!(stack.post(TRANSCRIPT, &body), outage);
    assert_eq!(completed(&got), words());
    assert_eq!(got.body["cached"], false);
}

#[tokio::test]
async fn without_secrets_the_error_names_the_missing_configuration() {
    for (variable, code) in [
        ("TWILIO_SECRET", "twilio_not_configured"),
        ("WHISPER_SECRET", "whisper_not_configured"),
        ("API_KEYS_SECRET", "api_keys_not_configured"),
    ] {
        let stack = TestStack::with_environment([(variable, "absent")]).await;
        stack.stack.twilio.add(recording(Media::mp3(clips::CLIPS[0].mp3)));
        let refused = stack.post(TRANSCRIPT, &by_sid()).await;
        refused.twilio_error(500, code);
        assert_eq!(stack.stack.whisper.calls(), 0);
    }
}
