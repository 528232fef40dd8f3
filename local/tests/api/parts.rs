//! Long recordings, two speakers and silence: what is uploaded, what it costs, and that no word is lost or repeated where parts meet.

use std::{sync::Arc, time::Duration};

use local::{
    demo,
    standins::{
        tones::{LEXICON, Script, Wav},
        twilio::{Media, Recording},
        whisper::Fault,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::{
    stack::{TestStack, pass},
    worker::{
        SID, STATUS, Worker, assert_times, assert_transcript, job, mono, recording, talk, transcript, transcript_of,
        uploads,
    },
};

async fn stack_with(wav: Wav) -> TestStack {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(SID, wav));
    stack
}

fn status(status: u16, body: &str) -> Fault {
    Fault::Status {
        status,
        headers: vec![("retry-after".into(), "0".into())],
        body: body.into(),
    }
}

/// The API rejects the audio, which is a permanent error.
fn broken_audio() -> Fault {
    status(
        400,
        r#"{"error":{"message":"Audio file might be corrupted or unsupported"}}"#,
    )
}

/// A word that occurs once, near this fraction of the recording.
fn word_near(script: &Script, share: f64) -> &'static str {
    let words = script.words();
    let once = |word: &str| words.iter().filter(|spoken| spoken.word == word).count() == 1;
    let from = (words.len() as f64 * share) as usize;
    words[from..].iter().find(|spoken| once(spoken.word)).unwrap().word
}

async fn text_in(stack: &TestStack, format: &str) -> (String, String) {
    let request = stack.request(Method::GET, &format!("{STATUS}?format={format}"));
    let response = request.header("X-API-Key", demo::API_KEY).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (content_type, response.text().await.unwrap())
}

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

/// A conversation on two channels, and its turns in order.
fn conversation(seconds: f64, seed: u64) -> (Wav, Script, Vec<(usize, String)>) {
    let both = Script::dialogue(seconds, seed);
    let mut words: Vec<_> = both
        .iter()
        .enumerate()
        .flat_map(|(channel, script)| script.words().iter().map(move |word| (channel, *word)))
        .collect();
    words.sort_by(|one, other| one.1.start.total_cmp(&other.1.start));
    let mut turns: Vec<(usize, String)> = Vec::new();
    for (channel, spoken) in &words {
        match turns.last_mut() {
            Some((last, text)) if last == channel => {
                text.push(' ');
                text.push_str(spoken.word);
            }
            _ => turns.push((*channel, spoken.word.to_owned())),
        }
    }
    let together = Script::new(seconds, words.into_iter().map(|(_, word)| (word.start, word.word)));
    (Wav::new(8000, both), together, turns)
}

fn named_turns(body: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let turns = body["turns"].as_array().unwrap().iter();
    turns
        .map(|turn| (text(&turn["speaker"]), text(&turn["text"])))
        .collect()
}

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

/// Polls the state until it satisfies `wanted`.
async fn state_when(stack: &TestStack, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..10_000 {
        let body = stack.get(STATUS).await.body;
        if wanted(&body) {
            return body;
        }
        tokio::task::yield_now().await;
    }
    panic!("the state was never reached");
}

#[tokio::test]
async fn the_state_shows_progress_and_the_number_of_concurrent_parts_is_limited() {
    let script = talk(40.0, 13);
    let stack = stack_with(mono(&script)).await;
    let whisper = &stack.stack.whisper;
    let gate = Arc::new(Semaphore::new(0));
    whisper.fault(Fault::Gate(gate.clone()), None);
    let worker = Worker::with_limits(&stack, 5.0, 3).await;
    let under_way = || whisper.requests().iter().filter(|part| part.status.is_none()).count();
    let watched = async {
        whisper.wait_for_calls(3).await;
        let first = stack.get(STATUS).await.body;
        assert_eq!((&first["status"], first.get("progress")), (&json!("processing"), None));
        assert_eq!((whisper.calls(), under_way()), (3, 3));
        for done in 1..=6 {
            gate.add_permits(1);
            let state = state_when(&stack, |body| body["progress"]["parts_done"] == done).await;
            let progress = &state["progress"];
            assert!(progress["parts_total"].as_u64().unwrap() >= done, "{progress}");
            let seconds = progress["seconds_done"].as_f64().unwrap();
            assert!(seconds > 0.0 && seconds < 54.0, "{progress}");
            assert!(under_way() <= 3);
        }
        gate.close();
    };
    let job = job();
    tokio::join!(worker.deliver(&job), watched);
    assert_transcript(&script, &transcript(&stack).await.body);
    assert!(whisper.calls() > 6);
}

