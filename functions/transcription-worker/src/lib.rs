//! The worker of the transcription queue.
//!
//! If a job can't be done yet, the worker sends it again with a delay and acknowledges the message. Only if the table or the queue does not
//! respond, so that the worker can't even store the failure, is the message reported as failed. SQS then delivers it again and moves it to the
//! dead-letter queue after five deliveries.
//!
//! Before it begins to transcribe, the worker sends the job a second time, as a lease check that is received after the lease has expired. If the
//! worker was killed, the lease check continues with the stored parts. Otherwise it finds the finished transcript.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Deserialize;
use shared::{
    batch::{self, BatchResponse},
    calls::{CallRecording, Resolver, Search, index_object},
    clients::{
        aws::Aws,
        bucket::RecordingRef,
        queue::{Job, MAX_DELAY, RecordingId},
        twilio::{RecordingSid, Twilio, TwilioError},
    },
    config::{ConfigError, Env},
    ids::DispatchId,
    invocation::{self, on_behalf_of},
    log::json_error,
    panics::caught,
    transcription::{OVERWRITTEN, PartLimits, PipelineOutcome, RecordingSource, Transcriber, not_ready},
    transcripts::{
        AudioId, ClaimPolicy, ClaimResult, Failure, GIVEN_UP, INTERRUPTED, LEASE_OVER, Lease, Transcript, TranscriptId,
        TranscriptState, Variant,
    },
};
use tokio::time::{Instant, timeout_at};

/// The maximum number of attempts of a job.
const ATTEMPTS: u32 = 5;
/// The pause before the second attempt. It doubles with each further attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(20);
/// The minimum and the maximum pause before checking again whether a call has ended. Between them it is half of the time waited so far, so that a day
/// takes at most 300 deliveries and a transcript is late by half of the call's length at most.
const WAIT_PAUSES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];
/// The pause before retrying after a fault of the table or the queue.
const RETRY_PAUSE: Duration = Duration::from_secs(60);
/// Time reserved before the invocation's deadline for storing the result.
const MARGIN: Duration = Duration::from_secs(5);
/// Time reserved before the invocation's deadline for returning the list of failed messages.
const ANSWER_MARGIN: Duration = Duration::from_millis(1500);
/// How long a job that is sent again counts as queued. This is longer than the maximum delay of SQS.
const REQUEUED_VALID: Duration = Duration::from_secs(2 * 3600);

/// The state that is created once and used for every invocation.
pub struct State {
    transcriber: Transcriber,
    twilio: Twilio,
    resolver: Option<Resolver>,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        Self::new(env, PartLimits::default()).await
    }

    /// The same with these limits for splitting recordings into parts.
    pub async fn new(env: &Env, limits: PartLimits) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            transcriber: Transcriber::new(env, &aws, limits)?,
            twilio: Twilio::from_env(env, &aws)?,
            resolver: Resolver::from_env(env, &aws)?,
        };
        tokio::join!(state.transcriber.preload(), state.twilio.preload());
        Ok(state)
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
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    approximate_receive_count: Option<String>,
}

