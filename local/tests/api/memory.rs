//! Memory use while a long recording is transcribed, measured in a separate process.
#![cfg(target_os = "linux")]

use axum::{Json, Router, extract::Request, routing::post};
use futures_util::StreamExt;
use local::standins::{tones::Script, twilio::Recording};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    program::Program,
    stack::{TestStack, answer, serve},
    worker::{SID, job, mono, recording},
};

/// A transcription API that returns an empty text for any audio, and the number of requests it received.
async fn silent_api() -> (String, watch::Receiver<usize>) {
    let (count, calls) = watch::channel(0);
    let answer = move |request: Request| {
        let count = count.clone();
        async move {
            let mut chunks = request.into_body().into_data_stream();
            while chunks.next().await.is_some() {}
            count.send_modify(|calls| *calls += 1);
            Json(json!({"text": "", "segments": [], "words": []}))
        }
    };
    (
        serve(Router::new().route("/v1/audio/transcriptions", post(answer))).await,
        calls,
    )
}

/// The recording is speech throughout, so that all of it is sent: at least eighteen parts, with the maximum number in flight.
#[tokio::test]
async fn three_hours_take_less_than_256_mb() {
    let seconds = 3.0 * 3600.0;
    let upstreams = TestStack::empty().await;
    upstreams.stack.twilio.add(Recording {
        duration: Some(seconds as u32),
        ..recording(SID, mono(&Script::spoken(seconds, 1)))
    });
    let (api, mut calls) = silent_api().await;
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start_with(&upstreams, &api, dir.path()).await;
    let before = program.peak_memory();
    let accepted = answer(program.post("/api/twilio/transcript/", &job())).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    calls.wait_for(|calls| *calls >= 18).await.unwrap();
    let url = accepted.body["status_url"].as_str().unwrap();
    let done = program.state_when(url, |body| body["status"] != "processing").await;
    assert_eq!(
        (&done["status"], &done["audio_seconds"]),
        (&json!("completed"), &json!(seconds))
    );
    let peak = program.peak_memory();
    assert!(peak < 256, "{peak} MB at the peak, {before} MB before");
}
