//! Killed workers: wherever a worker is killed, another one continues with the stored parts and pays for at most one part again.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use local::{
    stack::account::TRANSCRIPTS_TABLE,
    standins::{
        tones::{Script, Wav},
        twilio::Recording,
        whisper::Fault,
    },
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    program::Program,
    stack::{TestStack, answer},
    worker::{SID, STATUS, Sent, Worker, assert_transcript, job, mono, recording, talk, transcript, uploads},
};

/// Polls a future until it has waited `polls` times and then drops it. Returns the result if it finished before.
pub(crate) async fn killed_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            polled += 1;
            match polled >= polls {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        }
    })
    .await
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Makes the lease of a killed worker expire, if it had claimed one.
async fn end_lease(client: &Client, sid: &str) {
    let ended = client
        .update_item()
        .table_name(TRANSCRIPTS_TABLE)
        .key("id", text(&format!("twilio#{sid}#default")))
        .update_expression("SET lease_until = :past")
        .condition_expression("#state = :in_progress")
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":past", AttributeValue::N("1".into()))
        .expression_attribute_values(":in_progress", text("in_progress"))
        .send()
        .await;
    if let Err(error) = ended {
        let error = error.into_service_error();
        assert!(error.is_conditional_check_failed_exception(), "{error:?}");
    }
}

/// A stack with a recording of six parts.
struct Scene {
    stack: TestStack,
    table: Client,
    worker: Worker,
    script: Script,
    wav: Wav,
}

impl Scene {
    async fn new(parts_at_once: usize) -> Self {
        let stack = TestStack::empty().await;
        let worker = Worker::with_limits(&stack, 2.0, parts_at_once).await;
        let script = talk(9.0, 1);
        Self {
            table: stack.aws().dynamodb(),
            wav: mono(&script),
            stack,
            worker,
            script,
        }
    }

    /// Kills the worker at its `waits`th wait, and lets other workers continue until the transcript is completed. Returns how often each part
    /// was uploaded, in descending order; `None` if the worker finished before.
    async fn kill_and_resume(&self, waits: usize) -> Option<Vec<usize>> {
        let sid = format!("RE{waits:016x}");
        self.stack.stack.twilio.add(recording(&sid, self.wav.clone()));
        let job = json!({"recording_sid": sid});
        let before = self.stack.stack.whisper.calls();
        if killed_after(waits, self.worker.deliver(&job)).await.is_some() {
            return None;
        }
        let url = format!("/api/twilio/transcript/{sid}?timestamps=word");
        let mut state = Value::Null;
        // A request of the killed worker may still be in flight, so its lease may appear only after the first check.
        for _ in 0..10 {
            end_lease(&self.table, &sid).await;
            self.worker.deliver(&job).await;
            state = self.stack.get(&url).await.body;
            if state["status"] == "completed" {
                break;
            }
        }
        assert_transcript(&self.script, &state);
        let mut files: Vec<String> = self.stack.stack.whisper.requests()[before..]
            .iter()
            .filter_map(|request| request.sha256.clone())
            .collect();
        files.sort();
        let mut times: Vec<usize> = files.chunk_by(|one, other| one == other).map(<[_]>::len).collect();
        times.sort_by(|one, other| other.cmp(one));
        assert_eq!(times.len(), 6, "{times:?}");
        Some(times)
    }

    /// Kills a worker at every `step`th wait, and checks how many parts are uploaded again.
    async fn kill_at_waits(&self, from: usize, step: usize, sent_again: usize) {
        for waits in (from..).step_by(step) {
            let Some(uploads) = self.kill_and_resume(waits).await else {
                assert!(waits > 30, "the worker finished after {waits} waits");
                return;
            };
            let surplus = uploads.iter().sum::<usize>() - uploads.len();
            assert!(surplus <= sent_again, "killed at wait {waits}: {uploads:?}");
        }
    }
}

// Two tests, so that they run on two cores.
#[tokio::test]
async fn after_a_kill_at_odd_waits_at_most_one_part_is_paid_for_twice() {
    Scene::new(1).await.kill_at_waits(1, 2, 1).await;
}

#[tokio::test]
async fn after_a_kill_at_even_waits_at_most_one_part_is_paid_for_twice() {
    Scene::new(1).await.kill_at_waits(2, 2, 1).await;
}

