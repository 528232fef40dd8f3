//! Jobs whose message was lost, by a purged queue or in the dead letters, and jobs that wait for a long time.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    stack::{Settings, Stack, account::TRANSCRIPTS_TABLE},
    standins::twilio::Recording,
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    clients::{aws::Aws, queue::QueueLengths},
    transcripts::Transcripts,
};

use crate::{
    jobs::finished,
    stack::{Answer, TestStack, answer},
    worker::{SID, STATUS, Worker, mono, recording, talk},
};

const TRANSCRIPT: &str = "/api/twilio/transcript/";

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

fn spoken() -> Recording {
    recording(SID, mono(&talk(20.0, 5)))
}

/// A stack with a recording that is queued, without a message in the queue. Its message was received or sent `age` ago; `None`: before such times
/// were stored.
async fn stack_without_message(age: Option<SignedDuration>) -> TestStack {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(spoken());
    let now = Timestamp::now();
    let write = stack
        .aws()
        .dynamodb()
        .put_item()
        .table_name(TRANSCRIPTS_TABLE)
        .item("id", AttributeValue::S(format!("twilio#{SID}#default")))
        .item("state", AttributeValue::S("queued".into()))
        .item("queued_by", AttributeValue::S(String::new()))
        .item("lease_until", number(now + MINUTE * 300));
    let write = match age {
        Some(age) => write.item("noted_at", number(now - age)),
        None => write,
    };
    write.send().await.unwrap();
    stack
}

fn number(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.as_millisecond().to_string())
}