impl Message {
    /// The number of earlier deliveries, after which a worker was killed or reported a failure.
    fn earlier_deliveries(&self) -> u32 {
        let count = self.attributes.approximate_receive_count.as_deref();
        count
            .and_then(|count| count.parse().ok())
            .unwrap_or(1_u32)
            .saturating_sub(1)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Processes the messages of an event until `deadline`.
pub async fn handle(state: &State, event: Event, deadline: SystemTime) -> BatchResponse {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let last = Instant::now() + left.saturating_sub(ANSWER_MARGIN);
    let deadline = Instant::now() + left.saturating_sub(MARGIN);
    let invocation_id = invocation::request_id();
    let mut response = BatchResponse::default();
    for message in event.records {
        let request_id = batch::request_id(&message.body, &message.message_id);
        let done = process(state, &message, deadline, last);
        if !on_behalf_of(&request_id, invocation_id.as_deref(), done).await {
            response.add_failure(message.message_id);
        }
    }
    response
}

/// Processes a message until `deadline`, and stores the result before `last`; `false` if SQS must deliver it again.
async fn process(state: &State, message: &Message, deadline: Instant, last: Instant) -> bool {
    let done = match serde_json::from_str::<Job>(&message.body) {
        Ok(job) => {
            let done = work_or_wait(state, job, message.earlier_deliveries(), deadline);
            match timeout_at(last, caught(done)).await {
                Ok(Ok(done)) => done,
                // The lease check continues, as after a worker that was killed.
                Ok(Err(panicked)) => Err(panicked.into()),
                Err(_) => Err("the result could not be stored before the deadline".into()),
            }
        }
        Err(error) => Err(json_error(&error).into()),
    };
    if let Err(error) = &done {
        tracing::error!(message_id = message.message_id, %error, "the job failed; SQS will deliver it again");
    }
    done.is_ok()
}

/// Processes a job. After a fault of the table or the queue the job is sent again with a short delay, because SQS itself would deliver it again
/// only after the visibility timeout, six times the function's timeout.
async fn work_or_wait(state: &State, job: Job, deliveries: u32, deadline: Instant) -> Result<(), BoxError> {
    let attempts = job.attempts + deliveries;
    let job = Job { attempts, ..job };
    match work(state, job.clone(), deliveries > 0, deadline).await {
        Err(error) if attempts + 1 < ATTEMPTS => {
            tracing::warn!(%error, "the job failed; it is sent again");
            let job = Job {
                attempts: attempts + 1,
                ..job
            };
            Ok(state.transcriber.queue.send(&job, RETRY_PAUSE).await?)
        }
        done => done,
    }
}

async fn work(state: &State, job: Job, is_redelivery: bool, deadline: Instant) -> Result<(), BoxError> {
    let transcriber = &state.transcriber;
    let variant = Variant::of(&job.options);
    let id_of = |recording: &RecordingRef| TranscriptId::new(&AudioId::Object(recording.clone()), &variant);
    let (job, id, found) = match &job.recording {
        RecordingId::Twilio(sid) => (
            job.clone(),
            TranscriptId::new(&AudioId::Twilio(sid.clone()), &variant),
            None,
        ),
        RecordingId::Egress(dispatch) => {
            let queued = job.object.as_ref().map(&id_of);
            match (egress_recording(state, dispatch).await, queued) {
                (Ok(found), Some(id)) if job.lease_check && job.object.as_ref() != Some(&found.recording) => {
                    (job.clone(), id, Some(found))
                }
                (Ok(found), queued) => {
                    let id = id_of(&found.recording);
                    if let Some(queued) = queued.filter(|queued| *queued != id) {
                        transcriber.transcripts.unqueue(&queued, dispatch.as_str()).await?;
                    }
                    let object = Some(found.recording.clone());
                    (Job { object, ..job }, id, Some(found))
                }
                (Err(NotReady::Retried(failure)), Some(id)) => {
                    return fail_before_claim(transcriber, &id, job, failure, deadline).await;
                }
                (Err(NotReady::Retried(failure)), None) => return Err(failure.message.into()),
                // A call without a recording has no transcript, nor a state of one.
                (Err(NotReady::Waiting | NotReady::Final(_)), queued) => {
                    if let Some(id) = queued {
                        transcriber.transcripts.unqueue(&id, dispatch.as_str()).await?;
                    }
                    return Ok(());
                }
            }
        }
    };
    if let RecordingId::Twilio(sid) = &job.recording
        && transcriber.calls.is_erased_recording(sid, None).await?
    {
        return Ok(transcriber.transcripts.unqueue(&id, job.dispatch()).await?);
    }
    let known = transcriber.transcripts.get(&id).await?;
    let is_new_enough =
        |transcript: &Transcript| job.again_since.is_none_or(|since| transcript.is_completed_since(since));
    let job = match (known, job.lease_check) {
        (TranscriptState::Completed(transcript), _) if is_new_enough(&transcript) => return Ok(()),
        (TranscriptState::Failed(failure), false) if failure.code == GIVEN_UP => return Ok(()),
        // An earlier delivery of this message stored the failure.
        (TranscriptState::Failed(failure), false) if is_redelivery && !failure.retryable => return Ok(()),
        (_, false) => job,
        (TranscriptState::InProgress { until, .. }, true) => {
            let pause = until.duration_since(Timestamp::now()).unsigned_abs() + LEASE_OVER;
            return Ok(transcriber.queue.send(&job, pause).await?);
        }
        // Another message of the job is lost, so that this one does the job.
        (TranscriptState::Queued { is_overdue: true, .. }, true) => Job {
            lease_check: false,
            ..job
        },
        (TranscriptState::Queued { .. }, true) => return Ok(transcriber.queue.send(&job, MAX_DELAY).await?),
        (TranscriptState::Failed(failure), true) if failure.code == INTERRUPTED => {
            if job.attempts >= ATTEMPTS {
                let failure = Failure {
                    code: GIVEN_UP.into(),
                    message: "The transcription was interrupted again and again".into(),
                    ..failure
                };
                return fail_before_claim(transcriber, &id, job, failure, deadline).await;
            }
            Job {
                lease_check: false,
                ..job
            }
        }
        (TranscriptState::Stale(_), true) if job.again_since.is_some() && job.attempts < ATTEMPTS => Job {
            lease_check: false,
            ..job
        },
        // The worker released the lease.
        (_, true) => return Ok(()),
    };
    if let Some(found) = &found
        && job.object.as_ref() != Some(&found.recording)
    {
        // The job of the killed worker was for the recording that the call had before.
        let object = Some(found.recording.clone());
        return Box::pin(work(state, Job { object, ..job }, is_redelivery, deadline)).await;
    }
    let source = match (&job.recording, &found, &state.resolver) {
        (RecordingId::Twilio(sid), ..) => match copied_source(state, sid).await {
            Some(source) => Ok(source),
            None => twilio_source(&state.twilio, sid, &job, deadline).await,
        },
        (RecordingId::Egress(_), Some(found), Some(resolver)) => Ok(RecordingSource::egress(&resolver.bucket, found)),
        (RecordingId::Egress(_), ..) => return Ok(()),
    };
    let source = match source {
        Ok(source) => source,
        Err(NotReady::Waiting) => return wait(transcriber, &id, job).await,
        Err(NotReady::Retried(failure)) => return fail_before_claim(transcriber, &id, job, failure, deadline).await,
        Err(NotReady::Final(failure)) => {
            let job = Job {
                attempts: ATTEMPTS,
                ..job
            };
            return fail_before_claim(transcriber, &id, job, failure, deadline).await;
        }
    };
    let lease_ends = deadline.saturating_duration_since(Instant::now()) + LEASE_OVER;
    let lease_check = Job {
        lease_check: true,
        attempts: job.attempts + 1,
        ..job.clone()
    };
    transcriber.queue.send(&lease_check, lease_ends).await?;
    let outcome = transcriber.transcribe(&source, &job.options, claim_policy(&job), deadline);
    match outcome.await? {
        PipelineOutcome::Completed(..) => Ok(()),
        PipelineOutcome::Failed(lease, failure, _) if failure.code == OVERWRITTEN => {
            follow_overwritten(state, &lease, job, &failure).await
        }
        // The other process may be killed: the lease check that was just sent is received after its lease.
        PipelineOutcome::Queued | PipelineOutcome::Busy(_) => Ok(()),
        // Parts were stored, so the attempts start again from 0: otherwise a long job could never finish while the API is busy.
        PipelineOutcome::Failed(lease, failure, true) => {
            retry_or_fail(transcriber, lease, Job { attempts: 0, ..job }, failure).await
        }
        PipelineOutcome::Failed(lease, failure, false) => retry_or_fail(transcriber, lease, job, failure).await,
        // Storing parts is progress, so this does not count as a failed attempt.
        PipelineOutcome::OutOfTime(lease, true) => {
            transcriber.queue.send(&job, Duration::ZERO).await?;
            Ok(transcriber.transcripts.requeue(&lease, &job, REQUEUED_VALID).await?)
        }
        PipelineOutcome::OutOfTime(lease, false) => {
            let failure = Failure::transient(
                "transcription_timeout",
                "The transcription did not finish in the time of one invocation",
            );
            retry_or_fail(transcriber, lease, job, failure).await
        }
    }
}

/// Why a recording can't be transcribed now.
enum NotReady {
    /// The call has not ended or Twilio does not have the recording yet, and the job waits.
    Waiting,
    /// A transient fault.
    Retried(Failure),
    /// The recording can never be transcribed.
    Final(Failure),
}

/// The copy of a Twilio recording in the bucket, if it has one.
async fn copied_source<'a>(state: &'a State, sid: &RecordingSid) -> Option<RecordingSource<'a>> {
    let bucket = &state.resolver.as_ref()?.bucket;
    RecordingSource::copied(bucket, &state.transcriber.calls, sid).await
}

