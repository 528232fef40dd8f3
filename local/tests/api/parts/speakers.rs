//! Two channels become two speakers.

use super::*;

#[tokio::test]
async fn two_channels_become_turns_of_two_speakers() {
    let (wav, together, turns) = conversation(60.0, 5);
    let expected = |names: [&str; 2]| -> Vec<_> {
        let named = turns
            .iter()
            .map(|(channel, text)| (names[*channel].to_owned(), text.clone()));
        named.collect()
    };
    for (variable, names) in [(None, ["agent", "customer"]), (Some("Ann, Bob"), ["Ann", "Bob"])] {
        let stack = TestStack::with(|settings| {
            let named = variable.map(|names| ("SPEAKER_NAMES".to_owned(), names.to_owned()));
            settings.environment.extend(named);
        })
        .await;
        stack.stack.twilio.add(recording(SID, wav.clone()));
        let worker = Worker::of(&stack, 10.0).await;
        worker.deliver(&job()).await;
        let answer = transcript(&stack).await;
        assert_eq!(named_turns(&answer.body), expected(names));
        assert_times(&together, &answer.body);
        let lines: Vec<_> = turns.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(answer.body["transcript"], lines.join("\n"));
        for shown in ["segments", "words"] {
            let shown = answer.body[shown].as_array().unwrap();
            assert!(
                shown
                    .iter()
                    .all(|shown| names.contains(&shown["speaker"].as_str().unwrap()))
            );
            assert!(shown.is_sorted_by_key(|shown| shown["start"].as_f64()));
        }

        let (content_type, text) = text_in(&stack, "text").await;
        assert_eq!(content_type, "text/plain; charset=utf-8");
        let lines = expected(names)
            .into_iter()
            .map(|(name, text)| format!("{name}: {text}\n"));
        assert_eq!(text, lines.collect::<String>());
        let (content_type, srt) = text_in(&stack, "srt").await;
        assert_eq!(content_type, "application/x-subrip; charset=utf-8");
        let (content_type, vtt) = text_in(&stack, "vtt").await;
        assert_eq!(content_type, "text/vtt; charset=utf-8");
        for name in names {
            assert!(srt.contains(&format!("\n{name}: ")), "{srt}");
            assert!(vtt.contains(&format!("<v {name}>")), "{vtt}");
        }
        let media: Vec<_> = media_queries(&stack);
        assert_eq!(media, ["RequestedChannels=2"]);
    }
}

/// The queries of all requests for media.
fn media_queries(stack: &TestStack) -> Vec<String> {
    let requests = stack.stack.twilio.requests().into_iter();
    let media = requests.filter(|request| request.path.ends_with(".mp3"));
    media.map(|request| request.query).collect()
}

#[tokio::test]
async fn a_short_call_has_two_speakers_within_the_request_unless_mixed() {
    let (wav, together, turns) = conversation(20.0, 6);
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(Recording {
        duration: Some(20),
        ..recording(SID, wav)
    });
    let body = json!({"recording_sid": SID, "timestamps": "word"});
    let answer = stack.post("/api/twilio/transcript/", &body).await;
    assert_eq!((answer.status.as_u16(), &answer.body["cached"]), (200, &json!(false)));
    assert_eq!(named_turns(&answer.body).len(), turns.len());
    assert_times(&together, &answer.body);
    assert_eq!(stack.stack.whisper.calls(), 2, "one upload for each channel");

    let body = json!({"recording_sid": SID, "timestamps": "word", "speakers": false});
    let mixed = stack.post("/api/twilio/transcript/", &body).await;
    assert_eq!((mixed.status.as_u16(), &mixed.body["cached"]), (200, &json!(false)));
    assert_transcript(&together, &mixed.body);
    assert!(mixed.body.get("turns").is_none());
    assert!(mixed.body["words"][0].get("speaker").is_none());
    assert_eq!(stack.stack.whisper.calls(), 3);
    assert_eq!(media_queries(&stack), ["RequestedChannels=2", ""]);
}

#[tokio::test]
async fn two_identical_channels_are_one_speaker_and_paid_for_once() {
    let script = Script::spoken(20.0, 7);
    let stack = stack_with(Wav::new(8000, [script.clone(), script.clone()])).await;
    let worker = Worker::of(&stack, 60.0).await;
    worker.deliver(&job()).await;
    let answer = transcript(&stack).await;
    assert_transcript(&script, &answer.body);
    assert!(answer.body.get("turns").is_none());
    assert_eq!(
        (stack.stack.whisper.calls(), &answer.body["billed_seconds"]),
        (1, &json!(20))
    );
}

#[tokio::test]
async fn mono_media_is_transcribed_although_the_metadata_has_two_channels() {
    let script = Script::spoken(20.0, 8);
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(Recording {
        channels: 2,
        ..recording(SID, mono(&script))
    });
    let worker = Worker::of(&stack, 60.0).await;
    worker.deliver(&job()).await;
    let answer = transcript(&stack).await;
    assert_transcript(&script, &answer.body);
    assert!(answer.body.get("turns").is_none());
    assert_eq!(media_queries(&stack), ["RequestedChannels=2", ""]);
}