#[tokio::test]
async fn a_permanently_failed_part_fails_the_job_and_a_retry_pays_only_for_missing_parts() {
    let script = talk(40.0, 14);
    let stack = stack_with(mono(&script)).await;
    let whisper = &stack.stack.whisper;
    whisper.fault(
        Fault::OnWord(word_near(&script, 0.5).into(), Box::new(broken_audio())),
        None,
    );
    let worker = Worker::with_limits(&stack, 5.0, 2).await;
    worker.deliver(&job()).await;
    let failed = stack.get(STATUS).await.body;
    assert_eq!(
        (&failed["status"], &failed["code"], &failed["retryable"]),
        (&json!("failed"), &json!("audio_unsupported"), &json!(false))
    );
    assert_eq!(worker.sent_work().len(), 0);
    let refused = whisper
        .requests()
        .iter()
        .filter(|part| part.status == Some(400))
        .count();
    let (tried, paid) = (whisper.calls(), whisper.billed_seconds());
    assert_eq!(refused, 1, "a permanent error is not retried");
    assert!(tried >= 3, "the earlier parts are stored");

    whisper.clear_faults();
    worker.deliver(&job()).await;
    let body = transcript(&stack).await.body;
    assert_transcript(&script, &body);
    let times: Vec<_> = uploads(&stack).into_iter().map(|(_, times)| times).collect();
    assert!(times.len() >= 8, "{times:?}");
    assert_eq!(
        times.iter().filter(|times| **times > 1).count(),
        1,
        "only the failed part is uploaded again: {times:?}"
    );
    assert!(paid > 0 && body["billed_seconds"] == whisper.billed_seconds());
}

#[tokio::test]
async fn a_part_without_remaining_retries_requeues_the_job_and_keeps_its_parts() {
    let script = talk(20.0, 15);
    let stack = stack_with(mono(&script)).await;
    let whisper = &stack.stack.whisper;
    let word = word_near(&script, 0.6);
    whisper.fault(Fault::OnWord(word.into(), Box::new(status(503, "{}"))), None);
    let worker = Worker::of(&stack, 5.0).await;
    worker.deliver(&job()).await;
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");
    let refused = whisper
        .requests()
        .iter()
        .filter(|part| part.status == Some(503))
        .count();
    assert_eq!(refused, 5);
    let again = worker.sent_work();
    assert_eq!((again.len(), &again[0].job["attempts"]), (1, &json!(1)));
    assert!(again[0].delay >= 20, "{}", again[0].delay);

    whisper.clear_faults();
    worker.deliver(&again[0].job).await;
    let body = transcript(&stack).await.body;
    assert_transcript(&script, &body);
    let requests = whisper.requests();
    let paid = requests.iter().filter(|part| part.status == Some(200));
    assert_eq!(paid.count(), uploads(&stack).len(), "every part is paid for once");
    assert_eq!(body["billed_seconds"], whisper.billed_seconds());
}

#[tokio::test]
async fn the_parts_of_a_job_share_a_retry_budget() {
    let stack = stack_with(mono(&talk(40.0, 16))).await;
    stack.stack.whisper.fault(status(503, "{}"), None);
    let worker = Worker::of(&stack, 3.0).await;
    worker.deliver(&job()).await;
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");
    let (calls, parts) = (stack.stack.whisper.calls(), uploads(&stack).len());
    assert!(parts >= 8, "the parts use up the retry budget: {parts}");
    assert_eq!(calls, parts + 30);
}

#[tokio::test]
async fn a_job_longer_than_an_invocation_continues_with_its_stored_parts() {
    let script = talk(40.0, 17);
    let stack = stack_with(mono(&script)).await;
    let whisper = &stack.stack.whisper;
    let worker = Worker::with_limits(&stack, 5.0, 1).await;
    let gate = Arc::new(Semaphore::new(0));
    whisper.fault(Fault::OnCall(3, Box::new(Fault::Gate(gate.clone()))), None);
    let slow = async {
        whisper.wait_for_calls(3).await;
        // The worker's margin is five seconds; the remaining time is too short for another part.
        pass(Duration::from_secs(52)).await;
        gate.close();
    };
    let job = job();
    tokio::join!(worker.deliver_for(&job, Duration::from_secs(60)), slow);
    assert_eq!(whisper.calls(), 3);
    let state = stack.get(STATUS).await.body;
    assert_eq!(
        (&state["status"], &state["progress"]["parts_done"]),
        (&json!("queued"), &json!(3))
    );
    let next = worker.sent_work();
    assert_eq!((next.len(), next[0].delay), (1, 0));
    assert_eq!(
        next[0].job["attempts"], 0,
        "progress does not count as a failed attempt"
    );

    // Now one part hangs until the deadline.
    whisper.clear_faults();
    whisper.fault(Fault::OnCall(6, Box::new(Fault::Hang)), None);
    let over = async {
        whisper.wait_for_calls(6).await;
        pass(Duration::from_secs(56)).await;
    };
    tokio::join!(worker.deliver_for(&next[0].job, Duration::from_secs(60)), over);
    assert_eq!(stack.get(STATUS).await.body["status"], "queued");
    let next = worker.sent_work();
    assert_eq!((next.len(), &next[0].job["attempts"]), (1, &json!(0)));

    worker.deliver(&next[0].job).await;
    let body = transcript(&stack).await.body;
    assert_transcript(&script, &body);
    let times: Vec<_> = uploads(&stack).into_iter().map(|(_, times)| times).collect();
    assert_eq!(
        times.iter().sum::<usize>(),
        times.len() + 1,
        "only the part that hung is uploaded again"
    );
    assert_eq!(body["billed_seconds"], whisper.billed_seconds());
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