async fn twilio_source<'a>(
    twilio: &'a Twilio,
    sid: &'a RecordingSid,
    job: &Job,
    deadline: Instant,
) -> Result<RecordingSource<'a>, NotReady> {
    let is_before = |until: Option<Timestamp>| until.is_some_and(|until| Timestamp::now() < until);
    let recording = match twilio.recording(sid, deadline).await {
        Err(TwilioError::NotFound) if is_before(job.appears_until) => return Err(NotReady::Waiting),
        Err(TwilioError::NotFound) => {
            return Err(NotReady::Final(Failure::permanent(
                "recording_not_found",
                "Recording not found",
            )));
        }
        found => found.map_err(|error| NotReady::Retried(error.into()))?,
    };
    match not_ready(&recording, twilio) {
        None => Ok(RecordingSource::twilio(twilio, sid, &recording, &job.options)),
        Some(failure) if failure.retryable && is_before(job.wait_until) => Err(NotReady::Waiting),
        Some(failure) => Err(NotReady::Final(failure)),
    }
}

async fn egress_recording(state: &State, dispatch: &DispatchId) -> Result<CallRecording, NotReady> {
    let Some(resolver) = &state.resolver else {
        let failure = Failure::permanent("s3_not_configured", "No recordings bucket is configured");
        return Err(NotReady::Final(failure));
    };
    let found = resolver.find_version(dispatch, Search::Bucket).await.map_err(|error| {
        let failure = Failure::from(error);
        match failure.retryable {
            true => NotReady::Retried(failure),
            false => NotReady::Final(failure),
        }
    })?;
    found.ok_or_else(|| NotReady::Final(Failure::permanent("recording_not_found", "Recording not found")))
}