#[tokio::test]
async fn after_a_kill_with_three_concurrent_parts_at_most_three_are_paid_for_twice() {
    Scene::new(3).await.kill_at_waits(5, 7, 3).await;
}

/// Kills the worker of a recording at its third part, and returns the lease check that it had sent.
async fn kill_at_the_third_part(stack: &TestStack, worker: &Worker, job: &Value) -> Sent {
    let whisper = &stack.stack.whisper;
    let third = whisper.calls() + 3;
    whisper.fault(Fault::OnCall(third, Box::new(Fault::Hang)), None);
    tokio::select! {
        () = worker.deliver(job) => panic!("it hangs"),
        () = whisper.wait_for_calls(third) => {}
    }
    whisper.clear_faults();
    let mut sent = worker.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].is_lease_check() && sent[0].delay > 590, "{sent:?}");
    sent.remove(0)
}

#[tokio::test]
async fn a_lease_check_continues_the_job_only_after_the_lease_has_expired() {
    let script = talk(20.0, 2);
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(SID, mono(&script)));
    let worker = Worker::with_limits(&stack, 5.0, 1).await;
    let lease_check = kill_at_the_third_part(&stack, &worker, &job()).await;
    let whisper = &stack.stack.whisper;
    assert_eq!(stack.get(STATUS).await.body["status"], "processing");

    worker.deliver(&lease_check.job).await;
    assert_eq!(whisper.calls(), 3, "the worker with the lease may still be running");
    let later = worker.sent();
    assert_eq!((later.len(), &later[0].job), (1, &lease_check.job));
    assert!(
        later[0].delay > 590,
        "the lease check is sent again for when the lease expires: {later:?}"
    );

    end_lease(&stack.aws().dynamodb(), SID).await;
    assert_eq!(stack.get(STATUS).await.body["code"], "transcription_interrupted");
    worker.deliver(&later[0].job).await;
    assert_transcript(&script, &transcript(&stack).await.body);
    let times: Vec<_> = uploads(&stack).into_iter().map(|(_, times)| times).collect();
    assert_eq!(times[..4], [1, 1, 2, 1], "two parts were stored");

    let (calls, sent) = (whisper.calls(), worker.sent());
    assert_eq!(sent.len(), 1, "the second worker may be killed, too");
    worker.deliver(&sent[0].job).await;
    worker.deliver(&lease_check.job).await;
    assert_eq!(
        (whisper.calls(), worker.sent().len()),
        (calls, 0),
        "the job is already done"
    );
}

#[tokio::test]
async fn a_lease_check_after_a_failure_does_nothing() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(SID, mono(&talk(10.0, 3))));
    let worker = Worker::of(&stack, 5.0).await;
    for (status, state) in [(503, "queued"), (400, "failed")] {
        let fault = Fault::Status {
            status,
            headers: vec![("retry-after".into(), "0".into())],
            body: "{}".into(),
        };
        stack.stack.whisper.fault(fault, None);
        worker.deliver(&job()).await;
        assert_eq!(stack.get(STATUS).await.body["status"], state);
        let lease_check = worker.sent().into_iter().find(Sent::is_lease_check).unwrap();
        stack.stack.whisper.clear_faults();
        let calls = stack.stack.whisper.calls();
        worker.deliver(&lease_check.job).await;
        assert_eq!(stack.stack.whisper.calls(), calls);
        // The message of a queued job may be lost, so the lease check is repeated as long as the state is queued.
        let lease_checks = worker.sent();
        assert!(lease_checks.iter().all(Sent::is_lease_check));
        assert_eq!(lease_checks.len(), usize::from(state == "queued"));
    }
}

#[tokio::test]
async fn a_job_fails_after_five_killed_workers() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(SID, mono(&talk(20.0, 4))));
    let worker = Worker::with_limits(&stack, 2.0, 1).await;
    let table = stack.aws().dynamodb();
    let mut next = job();
    for attempts in 1..=5 {
        next = kill_at_the_third_part(&stack, &worker, &next).await.job;
        assert_eq!(next["attempts"], attempts);
        end_lease(&table, SID).await;
        if attempts < 5 {
            // The parts of the killed workers are stored; each worker adds two.
            let stored = uploads(&stack).len() - 1;
            assert_eq!(stored, 2 * attempts);
        }
    }
    let calls = stack.stack.whisper.calls();
    worker.deliver(&next).await;
    let failed = stack.get(STATUS).await.body;
    assert_eq!(
        (&failed["status"], &failed["code"], &failed["retryable"]),
        (&json!("failed"), &json!("transcription_given_up"), &json!(true))
    );
    worker.deliver(&next).await;
    assert_eq!((stack.stack.whisper.calls(), worker.sent().len()), (calls, 0));
}

