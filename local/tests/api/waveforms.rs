//! Waveforms of recordings with and without a transcript.

use local::{
    aws::Service,
    standins::tones::{Script, Wav},
};
use serde_json::{Value, json};

use crate::{jobs::finished, stack::TestStack};

const DISPATCH: &str = "dispatch_1754000000_15550001111";
const KEY: &str = "egress-recordings/2025/07/31/outbound-15550001111_1754000003.wav";

fn waveform() -> String {
    format!("/recordings/{DISPATCH}/waveform")
}

fn transcript() -> String {
    format!("/recordings/{DISPATCH}/transcript")
}

/// A recording of this length with a channel for each of two speakers, of which the second is silent in the first half.
fn put(stack: &TestStack, seconds: f64) {
    let first = Script::spoken(seconds, 1);
    let second = Script::new(seconds, [(seconds / 2.0 + 0.5, "amber")]);
    stack.put_object(KEY, &Wav::new(8000, [first, second]).bytes());
}

fn points(body: &Value, channel: usize) -> Vec<u64> {
    let points = body["channels"][channel].as_array().unwrap();
    points.iter().map(|point| point.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_waveform_is_decoded_once_and_shows_each_channel() {
    let stack = TestStack::empty().await;
    put(&stack, 8.0);
    let drawn = stack.post(&waveform(), &json!({})).await;
    assert_eq!(drawn.status, 200, "{}", drawn.body);
    let (first, second) = (points(&drawn.body, 0), points(&drawn.body, 1));
    let length = drawn.body["seconds_per_point"].as_f64().unwrap() * first.len() as f64;
    assert!((length - 8.0).abs() < 0.05, "{length}");
    let half = first.len() / 2;
    assert!(first[..half].iter().any(|point| *point > 20));
    assert!(second[..half].iter().all(|point| *point < 3), "{second:?}");
    assert!(second[half..].iter().any(|point| *point > 20));

    let reads = || stack.stack.aws.calls_of(Service::S3, "GetObject");
    let before = reads();
    let stored = stack.post(&waveform(), &json!({})).await;
    assert_eq!((stored.status, &stored.body), (drawn.status, &drawn.body));
    assert_eq!(reads(), before, "the recording is not read again");
}

#[tokio::test]
async fn an_overwritten_recording_has_another_waveform() {
    let stack = TestStack::empty().await;
    put(&stack, 4.0);
    let before = stack.post(&waveform(), &json!({})).await;
    put(&stack, 6.0);
    crate::bound_transcripts::index(&stack, KEY).await;
    let after = stack.post(&waveform(), &json!({})).await;
    assert_eq!((before.status.as_u16(), after.status.as_u16()), (200, 200));
    let seconds = |body: &Value| body["seconds_per_point"].as_f64().unwrap() * points(body, 0).len() as f64;
    assert!((seconds(&after.body) - seconds(&before.body) - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn a_transcript_has_the_waveform_of_its_recording_on_request() {
    let stack = TestStack::empty().await;
    put(&stack, 8.0);
    stack.post(&transcript(), &json!({})).await;
    finished(&stack, &transcript()).await;
    let drawn = stack.post(&waveform(), &json!({})).await.body;
    let plain = stack.get(&transcript()).await.body;
    assert_eq!((plain.get("waveform"), plain.get("dropped")), (None, None));
    for include in ["waveform", "dropped,waveform", "waveform,dropped"] {
        let body = stack.get(&format!("{}?include={include}", transcript())).await.body;
        assert_eq!(body["waveform"], drawn, "{include}");
        assert_eq!(body["dropped"].is_array(), include.contains("dropped"));
    }
    for include in ["peaks", "waveform,", ",", "waveform dropped"] {
        let refused = stack.get(&format!("{}?include={include}", transcript())).await;
        assert!(refused.recordings_error(400, "invalid_parameter").contains("waveform"));
    }
}

#[tokio::test]
async fn what_has_no_waveform_says_why() {
    let stack = TestStack::empty().await;
    stack
        .post(&waveform(), &json!({}))
        .await
        .recordings_error(404, "recording_not_found");
    stack.put_object(KEY, b"<html><body>not a recording at all</body></html>");
    let refused = stack.post(&waveform(), &json!({})).await;
    refused.recordings_error(422, "media_not_audio");
    let refused = stack.post("/recordings/a%20b/waveform", &json!({})).await;
    refused.recordings_error(400, "invalid_dispatch_id");
    stack
        .stack
        .aws
        .faults()
        .set(Service::S3, Some(reqwest::StatusCode::SERVICE_UNAVAILABLE));
    let down = stack.post(&waveform(), &json!({})).await;
    down.recordings_error(503, "storage_unavailable");
}
