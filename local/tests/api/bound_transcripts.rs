//! A transcript is that of a recording, never of the call that it was asked for with.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    standins::tones::{Script, Wav},
    standins::whisper::Fault,
};
use reqwest::Method;
use serde_json::json;
use shared::{
    calls::{Interaction, Observed, index_object},
    clients::{bucket::RecordingsBucket, whisper::WhisperOptions},
    ids::DispatchId,
    transcripts::{ClaimPolicy, ClaimResult, Speech, Transcript, TranscriptId, Transcripts, Variant},
};
use tokio::sync::Semaphore;

use crate::{
    jobs::finished,
    stack::{TestStack, answer},
};

const FIRST: &str = "dispatch_1754000000_15550001111";
const REDIAL: &str = "dispatch_1754000120_15550001111";
const KEY: &str = "egress-recordings/2025/07/31/outbound-15550001111_1754000123.wav";

fn path(dispatch: &str) -> String {
    format!("/recordings/{dispatch}/transcript")
}

fn script(seed: u64) -> Script {
    Script::spoken(4.0, seed)
}

fn put(stack: &TestStack, key: &str, script: &Script) {
    stack.put_object(key, &Wav::new(16_000, [script.clone()]).bytes());
}

/// Has the index follow what the bucket has under this key, as an S3 event does.
pub(crate) async fn index(stack: &TestStack, key: &str) {
    let bucket = RecordingsBucket::from_env(&stack.stack.environment, &stack.aws())
        .unwrap()
        .unwrap();
    let observed = index_object(&stack.calls(), &bucket, key, None).await.unwrap();
    assert_eq!(observed, Observed::Present);
}

async fn report(stack: &TestStack, dispatch: &str) {
    let reported = Interaction {
        interaction_id: None,
        dispatch_id: DispatchId::parse(dispatch),
        fields: [].into(),
        at: Timestamp::now(),
    };
    stack.calls().record_interaction(&reported).await.unwrap();
}

/// Has the call's recording transcribed; returns the words that are served then.
async fn transcribe(stack: &TestStack, dispatch: &str) -> String {
    let accepted = stack.post(&path(dispatch), &json!({})).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let done = finished(stack, &path(dispatch)).await.body;
    done["transcript"]
        .as_str()
        .unwrap_or_else(|| panic!("{done}"))
        .to_owned()
}

/// Dispatch ids of the rows that are listed with a transcript.
async fn listed_with_transcript(stack: &TestStack) -> Vec<String> {
    let body = stack.get("/recordings?limit=100&has_transcript=true").await.body;
    let rows = body["recordings"].as_array().unwrap();
    rows.iter()
        .map(|row| row["dispatch_id"].as_str().unwrap().to_owned())
        .collect()
}