#[tokio::test]
async fn a_stored_transcript_survives_the_killed_worker_of_its_replacement() {
    let script = talk(20.0, 5);
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(SID, mono(&script)));
    let worker = Worker::with_limits(&stack, 5.0, 1).await;
    worker.deliver(&job()).await;
    let first = stack.stack.whisper.calls();
    worker.sent();

    let forced = json!({"recording_sid": SID, "again_since": jiff::Timestamp::now()});
    let table = stack.aws().dynamodb();
    let old = table
        .update_item()
        .table_name(TRANSCRIPTS_TABLE)
        .key("id", text(&format!("twilio#{SID}#default")));
    let old = old.update_expression("SET completed_at = :old");
    old.expression_attribute_values(":old", text("2024-01-15T10:30:00Z"))
        .send()
        .await
        .unwrap();
    let lease_check = kill_at_the_third_part(&stack, &worker, &forced).await;
    end_lease(&table, SID).await;
    assert_eq!(
        transcript(&stack).await.body["timestamp"],
        "2024-01-15T10:30:00Z",
        "the old transcript is returned meanwhile"
    );
    worker.deliver(&lease_check.job).await;
    let body = transcript(&stack).await.body;
    assert_ne!(body["timestamp"], "2024-01-15T10:30:00Z");
    assert_transcript(&script, &body);
    assert_eq!(stack.stack.whisper.calls(), 2 * first + 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_process_continues_with_the_parts_of_a_killed_one() {
    let stack = TestStack::empty().await;
    let both = Script::dialogue(150.0, 6);
    stack.stack.twilio.add(Recording {
        duration: Some(150),
        ..recording(SID, Wav::new(8000, both.clone()))
    });
    let whisper = &stack.stack.whisper;
    let gate = Arc::new(Semaphore::new(3));
    whisper.fault(Fault::Gate(gate.clone()), None);
    // With a model without timestamps, two speakers are transcribed in parts of half a minute.
    let body = json!({"recording_sid": SID, "model": "gpt-4o-transcribe"});
    let dir = tempfile::tempdir().unwrap();
    let first = Program::start(&stack, dir.path()).await;
    let post = first
        .post("/api/twilio/transcript/", &body)
        .header("Prefer", "respond-async");
    let accepted = answer(post).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let url = accepted.body["status_url"].as_str().unwrap().to_owned();
    let stored = first.state_when(&url, |body| body["progress"]["parts_done"] == 3).await;
    assert_eq!(stored["status"], "processing");
    first.kill().await;

    gate.close();
    let second = Program::start(&stack, dir.path()).await;
    assert_eq!(
        second.get(&url).await.body["status"],
        "processing",
        "the lease has not expired"
    );
    let variant = url.rsplit_once('=').unwrap().1;
    let ended = second
        .dynamodb()
        .update_item()
        .table_name(TRANSCRIPTS_TABLE)
        .key("id", text(&format!("twilio#{SID}#{variant}")))
        .update_expression("SET lease_until = :past")
        .expression_attribute_values(":past", AttributeValue::N("1".into()));
    ended.send().await.unwrap();
    // The request continues, or the worker of the second process, which has the message of the first one.
    let continued = answer(second.post("/api/twilio/transcript/", &body)).await;
    assert!(continued.status.is_success(), "{}", continued.body);
    let finished = second.state_when(&url, |body| body["status"] == "completed").await;
    let turns = finished["turns"].as_array().unwrap();
    for (script, speaker) in both.iter().zip(["agent", "customer"]) {
        let spoken = turns.iter().filter(|turn| turn["speaker"] == speaker);
        let spoken: Vec<_> = spoken.map(|turn| turn["text"].as_str().unwrap()).collect();
        assert_eq!(spoken.join(" "), script.text());
    }
    let requests = whisper.requests();
    let paid: Vec<_> = requests.iter().filter(|part| part.status == Some(200)).collect();
    let files = uploads(&stack).len();
    assert!(files >= 6, "{files}");
    assert_eq!(paid.len(), files, "no stored part is uploaded again");
}
