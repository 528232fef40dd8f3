//! Silence is neither paid for nor turned into words.

use super::*;

#[tokio::test]
async fn long_silence_is_neither_uploaded_nor_paid_for() {
    let script = Script::spoken(400.0, 9).silent_between(20.0, 385.0);
    let stack = stack_with(mono(&script)).await;
    let worker = Worker::with_usual_parts(&stack).await;
    worker.deliver(&job()).await;
    let body = transcript(&stack).await.body;
    assert_transcript(&script, &body);
    assert_eq!(body["audio_seconds"], 400.0);
    let billed = body["billed_seconds"].as_u64().unwrap();
    assert!((30..40).contains(&billed), "{billed}");
    assert_eq!(stack.stack.whisper.billed_seconds(), billed);
    let cost = body["cost_usd"].as_f64().unwrap();
    assert!((cost - billed as f64 * 0.0001).abs() < 1e-9, "{cost}");
}

#[tokio::test]
async fn a_recording_with_only_silence_is_not_uploaded() {
    let silence = || Script::new(300.0, []);
    for wav in [mono(&silence()), Wav::new(8000, [silence(), silence()])] {
        let stack = stack_with(wav).await;
        stack.stack.whisper.hallucinate_in_silence(true);
        let worker = Worker::with_usual_parts(&stack).await;
        worker.deliver(&job()).await;
        let body = transcript(&stack).await.body;
        assert_eq!((&body["transcript"], &body["no_speech"]), (&json!(""), &json!(true)));
        assert_eq!(
            (&body["billed_seconds"], &body["cost_usd"], &body["audio_seconds"]),
            (&json!(0), &json!(0.0), &json!(300.0))
        );
        assert_eq!(stack.stack.whisper.calls(), 0);
    }
}

#[tokio::test]
async fn hallucinations_in_silence_are_dropped_and_counted() {
    let spoken = Script::new(40.0, [(1.0, "river"), (1.5, "lemon"), (38.0, "castle")]);
    for (script, dropped) in [(spoken, 1), (Script::new(40.0, []), 1)] {
        let stack = TestStack::empty().await;
        // A short recording is streamed including its silence.
        stack.stack.twilio.add(Recording {
            duration: Some(40),
            ..recording(SID, mono(&script))
        });
        stack.stack.whisper.hallucinate_in_silence(true);
        let body = json!({"recording_sid": SID, "timestamps": "word"});
        let body = stack.post("/api/twilio/transcript/", &body).await.body;
        assert_transcript(&script, &body);
        assert_eq!(
            (&body["no_speech"], &body["dropped_segments"]),
            (&json!(script.words().is_empty()), &json!(dropped))
        );
    }
    // In a long recording the silence is not uploaded, so there is nothing to hallucinate.
    let script = talk(20.0, 10);
    let stack = stack_with(mono(&script)).await;
    stack.stack.whisper.hallucinate_in_silence(true);
    Worker::of(&stack, 5.0).await.deliver(&job()).await;
    let body = transcript(&stack).await.body;
    assert_transcript(&script, &body);
    assert_eq!(body["dropped_segments"], 0);
}