/// Ends the lease on an object that was overwritten, and queues what the call has now.
async fn follow_overwritten(state: &State, lease: &Lease, job: Job, failure: &Failure) -> Result<(), BoxError> {
    let Transcriber { queue, transcripts, .. } = &state.transcriber;
    let (RecordingId::Egress(_), Some(resolver), Some(overwritten)) = (&job.recording, &state.resolver, &job.object)
    else {
        return Ok(transcripts.fail(lease, failure).await?);
    };
    if let Some(info) = resolver.bucket.head(&overwritten.key).await?
        && job.attempts + 1 < ATTEMPTS
    {
        let written = RecordingRef {
            key: overwritten.key.clone(),
            etag: info.etag,
            size: Some(info.size),
            recording_sid: None,
        };
        let id = TranscriptId::new(&AudioId::Object(written.clone()), &Variant::of(&job.options));
        let job = Job {
            attempts: job.attempts + 1,
            object: Some(written),
            ..job.clone()
        };
        // Stored before the index points to the new object, so that a request sees a queued job. If this worker is killed, the lease check that it
        // sent before it began continues.
        transcripts.queue(&id, REQUEUED_VALID, &job, false).await?;
        index_object(&resolver.calls, &resolver.bucket, &overwritten.key, None).await?;
        queue.send(&job, Duration::ZERO).await?;
    }
    Ok(transcripts.fail(lease, failure).await?)
}

/// Sends the job again, to be received when the call may have ended.
async fn wait(transcriber: &Transcriber, id: &TranscriptId, job: Job) -> Result<(), BoxError> {
    let [shortest, longest] = WAIT_PAUSES;
    let pause = (Duration::from_secs(job.waited) / 2).clamp(shortest, longest);
    let waited = job.waited + pause.as_secs();
    transcriber.queue.send(&Job { waited, ..job }, pause).await?;
    Ok(transcriber.transcripts.renew_queued(id).await?)
}

fn claim_policy(job: &Job) -> ClaimPolicy {
    ClaimPolicy {
        queued: true,
        completed: job.again_since.is_some(),
    }
}

/// Stores a failure that occurred before the lease was claimed: claims the lease and releases it with the failure.
async fn fail_before_claim(
    transcriber: &Transcriber,
    id: &TranscriptId,
    job: Job,
    failure: Failure,
    deadline: Instant,
) -> Result<(), BoxError> {
    let until = Timestamp::now() + deadline.saturating_duration_since(Instant::now());
    match transcriber.transcripts.claim(id, claim_policy(&job), until).await? {
        ClaimResult::Granted(lease) => retry_or_fail(transcriber, lease, job, failure).await,
        ClaimResult::Refused(_) => Ok(()),
    }
}

/// Releases the lease, and sends the job again or stores the final failure.
async fn retry_or_fail(transcriber: &Transcriber, lease: Lease, job: Job, failure: Failure) -> Result<(), BoxError> {
    let attempts = job.attempts + 1;
    if !failure.retryable || attempts >= ATTEMPTS {
        return Ok(transcriber.transcripts.fail(&lease, &failure).await?);
    }
    let pause = failure
        .retry_after
        .unwrap_or_default()
        .max(FIRST_PAUSE * (1 << job.attempts.min(5)));
    let job = Job { attempts, ..job };
    transcriber.queue.send(&job, pause).await?;
    Ok(transcriber.transcripts.requeue(&lease, &job, REQUEUED_VALID).await?)
}
