//! Long recordings, two speakers and silence: what is uploaded, what it costs, and that no word is lost or repeated where parts meet.

mod silence;
mod speakers;
mod splitting;

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