async fn post(stack: &TestStack, body: Value) -> Answer {
    let request = stack
        .request(Method::POST, TRANSCRIPT)
        .header("Prefer", "respond-async");
    let answer = answer(request.header("X-API-Key", demo::API_KEY).json(&body)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer
}

#[tokio::test]
async fn a_post_sends_a_job_again_whose_message_is_overdue() {
    for age in [Some(MINUTE * 21), None] {
        let stack = stack_without_message(age).await;
        post(&stack, json!({"recording_sid": SID})).await;
        assert_eq!(finished(&stack, STATUS).await.body["status"], "completed", "{age:?}");
        assert_eq!(stack.stack.whisper.calls(), 1);
    }
}

#[tokio::test]
async fn a_job_in_the_queue_is_sent_again_only_by_force_and_paid_for_once() {
    let stack = stack_without_message(Some(MINUTE * 15)).await;
    post(&stack, json!({"recording_sid": SID})).await;
    let worker = Worker::with_usual_parts(&stack).await;
    let check = json!({"recording_sid": SID, "lease_check": true});
    worker.deliver(&check).await;
    let again = worker.sent();
    assert_eq!((again.len(), &again[0].job["lease_check"]), (1, &json!(true)));
    assert_eq!(
        stack.get(STATUS).await.body["status"],
        "queued",
        "neither the request nor the lease check began the job"
    );

    post(&stack, json!({"recording_sid": SID, "force": true})).await;
    assert_eq!(finished(&stack, STATUS).await.body["status"], "completed");
    worker.deliver(&json!({"recording_sid": SID})).await;
    assert_eq!(stack.stack.whisper.calls(), 1, "the lost message that comes after all");
}

#[tokio::test]
async fn a_lease_check_does_the_job_whose_other_message_is_lost() {
    let stack = stack_without_message(Some(MINUTE * 21)).await;
    let worker = Worker::with_usual_parts(&stack).await;
    worker
        .deliver(&json!({"recording_sid": SID, "lease_check": true}))
        .await;
    assert_eq!(stack.get(STATUS).await.body["status"], "completed");
    assert_eq!(stack.stack.whisper.calls(), 1);
}

#[tokio::test]
async fn a_job_that_waits_for_a_day_takes_few_deliveries_and_is_never_overdue() {
    let stack = stack_without_message(Some(MINUTE * 21)).await;
    stack.stack.twilio.add(Recording {
        status: "in-progress".into(),
        ..spoken()
    });
    let worker = Worker::with_usual_parts(&stack).await;
    let until = Timestamp::now() + SignedDuration::from_hours(24);
    let mut job = json!({"recording_sid": SID, "wait_until": until});
    let (mut waited, mut deliveries) = (0, 0);
    while waited < 24 * 3600 {
        worker.deliver(&job).await;
        let sent = worker.sent();
        let [message] = &sent[..] else {
            panic!("{sent:?}");
        };
        let half = (waited / 2).clamp(60, 300);
        assert_eq!(message.delay, half, "after {waited} s");
        waited += message.delay;
        deliveries += 1;
        job = message.job.clone();
    }
    assert!(deliveries <= 300, "{deliveries}");

    // The worker noted each delivery, so that a request does not send a second message.
    post(&stack, json!({"recording_sid": SID, "wait": true})).await;
    let item = stack
        .aws()
        .dynamodb()
        .get_item()
        .table_name(TRANSCRIPTS_TABLE)
        .key("id", AttributeValue::S(format!("twilio#{SID}#default")));
    let item = item.send().await.unwrap().item.unwrap();
    let noted: i64 = item["noted_at"].as_n().unwrap().parse().unwrap();
    let age = Timestamp::now().duration_since(Timestamp::from_millisecond(noted).unwrap());
    assert!(age.unsigned_abs() < Duration::from_secs(20 * 60), "{age}");
    assert_eq!(stack.stack.whisper.calls(), 0);
}

/// An item of a job, in this state, of which nothing was noted for `age`.
async fn put_job(stack: &TestStack, state: &str, age: SignedDuration) {
    let now = Timestamp::now();
    let job = json!({"recording_sid": SID}).to_string();
    let until = if state == "queued" {
        now + MINUTE * 300
    } else {
        now - age
    };
    let write = stack.aws().dynamodb().put_item().table_name(TRANSCRIPTS_TABLE);
    let write = write
        .item("id", AttributeValue::S(format!("twilio#{SID}#default")))
        .item("state", AttributeValue::S(state.into()))
        .item("queued_by", AttributeValue::S(String::new()))
        .item("lease_until", number(until))
        .item("noted_at", number(now - age))
        .item("job", AttributeValue::S(job))
        .item("job_list", AttributeValue::S("open".into()));
    write.send().await.unwrap();
}

async fn round(stack: &TestStack) -> Value {
    let url = format!(
        "{}/2015-03-31/functions/reconcile-recordings/invocations",
        stack.stack.aws_url
    );
    assert_eq!(reqwest::Client::new().post(url).send().await.unwrap().status(), 200);
    stack.get("/reports/completeness").await.body["jobs_sent_again"].clone()
}

#[tokio::test]
async fn the_reconciler_sends_quiet_jobs_again() {
    // A lost message, and a worker that was killed and whose lease check is lost.
    for state in ["queued", "in_progress"] {
        let stack = TestStack::empty().await;
        stack.stack.twilio.add(spoken());
        put_job(&stack, state, MINUTE * 19).await;
        assert_eq!(round(&stack).await, 0, "a job that is delayed by SQS may still come");
        put_job(&stack, state, MINUTE * 21).await;
        assert_eq!(round(&stack).await, 1, "{state}");
        assert_eq!(finished(&stack, STATUS).await.body["status"], "completed", "{state}");
        assert_eq!(round(&stack).await, 0);
        assert_eq!(stack.stack.whisper.calls(), 1);
    }
}

#[tokio::test]
async fn jobs_that_are_queued_waiting_or_failed_are_found_as_long_as_they_have_not_ended() {
    let stack = TestStack::empty().await;
    let in_an_hour = Timestamp::now() + MINUTE * 60;
    let transcripts = Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let quiet = async || transcripts.quiet_jobs(in_an_hour, 10).await.unwrap().len();
    // The recording is not there, and the job waits for it.
    let body = json!({"recording_sid": SID, "wait": true});
    post(&stack, body).await;
    assert_eq!(quiet().await, 1);
    // Two requests of the POST, and that of the stack's own worker, which then waits.
    stack.stack.twilio.wait_for_requests(3).await;
    stack.stack.twilio.add(spoken());
    let worker = Worker::with_usual_parts(&stack).await;
    worker.deliver(&json!({"recording_sid": SID})).await;
    assert_eq!(quiet().await, 0, "completed");
}

#[tokio::test]
async fn a_job_that_ends_every_worker_is_given_up_after_five_times() {
    let stack = TestStack::empty().await;
    put_job(&stack, "queued", MINUTE * 21).await;
    let transcripts = Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let mut now = Timestamp::now();
    for times in 1..=5 {
        let quiet = transcripts.quiet_jobs(now, 10).await.unwrap();
        assert_eq!(quiet.len(), 1, "{times}");
        transcripts.note_sent_again(&quiet[0], now).await.unwrap();
        now += MINUTE * 21;
    }
    assert_eq!(transcripts.quiet_jobs(now, 10).await.unwrap().len(), 0);
    let status = stack.get(STATUS).await.body;
    assert_eq!(status["code"], "transcription_interrupted", "{status}");
}

#[tokio::test]
async fn a_queued_job_survives_a_stack_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = || Settings::new(dir.path().to_owned());
    let killed = Stack::start(Settings {
        aws_only: true,
        ..settings()
    });
    let killed = killed.await.unwrap();
    let job = json!({"recording_sid": SID}).to_string();
    let queue = killed
        .environment
        .required("TRANSCRIPTION_QUEUE_URL")
        .unwrap()
        .to_owned();
    let sqs = Aws::from_env(&killed.environment).unwrap().sqs();
    for delay in [0, 900] {
        let send = sqs
            .send_message()
            .queue_url(&queue)
            .message_body(&job)
            .delay_seconds(delay);
        send.send().await.unwrap();
    }
    let done = sqs.send_message().queue_url(&queue).message_body("done").send().await;
    done.unwrap();
    let received = sqs
        .receive_message()
        .queue_url(&queue)
        .max_number_of_messages(10)
        .send()
        .await
        .unwrap();
    let done = received
        .messages()
        .iter()
        .find(|message| message.body() == Some("done"))
        .unwrap();
    let delete = sqs
        .delete_message()
        .queue_url(&queue)
        .receipt_handle(done.receipt_handle().unwrap());
    delete.send().await.unwrap();
    // Neither stopped nor saved.
    drop(killed);

    let again = Stack::start(settings()).await.unwrap();
    again.twilio.add(spoken());
    while again.whisper.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lengths = QueueLengths::new(&Aws::from_env(&again.environment).unwrap());
    let delayed = lengths.of(&queue).await.unwrap().delayed;
    // The worker's lease check may be delayed, too.
    assert!((1..=2).contains(&delayed), "{delayed}");
    again.stop().await.unwrap();
}
