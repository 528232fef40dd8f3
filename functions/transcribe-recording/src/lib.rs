//! `POST /api/twilio/transcript/`: the words of one Twilio recording, at once or, when it takes longer than a request may, by way of the queue.

use std::time::Duration;

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Deserialize;
use shared::{http::{access::{Access, Scope}, self, ApiError, Call, ErrorFormat}, clients::{aws::Aws, queue::{Job, Source}, twilio::{AccountSid, Recording, RecordingSid, Twilio, TwilioError}}, config::{ConfigError, Env}, transcription::{Answer, TranscriptRequest, RecordingLabel, RequestOutcome, ResponseOptions, SpeakerNames, RecordingSource, Transcriber, TranscriptBody, TranscriptOptions, not_transcribed, not_ready}, transcripts::Variant};

/// The pause before a recording that Twilio does not know is looked for once more: one that was just made may take a moment to appear.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// What every request needs, made once.
pub struct State {
    access: Access,
    twilio: Twilio,
    transcriber: Transcriber,
    names: SpeakerNames,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            twilio: Twilio::from_env(env, &aws)?,
            transcriber: Transcriber::from_env(env, &aws)?,
            names: SpeakerNames::from_env(env),
        };
        tokio::join!(
            state.access.preload(),
            state.twilio.preload(),
            state.transcriber.preload()
        );
        Ok(state)
    }
}

#[derive(Deserialize)]
struct Wanted {
    recording_sid: Option<String>,
    audio_url: Option<String>,
    /// Wait, in the queue, for a call that is not over yet.
    wait: Option<bool>,
    #[serde(flatten)]
    wish: TranscriptOptions,
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Twilio, request, |call| async move {
        state.access.check(&call, Scope::TwilioTranscribe).await?;
        call.expect_tail("transcript")?;
        call.query.only(&[])?;
        let wanted: Wanted = call.json()?;
        let options = wanted.wish.options("recording_sid, audio_url, wait, ")?;
        let account = state.twilio.account_sid().await.map_err(not_fetched)?;
        let sid = wanted.recording(&state.twilio, &account)?;
        let variant = Variant::of(&options);
        let source = Source::Twilio(sid.clone());
        let posted = post(state, &call, &sid, &wanted, Job::new(source.clone(), options)).await?;
        let status = match posted {
            RequestOutcome::Accepted { .. } => StatusCode::ACCEPTED,
            RequestOutcome::Completed(..) | RequestOutcome::Estimated(_) => StatusCode::OK,
        };
        let show = ResponseOptions {
            details: wanted.recording_sid.as_deref().is_some_and(|text| !text.is_empty()),
            timestamps: wanted.wish.timestamps,
            cached: false,
        };
        let named = RecordingLabel::twilio(&state.twilio, &account, &sid);
        let body = |transcript, show| TranscriptBody::new(named, &state.names, transcript, show);
        Ok((status, Answer::new(source, &variant, posted, body, show)))
    })
    .await
}

async fn post(state: &State, call: &Call, sid: &RecordingSid, wanted: &Wanted, job: Job) -> Result<RequestOutcome, ApiError> {
    let options = job.options.clone();
    let ask = TranscriptRequest::new(call, ErrorFormat::Twilio, &wanted.wish, job);
    let known = match ask.stored(&state.transcriber).await? {
        Ok(posted) => return Ok(posted),
        Err(known) => known,
    };
    let waits = wanted.wait == Some(true);
    let recording = match look_up(&state.twilio, sid, call).await {
        Err(TwilioError::NotFound) if waits => return ask.wait(&state.transcriber, None, &known).await,
        found => found.map_err(not_fetched)?,
    };
    match not_ready(&recording, &state.twilio) {
        None => {}
        Some(failure) if failure.retryable && waits => {
            return ask.wait(&state.transcriber, recording.duration, &known).await;
        }
        Some(failure) => return Err(not_transcribed(ErrorFormat::Twilio, failure)),
    }
    let subject = RecordingSource::twilio(&state.twilio, sid, &recording, &options);
    ask.fulfil(&state.transcriber, &subject, &known).await
}

async fn look_up(twilio: &Twilio, sid: &RecordingSid, call: &Call) -> Result<Recording, TwilioError> {
    match twilio.recording(sid, call.deadline).await {
        Err(TwilioError::NotFound) => {
            tokio::time::sleep(SECOND_LOOK).await;
            twilio.recording(sid, call.deadline).await
        }
        found => found,
    }
}

impl Wanted {
    /// The one recording that is named, by SID, by address, or by both.
    fn recording(&self, twilio: &Twilio, account: &AccountSid) -> Result<RecordingSid, ApiError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let by_sid = given(&self.recording_sid)
            .map(|text| RecordingSid::parse(&text).ok_or_else(http::invalid_recording_sid))
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
    let message = format!("Failed to fetch recording details: {}", error.user_message());
    ApiError::from_twilio(error, message)
}
