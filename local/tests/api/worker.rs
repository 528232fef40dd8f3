//! A worker that a test controls: the test delivers jobs to it, and messages that the worker sends to the queue are captured.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::Request,
    http::Response,
    middleware::{Next, from_fn},
    response::IntoResponse,
};
use local::standins::{
    tones::{Script, Wav},
    twilio::{Media, Recording},
};
use serde_json::{Value, json};
use shared::{config::Env, transcription::PartLimits};
use transcription_worker::{State, handle};

use crate::stack::{Answer, TestStack, serve};

/// The default recording of the tests that use a worker.
pub(crate) const SID: &str = "RE0123456789abcdef";
/// The URL of its transcript.
pub(crate) const STATUS: &str = "/api/twilio/transcript/RE0123456789abcdef";

/// The worker and the messages that it has sent.
pub(crate) struct Worker {
    pub(crate) state: State,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// A message that the worker sent to the queue.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) job: Value,
    /// The delay of the message in seconds.
    pub(crate) delay: u64,
}

impl Sent {
    /// Whether the message is a lease check.
    pub(crate) fn is_lease_check(&self) -> bool {
        self.job["lease_check"] == true
    }
}

impl Worker {
    /// A worker of this stack with parts of this length in seconds.
    pub(crate) async fn of(stack: &TestStack, part_seconds: f64) -> Self {
        Self::with_limits(stack, part_seconds, PartLimits::default().at_once).await
    }

    /// A worker of this stack with parts of this length and this number of concurrent parts.
    pub(crate) async fn with_limits(stack: &TestStack, part_seconds: f64, at_once: usize) -> Self {
        Self::with_environment(stack, part_seconds, at_once, []).await
    }

    /// A worker of this stack with the deployed limits.
    pub(crate) async fn with_usual_parts(stack: &TestStack) -> Self {
        Self::made(stack, PartLimits::default(), &[]).await
    }

    /// The same with parts of this length and with additional environment variables.
    pub(crate) async fn with_environment<const N: usize>(
        stack: &TestStack,
        part_seconds: f64,
        at_once: usize,
        variables: [(&str, &str); N],
    ) -> Self {
        let length = Duration::from_secs_f64(part_seconds);
        Self::made(stack, PartLimits { length, at_once }, &variables).await
    }

    async fn made(stack: &TestStack, limits: PartLimits, variables: &[(&str, &str)]) -> Self {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = sent.clone();
        let catch = move |request: Request, next: Next| {
            let log = log.clone();
            async move {
                let sends = |target: &str| target.ends_with(".SendMessage");
                let target = request.headers().get("x-amz-target");
                if !target.is_some_and(|target| target.to_str().is_ok_and(sends)) {
                    return next.run(request).await;
                }
                let message = to_bytes(request.into_body(), usize::MAX).await.unwrap();
                log.lock().unwrap().push(sent_message(&message));
                answer_to_send()
            }
        };
        let url = serve(stack.stack.aws.router().layer(from_fn(catch))).await;
        let own = stack
            .stack
            .environment
            .iter()
            .chain([("AWS_ENDPOINT_URL", url.as_str())]);
        let variables = own.chain(variables.iter().copied());
        let state = State::new(&Env::from_iter(variables), limits).await.unwrap();
        Self { state, sent }
    }

    /// Delivers a job and checks that the worker acknowledges it.
    pub(crate) async fn deliver(&self, job: &Value) {
        self.deliver_for(job, Duration::from_secs(600)).await;
    }

    /// The same with a deadline.
    pub(crate) async fn deliver_for(&self, job: &Value, time: Duration) {
        assert_eq!(self.try_deliver(job, time).await, json!({"batchItemFailures": []}));
    }

