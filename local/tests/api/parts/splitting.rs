//! Recordings that are cut into parts, and those that are not.

use super::*;

#[tokio::test]
async fn a_recording_split_at_any_length_has_the_same_words_and_timestamps() {
    let script = talk(60.0, 1);
    let stack = TestStack::empty().await;
    let whole = Recording {
        duration: Some(74),
        ..recording(SID, mono(&script))
    };
    stack.stack.twilio.add(whole);
    let worker = Worker::of(&stack, 60.0).await;
    worker.deliver(&job()).await;
    assert_eq!(
        stack.stack.whisper.calls(),
        1,
        "the recording is short enough to be uploaded unchanged"
    );
    assert_transcript(&script, &transcript(&stack).await.body);

    for (n, seconds) in [2.0, 2.7, 3.3, 5.0, 7.3, 9.0].into_iter().enumerate() {
        let sid = format!("RE0000000000000{n:03}");
        stack.stack.twilio.add(recording(&sid, mono(&script)));
        let worker = Worker::of(&stack, seconds).await;
        let before = stack.stack.whisper.calls();
        worker.deliver(&json!({"recording_sid": sid})).await;
        let answer = transcript_of(&stack, &sid).await;
        assert_transcript(&script, &answer.body);
        let requests = stack.stack.whisper.requests();
        let parts = &requests[before..];
        assert!(parts.len() >= (61.0 / seconds) as usize, "{} parts", parts.len());
        assert!(parts.iter().all(|part| part.seconds.unwrap() <= seconds + 0.001));
        let billed: u64 = parts.iter().map(|part| part.billed_seconds()).sum();
        assert_eq!(answer.body["billed_seconds"], billed);
    }
}

#[tokio::test]
async fn parts_are_flac_below_the_limits_with_the_same_request_fields() {
    let stack = stack_with(mono(&talk(20.0, 2))).await;
    let worker = Worker::of(&stack, 5.0).await;
    let mut asked = job();
    asked["options"] = json!({"language": "en", "prompt": "names"});
    worker.deliver(&asked).await;
    let requests = stack.stack.whisper.requests();
    assert!(requests.len() >= 4);
    for part in requests {
        assert_eq!(part.file_name.as_deref(), Some("audio.flac"));
        assert_eq!(part.content_type.as_deref(), Some("audio/flac"));
        for field in [("language", "en"), ("prompt", "names"), ("temperature", "0")] {
            assert!(part.fields.contains(&(field.0.into(), field.1.into())), "{field:?}");
        }
    }
}

#[tokio::test]
async fn a_recording_below_the_limits_is_uploaded_unchanged() {
    let stack = TestStack::empty().await;
    let script = Script::spoken(130.0, 3);
    let wav = mono(&script);
    stack.stack.twilio.add(Recording {
        duration: Some(130),
        ..recording(SID, wav.clone())
    });
    let answer = stack
        .post(
            "/api/twilio/transcript/",
            &json!({"recording_sid": SID, "timestamps": "word"}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_transcript(&script, &answer.body);
    assert_eq!(uploads(&stack), [(hex(&Sha256::digest(wav.bytes())), 1)]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_recording_above_the_apis_size_limit_is_split() {
    let script = Script::spoken(1640.0, 4).silent_between(330.0, 1300.0);
    let wav = mono(&script);
    assert!(wav.length() > 25 * 1024 * 1024);
    let stack = stack_with(wav).await;
    let worker = Worker::with_usual_parts(&stack).await;
    worker.deliver(&job()).await;
    let answer = transcript(&stack).await;
    assert_transcript(&script, &answer.body);
    assert_eq!(stack.stack.whisper.calls(), 2);
    assert_eq!(answer.body["audio_seconds"], 1640.0);
    let billed = answer.body["billed_seconds"].as_u64().unwrap();
    assert!((660..690).contains(&billed), "{billed}");
}

#[tokio::test]
async fn a_model_without_timestamps_has_the_same_text_and_the_times_of_its_parts() {
    let stack = TestStack::empty().await;
    let script = Script::spoken(440.0, 11);
    let (wav, _, turns) = conversation(60.0, 12);
    let two = "REfedcba9876543210";
    stack.stack.twilio.add(Recording {
        duration: Some(440),
        ..recording(SID, mono(&script))
    });
    stack.stack.twilio.add(recording(two, wav));
    // With the deployed limits: this model's output tokens are sufficient for seven minutes.
    let worker = Worker::with_usual_parts(&stack).await;
    let options = json!({"model": "gpt-4o-transcribe"});
    let gpt = |sid: &str| json!({"recording_sid": sid, "options": options});
    worker.deliver(&gpt(SID)).await;
    assert_eq!(stack.stack.whisper.calls(), 2);
    let body = json!({"recording_sid": SID, "model": "gpt-4o-transcribe", "timestamps": "word"});
    let body = stack.post("/api/twilio/transcript/", &body).await.body;
    assert_eq!(
        (&body["cached"], &body["model"]),
        (&json!(true), &json!("gpt-4o-transcribe"))
    );
    assert_eq!(
        (&body["transcript"], &body["words"]),
        (&json!(script.text()), &json!([]))
    );
    let segments = body["segments"].as_array().unwrap();
    assert_eq!((segments.len(), &segments[0]["start"]), (2, &json!(0.0)));
    assert_eq!(segments[0]["end"], segments[1]["start"]);
    let seam = segments[1]["start"].as_f64().unwrap();
    assert!((390.0..=420.0).contains(&seam), "{seam}");
    let before = script.words().iter().filter(|word| word.end < seam).count();
    let first = segments[0]["text"].as_str().unwrap();
    assert_eq!(first.split(' ').count(), before);

    worker.deliver(&gpt(two)).await;
    let body = json!({"recording_sid": two, "model": "gpt-4o-transcribe"});
    let body = stack.post("/api/twilio/transcript/", &body).await.body;
    let words_of = |speaker: &str, turns: Vec<(String, String)>| {
        let texts = turns.into_iter().filter(|(name, _)| name == speaker);
        texts.map(|(_, text)| text).collect::<Vec<_>>().join(" ")
    };
    for (channel, speaker) in ["agent", "customer"].into_iter().enumerate() {
        let spoken: Vec<_> = turns
            .iter()
            .filter(|(of, _)| *of == channel)
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(words_of(speaker, named_turns(&body)), spoken.join(" "));
    }
}

#[tokio::test]
async fn a_recording_too_short_for_the_api_is_an_error_and_a_part_too_short_is_not() {
    // The first milliseconds of a word, too short to be recognized.
    let stack = TestStack::empty().await;
    let media = Media::mp3(mono(&Script::new(0.25, [(0.0, LEXICON[0])])).bytes()[..44 + 800].to_vec());
    stack.stack.twilio.add(Recording {
        duration: Some(0),
        media,
        ..recording(SID, mono(&Script::new(1.0, [])))
    });
    let refused = stack.post("/api/twilio/transcript/", &job()).await;
    refused.twilio_error(500, "audio_too_short");
}