async fn until_listed_with_transcript(stack: &TestStack, dispatch: &str) {
    while listed_with_transcript(stack).await != [dispatch] {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_words_of_a_redial_that_is_reported_late_go_to_the_redial() {
    let stack = TestStack::empty().await;
    put(&stack, KEY, &script(1));
    index(&stack, KEY).await;
    report(&stack, FIRST).await;
    assert_eq!(transcribe(&stack, FIRST).await, script(1).text());
    until_listed_with_transcript(&stack, FIRST).await;
    let calls = stack.stack.whisper.calls();

    report(&stack, REDIAL).await;
    stack
        .get(&path(FIRST))
        .await
        .recordings_error(404, "transcript_not_found");
    stack
        .post(&path(FIRST), &json!({}))
        .await
        .recordings_error(404, "recording_not_found");
    assert_eq!(listed_with_transcript(&stack).await, [REDIAL]);
    assert_eq!(
        stack.get(&path(REDIAL)).await.body["transcript"],
        script(1).text().as_str()
    );
    let posted = stack.post(&path(REDIAL), &json!({})).await;
    assert_eq!((posted.status.as_u16(), &posted.body["cached"]), (200, &json!(true)));
    assert_eq!(stack.stack.whisper.calls(), calls);
}

#[tokio::test]
async fn an_overwritten_object_has_no_transcript_until_its_new_audio_is_transcribed_once() {
    let stack = TestStack::empty().await;
    put(&stack, KEY, &script(1));
    index(&stack, KEY).await;
    report(&stack, REDIAL).await;
    assert_eq!(transcribe(&stack, REDIAL).await, script(1).text());
    until_listed_with_transcript(&stack, REDIAL).await;

    put(&stack, KEY, &script(2));
    index(&stack, KEY).await;
    stack
        .get(&path(REDIAL))
        .await
        .recordings_error(404, "transcript_not_found");
    assert!(listed_with_transcript(&stack).await.is_empty());
    let calls = stack.stack.whisper.calls();
    assert_eq!(transcribe(&stack, REDIAL).await, script(2).text());
    until_listed_with_transcript(&stack, REDIAL).await;
    let posted = stack.post(&path(REDIAL), &json!({})).await;
    assert_eq!(posted.body["transcript"], script(2).text().as_str());
    assert_eq!(stack.stack.whisper.calls(), calls + 1);

    // The first bytes come back, and with them their words.
    put(&stack, KEY, &script(1));
    index(&stack, KEY).await;
    assert_eq!(
        stack.get(&path(REDIAL)).await.body["transcript"],
        script(1).text().as_str()
    );
    assert_eq!(stack.stack.whisper.calls(), calls + 1);
}

#[tokio::test]
async fn an_object_that_is_overwritten_before_it_is_read_is_transcribed_as_it_is_now() {
    let stack = TestStack::empty().await;
    put(&stack, KEY, &script(1));
    index(&stack, KEY).await;
    report(&stack, REDIAL).await;
    // No event has reached the index.
    put(&stack, KEY, &script(2));
    assert_eq!(transcribe(&stack, REDIAL).await, script(2).text());
    assert_eq!(stack.stack.whisper.calls(), 1);
    put(&stack, KEY, &script(1));
    index(&stack, KEY).await;
    let old = stack.get(&path(REDIAL)).await.body;
    assert_eq!(
        (&old["status"], &old["code"]),
        (&json!("failed"), &json!("recording_overwritten"))
    );
}

#[tokio::test]
async fn words_of_an_object_that_is_overwritten_while_they_are_transcribed_stay_with_the_audio_that_was_read() {
    let stack = TestStack::empty().await;
    put(&stack, KEY, &script(1));
    index(&stack, KEY).await;
    report(&stack, REDIAL).await;
    let gate = Arc::new(Semaphore::new(0));
    stack.stack.whisper.fault(Fault::Gate(gate.clone()), Some(1));
    assert_eq!(stack.post(&path(REDIAL), &json!({})).await.status, 202);
    stack.stack.whisper.wait_for_calls(1).await;
    put(&stack, KEY, &script(2));
    index(&stack, KEY).await;
    gate.add_permits(1);
    stack
        .get(&path(REDIAL))
        .await
        .recordings_error(404, "transcript_not_found");
    assert_eq!(transcribe(&stack, REDIAL).await, script(2).text());
}

#[tokio::test]
async fn a_transcript_that_is_being_replaced_stays_readable() {
    let stack = TestStack::empty().await;
    put(&stack, KEY, &script(1));
    index(&stack, KEY).await;
    report(&stack, REDIAL).await;
    assert_eq!(transcribe(&stack, REDIAL).await, script(1).text());
    let gate = Arc::new(Semaphore::new(0));
    stack.stack.whisper.fault(Fault::Gate(gate.clone()), Some(1));
    let forced = stack
        .request(Method::POST, &path(REDIAL))
        .header("Prefer", "respond-async")
        .header("X-API-Key", demo::API_KEY);
    let forced = answer(forced.json(&json!({"force": true}))).await;
    assert_eq!(forced.status, 202);
    stack.stack.whisper.wait_for_calls(2).await;
    let body = stack.get(&path(REDIAL)).await.body;
    assert_eq!(
        (&body["status"], &body["refreshing"], &body["transcript"]),
        (&json!("completed"), &json!(true), &json!(script(1).text()))
    );
    gate.add_permits(1);
    while stack.get(&path(REDIAL)).await.body["refreshing"] == true {
        tokio::task::yield_now().await;
    }
    assert_eq!(stack.stack.whisper.calls(), 2);
}

#[tokio::test]
async fn a_transcript_of_version_0_1_is_served_only_where_its_recording_is_certain() {
    let now = Timestamp::now();
    let hour = SignedDuration::from_hours(1);
    let other = "egress-recordings/2025/07/31/outbound-15550001111_1754000300.wav";
    for (completed_at, second_recording, is_served) in [
        (now + hour, false, true),
        // The object was written when the transcript was about to be completed, or later.
        (now, false, false),
        (now - hour, false, false),
        // It may be that of the other recording.
        (now + hour, true, false),
    ] {
        let stack = TestStack::empty().await;
        put(&stack, KEY, &script(1));
        index(&stack, KEY).await;
        report(&stack, REDIAL).await;
        if second_recording {
            put(&stack, other, &script(2));
        }
        let table = Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
        let variant = Variant::of(&WhisperOptions::default());
        let id = TranscriptId::of_dispatch(&DispatchId::parse(REDIAL).unwrap(), &variant);
        let policy = ClaimPolicy {
            queued: false,
            completed: false,
        };
        let ClaimResult::Granted(lease) = table.claim(&id, policy, now + hour).await.unwrap() else {
            panic!("refused");
        };
        let old = Transcript {
            speech: Speech {
                text: "old words".into(),
                ..Speech::default()
            },
            completed_at,
            ..Transcript::default()
        };
        assert!(table.complete(&lease, &old).await.unwrap());
        let read = stack.get(&path(REDIAL)).await;
        if !is_served {
            read.recordings_error(404, "transcript_not_found");
            assert!(listed_with_transcript(&stack).await.is_empty());
            continue;
        }
        assert_eq!(read.body["transcript"], "old words");
        assert_eq!(listed_with_transcript(&stack).await, [REDIAL]);
        let posted = stack.post(&path(REDIAL), &json!({})).await;
        assert_eq!((posted.status.as_u16(), &posted.body["cached"]), (200, &json!(true)));
        assert_eq!(stack.stack.whisper.calls(), 0);
    }
}