    /// Delivers a job and returns the batch response.
    pub(crate) async fn try_deliver(&self, job: &Value, time: Duration) -> Value {
        let event = json!({"Records": [{"messageId": "m1", "body": job.to_string()}]});
        let event = serde_json::from_value(event).unwrap();
        let response = handle(&self.state, event, SystemTime::now() + time).await;
        serde_json::to_value(response).unwrap()
    }

    /// The messages that the worker has sent since the last call.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// The same without lease checks.
    pub(crate) fn sent_work(&self) -> Vec<Sent> {
        self.sent().into_iter().filter(|sent| !sent.is_lease_check()).collect()
    }
}

fn sent_message(message: &[u8]) -> Sent {
    let message: Value = serde_json::from_slice(message).unwrap();
    Sent {
        job: serde_json::from_str(message["MessageBody"].as_str().unwrap()).unwrap(),
        delay: message["DelaySeconds"].as_u64().unwrap_or_default(),
    }
}

fn answer_to_send() -> Response<Body> {
    Json(json!({"MessageId": "m1"})).into_response()
}

/// A job for the default recording.
pub(crate) fn job() -> Value {
    json!({ "recording_sid": SID })
}

/// A recording of unknown length with this audio, which is analyzed before it is uploaded.
pub(crate) fn recording(sid: &str, wav: Wav) -> Recording {
    Recording {
        sid: sid.into(),
        call_sid: "CA0123456789abcdef".into(),
        duration: None,
        channels: wav.channels() as u8,
        media: Media::Tones(wav),
        ..Recording::default()
    }
}

/// A telephone recording of one speaker.
pub(crate) fn mono(script: &Script) -> Wav {
    Wav::new(8000, [script.clone()])
}

/// `seconds` of speech in two halves with a long silence between them, so that the recording is uploaded in parts.
pub(crate) fn talk(seconds: f64, seed: u64) -> Script {
    let silence = 14.0;
    let said = Script::spoken(seconds, seed);
    let moved = |start: f64| match start < seconds / 2.0 {
        true => start,
        false => start + silence,
    };
    let words = said.words().iter().map(|word| (moved(word.start), word.word));
    Script::new(seconds + silence, words)
}

/// The transcript of the default recording with word timestamps.
pub(crate) async fn transcript(stack: &TestStack) -> Answer {
    transcript_of(stack, SID).await
}

/// The transcript of a recording with word timestamps.
pub(crate) async fn transcript_of(stack: &TestStack, sid: &str) -> Answer {
    let url = format!("/api/twilio/transcript/{sid}?timestamps=word");
    let answer = stack.get(&url).await;
    assert_eq!(answer.body["status"], "completed", "{}", answer.body);
    answer
}

/// Checks that a transcript has exactly these words at these times.
#[track_caller]
pub(crate) fn assert_transcript(script: &Script, body: &Value) {
    assert_eq!(body["transcript"], script.text());
    assert_times(script, body);
}

/// Checks that a transcript has these words, each within 50 ms of its time.
#[track_caller]
pub(crate) fn assert_times(script: &Script, body: &Value) {
    let words = body["words"].as_array().unwrap();
    assert_eq!(words.len(), script.words().len());
    for (word, spoken) in words.iter().zip(script.words()) {
        assert_eq!(word["word"], spoken.word);
        for (name, time) in [("start", spoken.start), ("end", spoken.end)] {
            let off = word[name].as_f64().unwrap() - time;
            assert!(off.abs() < 0.05, "{name} of {} at {time} is off by {off}", spoken.word);
        }
    }
}

/// How often each distinct file was uploaded, in the order of first upload.
pub(crate) fn uploads(stack: &TestStack) -> Vec<(String, usize)> {
    let mut uploads: Vec<(String, usize)> = Vec::new();
    for request in stack.stack.whisper.requests() {
        let Some(file) = request.sha256 else { continue };
        match uploads.iter_mut().find(|(known, _)| *known == file) {
            Some((_, times)) => *times += 1,
            None => uploads.push((file, 1)),
        }
    }
    uploads
}
