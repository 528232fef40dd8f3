//! `POST /api/twilio/transcript/`: the words of one Twilio recording, at once or, when it takes longer than a request may, by way of the queue.

use std::time::Duration;

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    config::{ConfigError, Env},
    http::{self, ApiError, Call, Family},
    queue::Job,
    retry::backoff,
    transcription::{
        EnqueueError, Outcome, QUEUED_VALID, Show, Timestamps, Transcriber, TranscriptBody, estimated_seconds,
        obstacle, status_url,
    },
    transcripts::{Failure, Known, Taking, Transcript, TranscriptId, Variant},
    twilio::{AccountSid, Recording, RecordingSid, Twilio, TwilioError},
    whisper::Options,
};
use tokio::time::Instant;

/// How long a call that is not over yet is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What every request needs, made once.
pub struct State {
    access: Access,
    transcriber: Transcriber,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            transcriber: Transcriber::from_env(env, &aws)?,
        };
        tokio::join!(state.access.preload(), state.transcriber.preload());
        Ok(state)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    recording_sid: Option<String>,
    audio_url: Option<String>,
    language: Option<String>,
    prompt: Option<String>,
    model: Option<String>,
    timestamps: Option<Timestamps>,
    /// Pay again, for a new transcript.
    force: Option<bool>,
    /// Wait, in the queue, for a call that is not over yet.
    wait: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Completed(Box<TranscriptBody>),
    Accepted {
        recording_sid: String,
        status: &'static str,
        status_url: String,
        estimated_seconds: u64,
    },
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(Family::Twilio, request, |call| async move {
        state.access.check(&call, Scope::TwilioTranscribe).await?;
        call.expect_tail("transcript")?;
        call.query.only(&[])?;
        let wanted: Wanted = call.json()?;
        let twilio = &state.transcriber.twilio;
        let account = twilio.account_sid().await.map_err(not_fetched)?;
        let sid = wanted.recording(twilio, &account)?;
        let options = wanted.options()?;
        let variant = Variant::of(&options);
        let by_sid = wanted.recording_sid.as_deref().is_some_and(|text| !text.is_empty());
        let completed = |transcript, cached| {
            let show = Show {
                details: by_sid,
                timestamps: wanted.timestamps,
                cached,
            };
            let body = TranscriptBody::new(twilio, &account, &sid, transcript, show);
            Ok((StatusCode::OK, Answer::Completed(Box::new(body))))
        };
        let accepted = |recording: &Recording| {
            let answer = Answer::Accepted {
                recording_sid: sid.to_string(),
                status: "processing",
                status_url: status_url(&sid, &variant),
                estimated_seconds: estimated_seconds(recording),
            };
            Ok((StatusCode::ACCEPTED, answer))
        };

        let again_since = (wanted.force == Some(true)).then(Timestamp::now);
        let known = state
            .transcriber
            .transcripts
            .get(&TranscriptId::twilio(&sid, &variant))
            .await?;
        if let (Known::Completed(transcript), None) = (&known, again_since) {
            return completed((**transcript).clone(), true);
        }
        let recording = twilio.recording(&sid, call.deadline).await.map_err(not_fetched)?;
        let wait_until = match obstacle(&recording, twilio) {
            None => None,
            Some(failure)
                if failure.code == "recording_not_completed" && failure.retryable && wanted.wait == Some(true) =>
            {
                Some(Timestamp::now() + LONGEST_WAIT)
            }
            Some(failure) => return Err(not_transcribed(failure)),
        };
        if known == Known::Queued {
            return accepted(&recording);
        }
        let job = Job {
            recording_sid: sid.to_string(),
            options,
            again_since,
            attempts: 0,
            wait_until,
        };
        let time_left = call.deadline.saturating_duration_since(Instant::now());
        let fits = Duration::from_secs(estimated_seconds(&recording)) < time_left.mul_f64(0.75);
        if wait_until.is_some() || call.prefers("respond-async") || !fits {
            let valid = QUEUED_VALID + wait_until.map_or(Duration::ZERO, |_| LONGEST_WAIT);
            state.transcriber.enqueue(&sid, &job, valid).await.map_err(not_queued)?;
            return accepted(&recording);
        }
        match transcribe(&state.transcriber, &sid, &recording, &job, &call).await? {
            Some((transcript, cached)) => completed(transcript, cached),
            None => accepted(&recording),
        }
    })
    .await
}

