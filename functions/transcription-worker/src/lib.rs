//! The queue's worker: transcriptions that outlast a request.
//!
//! A job that can't be done yet is sent again with a delay and its message acknowledged; only what this function can't even note down
//! (the table or the queue do not answer) is reported as failed, for SQS to deliver again and, after five times, to set aside.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    aws::Aws,
    config::{ConfigError, Env},
    queue::Job,
    transcription::{Outcome, Transcriber, obstacle},
    transcripts::{Claim, Failure, Known, Lease, Taking, TranscriptId, Variant},
    twilio::{RecordingSid, TwilioError},
};
use tokio::time::Instant;

/// Tries of one job; then it has failed.
const ATTEMPTS: u32 = 5;
/// The pause before the second try. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(20);
/// The pause between two looks at a call that is not over yet.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Kept back from the invocation's deadline, for the result to be written.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a job that is sent again counts as queued: longer than SQS holds it back.
const REQUEUED_VALID: Duration = Duration::from_secs(2 * 3600);

/// What every invocation needs, made once.
pub struct State {
    transcriber: Transcriber,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let transcriber = Transcriber::from_env(env, &Aws::from_env(env)?)?;
        transcriber.preload().await;
        Ok(Self { transcriber })
    }
}

/// An SQS event, as Lambda delivers it.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(rename = "Records")]
    records: Vec<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    message_id: String,
    body: String,
}

/// The messages of an event that are to be delivered again (`ReportBatchItemFailures`).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Works through an event, until `deadline` at the latest.
pub async fn handle(state: &State, event: Event, deadline: SystemTime) -> BatchResponse {
    let budget = deadline
        .duration_since(SystemTime::now())
        .unwrap_or_default()
        .saturating_sub(MARGIN);
    let deadline = Instant::now() + budget;
    let mut response = BatchResponse::default();
    for message in event.records {
        let done = match serde_json::from_str::<Job>(&message.body) {
            Ok(job) => work(&state.transcriber, job, deadline).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = done {
            tracing::error!(message_id = message.message_id, error = %error, "job not done; it is delivered again");
            response.batch_item_failures.push(ItemFailure {
                item_identifier: message.message_id,
            });
        }
    }
    response
}

async fn work(transcriber: &Transcriber, job: Job, deadline: Instant) -> Result<(), Fault> {
    let sid = RecordingSid::parse(&job.recording_sid).ok_or("the job names no recording")?;
    let id = TranscriptId::twilio(&sid, &Variant::of(&job.options));
    if let Known::Completed(transcript) = transcriber.transcripts.get(&id).await?
        && job.again_since.is_none_or(|since| transcript.is_of(since))
    {
        return Ok(());
    }
    let recording = match transcriber.twilio.recording(&sid, deadline).await {
        Ok(recording) => recording,
        Err(error) => return not_now(transcriber, &id, job, error.into(), deadline).await,
    };
    if let Some(failure) = obstacle(&recording, &transcriber.twilio) {
        let waiting = failure.retryable && job.wait_until.is_some_and(|until| Timestamp::now() < until);
        return match waiting {
            true => Ok(transcriber.queue.send(&job, LOOK_AGAIN).await?),
            false => {
                not_now(
                    transcriber,
                    &id,
                    Job {
                        attempts: ATTEMPTS,
                        ..job
                    },
                    failure,
                    deadline,
                )
                .await
            }
        };
    }
    match transcriber
        .transcribe(&sid, &recording, &job.options, taking(&job), deadline)
        .await?
    {
        Outcome::Completed(..) | Outcome::Queued => Ok(()),
        // Whoever is at it may die: look again when its lease has ended.
        Outcome::Busy(until) => {
            let pause = until.duration_since(Timestamp::now()).unsigned_abs() + Duration::from_secs(1);
            Ok(transcriber.queue.send(&job, pause).await?)
        }
        Outcome::Failed(lease, failure) => try_again(transcriber, lease, job, failure).await,
        Outcome::OutOfTime(lease) => {
            let failure = Failure::from(TwilioError::Timeout);
            let message = "The transcription did not finish in the time of one invocation".to_owned();
            try_again(
                transcriber,
                lease,
                job,
                Failure {
                    code: "transcription_timeout".into(),
                    message,
                    ..failure
                },
            )
            .await
        }
    }
}

fn taking(job: &Job) -> Taking {
    Taking {
        queued: true,
        completed: job.again_since.is_some(),
    }
}

/// Notes a failure that came before the lease: takes it, and gives it back with the failure.
async fn not_now(
    transcriber: &Transcriber,
    id: &TranscriptId,
    job: Job,
    failure: Failure,
    deadline: Instant,
) -> Result<(), Fault> {
    let until = Timestamp::now() + deadline.saturating_duration_since(Instant::now());
    match transcriber.transcripts.claim(id, taking(&job), until).await? {
        Claim::Granted(lease) => try_again(transcriber, lease, job, failure).await,
        Claim::Refused(_) => Ok(()),
    }
}

/// Ends the lease: with another try later, or for good.
async fn try_again(transcriber: &Transcriber, lease: Lease, job: Job, failure: Failure) -> Result<(), Fault> {
    let attempts = job.attempts + 1;
    if !failure.retryable || attempts >= ATTEMPTS {
        return Ok(transcriber.transcripts.fail(&lease, &failure).await?);
    }
    let pause = failure
        .retry_after
        .unwrap_or_default()
        .max(FIRST_PAUSE * (1 << job.attempts.min(5)));
    transcriber.queue.send(&Job { attempts, ..job }, pause).await?;
    Ok(transcriber.transcripts.requeue(&lease, REQUEUED_VALID).await?)
}