/// The transcript (`true`: made for someone else), or `None` when it will be ready later.
async fn transcribe(
    transcriber: &Transcriber,
    sid: &RecordingSid,
    recording: &Recording,
    job: &Job,
    call: &Call,
) -> Result<Option<(Transcript, bool)>, ApiError> {
    let id = TranscriptId::twilio(sid, &Variant::of(&job.options));
    let taking = Taking {
        queued: false,
        completed: job.again_since.is_some(),
    };
    let mut waits = 0;
    loop {
        match transcriber
            .transcribe(sid, recording, &job.options, taking, call.deadline)
            .await?
        {
            Outcome::Completed(transcript, cached) => return Ok(Some((*transcript, cached))),
            Outcome::Queued => return Ok(None),
            Outcome::OutOfTime(lease) => {
                // The queue's worker has more time. If it can't be told, the lease ends by itself and the next request starts over.
                transcriber
                    .queue
                    .send(job, Duration::ZERO)
                    .await
                    .map_err(|error| not_queued(error.into()))?;
                transcriber.transcripts.requeue(&lease, QUEUED_VALID).await?;
                return Ok(None);
            }
            Outcome::Failed(lease, failure) => {
                if let Err(error) = transcriber.transcripts.fail(&lease, &failure).await {
                    tracing::warn!(%error, "lease not given back; it ends by itself");
                }
                return Err(not_transcribed(failure));
            }
            Outcome::Busy(_) => {
                waits += 1;
                let pause = backoff(waits);
                if Instant::now() + pause >= call.deadline {
                    return Ok(None);
                }
                tokio::time::sleep(pause).await;
                // Whoever was at it has paid since this request came: that is new enough.
                if let Some(since) = job.again_since
                    && let Known::Completed(transcript) = transcriber.transcripts.get(&id).await?
                    && transcript.is_of(since)
                {
                    return Ok(Some((*transcript, true)));
                }
            }
        }
    }
}

impl Wanted {
    fn options(&self) -> Result<Options, ApiError> {
        let invalid = |message| ApiError::bad_request("invalid_parameter", message);
        if let Some(language) = &self.language
            && !(language.len() == 2 && language.bytes().all(|byte| byte.is_ascii_lowercase()))
        {
            return Err(invalid(
                "language must be an ISO 639-1 code of two lower-case letters, such as en.",
            ));
        }
        if self
            .prompt
            .as_ref()
            .is_some_and(|prompt| prompt.is_empty() || prompt.chars().count() > 1000)
        {
            return Err(invalid("prompt must have 1 to 1000 characters."));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        if self
            .model
            .as_ref()
            .is_some_and(|model| !(1..=100).contains(&model.len()) || !model.bytes().all(allowed))
        {
            return Err(invalid(
                "model must be the name of a transcription model, such as whisper-1.",
            ));
        }
        Ok(Options {
            language: self.language.clone(),
            prompt: self.prompt.clone(),
            model: self.model.clone(),
        })
    }

    /// The one recording that is named, by SID, by address, or by both.
    fn recording(&self, twilio: &Twilio, account: &AccountSid) -> Result<RecordingSid, ApiError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let by_sid = given(&self.recording_sid)
            .map(|text| {
                RecordingSid::parse(&text).ok_or_else(|| {
                    ApiError::bad_request(
                        "invalid_recording_sid",
                        "recording_sid must be RE and 16 to 32 hexadecimal digits, like RE1234567890abcdef.",
                    )
                })
            })
            .transpose()?;
        let by_url = given(&self.audio_url)
            .map(|text| {
                twilio.recording_at(&text, account).map_err(|problem| {
                    let like = twilio.media_url(account, "RE1234567890abcdef");
                    ApiError::bad_request(
                        "invalid_audio_url",
                        format!("audio_url must be the address of a recording of the configured Twilio account, like {like}; {problem}."),
                    )
                })
            })
            .transpose()?;
        match (by_sid, by_url) {
            (None, None) => Err(ApiError::bad_request(
                "missing_parameter",
                "Either recording_sid or audio_url is required",
            )),
            (Some(sid), Some(other)) if sid != other => Err(ApiError::bad_request(
                "conflicting_parameters",
                "recording_sid and audio_url name different recordings; give one of them.",
            )),
            (Some(sid), _) | (None, Some(sid)) => Ok(sid),
        }
    }
}

fn not_fetched(error: TwilioError) -> ApiError {
    let message = format!("Failed to fetch recording details: {}", error.sentence());
    let answer = match error {
        TwilioError::NotFound => ApiError::not_found(error.code(), message),
        _ => ApiError::internal(error.code(), message),
    };
    let answer = if error.is_transient() {
        answer.retryable(error.retry_after())
    } else {
        answer
    };
    answer.caused_by(error)
}

/// The documented 500 for everything that keeps a recording from being transcribed.
fn not_transcribed(failure: Failure) -> ApiError {
    let answer = ApiError::internal(failure.code, "Unexpected error occurred")
        .details(format!("Transcription failed: {}", failure.message));
    if failure.retryable {
        answer.retryable(failure.retry_after)
    } else {
        answer
    }
}

fn not_queued(error: EnqueueError) -> ApiError {
    ApiError::unavailable(
        "queue_unavailable",
        "The transcription can't be queued right now. Try again shortly.",
    )
    .caused_by(error)
}
