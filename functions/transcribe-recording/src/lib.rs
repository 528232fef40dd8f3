//! `POST /api/twilio/transcript/`: transcribes a Twilio recording, within the request if there is time and otherwise through the queue.

use std::time::Duration;

use lambda_http::{Body, Request, Response};
use serde::Deserialize;
#[cfg(feature = "openapi")]
use shared::transcript_api::{AcceptedBody, TranscriptOrEstimate};
use shared::{
    audit::{Action, Event},
    clients::{
        aws::Aws,
        bucket::RecordingsBucket,
        queue::{Job, RecordingId},
        twilio::{AccountSid, Recording, RecordingSid, Twilio, TwilioError},
    },
    config::{ConfigError, Env},
    http::{
        self, ApiError, ApiRequest, ErrorFormat,
        access::{Access, Scope},
    },
    transcript_api::{
        RecordingLabel, RequestOutcome, ResponseOptions, Stored, TranscriptOptions, TranscriptRequest, post_reply,
    },
    transcription::{RecordingSource, SpeakerNames, Transcriber, Vocabulary, not_ready},
    transcripts::{AudioId, TranscriptId, Variant, usage::Cost},
};

/// The pause before a second request for a recording that Twilio did not find: a new recording may take a moment to appear.
const SECOND_REQUEST: Duration = Duration::from_millis(500);

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    twilio: Twilio,
    /// The bucket with the copies of recordings.
    bucket: Option<RecordingsBucket>,
    transcriber: Transcriber,
    names: SpeakerNames,
    vocabulary: Vocabulary,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            twilio: Twilio::from_env(env, &aws)?,
            bucket: RecordingsBucket::from_env(env, &aws)?,
            transcriber: Transcriber::from_env(env, &aws)?,
            names: SpeakerNames::from_env(env),
            vocabulary: Vocabulary::from_env(env)?,
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TwilioTranscriptRequest))]
struct TranscribeBody {
    /// The recording. This or `audio_url` is required.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^(RE[0-9A-Fa-f]{16,32})?$", example = "RE1234567890abcdef")
    )]
    recording_sid: Option<String>,
    /// URL of a recording of the configured account, on `api.twilio.com` or the configured host.
    audio_url: Option<String>,
    /// Whether the job waits in the queue for a call that has not ended.
    wait: Option<bool>,
    #[serde(flatten)]
    options: TranscriptOptions,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/api/twilio/transcript",
        operation_id = "transcribeTwilioRecording",
        tag = "Twilio",
        summary = "Transcribe a Twilio recording",
        description = "Transcribes a Twilio recording, or returns its stored transcript. Each combination of `language`, `prompt`, `model` and `speakers` is stored and billed separately. Scope: `twilio:transcribe`.",
        params(
            ("Prefer" = Option<String>, Header, description = "`respond-async`: the response for a recording without a stored transcript is always 202.", example = "respond-async"),
        ),
        request_body(content = TranscribeBody, description = "`recording_sid` or `audio_url` is required; both only if they name the same recording."),
        responses(
            (status = 200, description = "The transcript, or with `dry_run` its estimated price.", body = TranscriptOrEstimate),
            (status = 202, description = "Not ready yet: poll `status_url`.", body = AcceptedBody),
        ),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "body", "missing", "recording_sid", "value", "audio_url", "database", "queue", "twilio", "transcription"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Twilio, request, |request| async move {
        state.access.check(&request, Scope::TwilioTranscribe).await?;
        request.expect_tail("transcript")?;
        request.query.only(&[])?;
        let body: TranscribeBody = request.json()?;
        let options = body.options.options("recording_sid, audio_url, wait, ")?;
        let options = state.vocabulary.in_options(options);
        let account = state.twilio.account_sid().await.map_err(not_fetched)?;
        let sid = body.recording(&state.twilio, &account)?;
        let variant = Variant::of(&options);
        let recording = RecordingId::Twilio(sid.clone());
        let job = Job::new(recording.clone(), options);
        let (outcome, read) = outcome(state, &request, &sid, &body, job).await?;
        let shown = ResponseOptions {
            details: body.recording_sid.as_deref().is_some_and(|text| !text.is_empty()),
            timestamps: body.options.timestamps,
            refreshing: false,
            dropped: false,
            waveform: false,
        };
        let label = RecordingLabel::twilio(&state.twilio, &account, &sid);
        let reply = post_reply(recording, label, &variant, outcome, &state.names, shown);
        let Some((event, cost)) = read else { return Ok(reply) };
        let reply = state.access.disclose(&request, event, reply).await?;
        state.transcriber.usage.count_avoided(cost).await;
        Ok(reply)
    })
    .await
}

/// What a request gets. A transcript that was stored before comes with the item of its read and what it would have cost.
async fn outcome(
    state: &State,
    request: &ApiRequest,
    sid: &RecordingSid,
    body: &TranscribeBody,
    job: Job,
) -> Result<(RequestOutcome, Option<(Event, Cost)>), ApiError> {
    let options = job.options.clone();
    let post = TranscriptRequest::new(
        request,
        ErrorFormat::Twilio,
        &body.options,
        job,
        AudioId::Twilio(sid.clone()),
    );
    let event = |action| Event::new(action).about(sid.as_str()).of_recording(Some(sid));
    let id = TranscriptId::new(&AudioId::Twilio(sid.clone()), &Variant::of(&options));
    let known = state.transcriber.transcripts.get(&id).await?;
    let known = match post.stored(&state.transcriber, known).await? {
        Stored::Completed(transcript) => {
            let cost = Cost::of_stored(&transcript);
            let read = (event(Action::ReadTranscript), cost);
            return Ok((RequestOutcome::Completed(transcript, true), Some(read)));
        }
        Stored::Estimated(outcome) => return Ok((outcome, None)),
        Stored::Pending(known) => known,
    };
    let audit = state.access.audit(request, event(Action::MakeTranscript));
    if let Some(bucket) = &state.bucket
        && let Some(source) = RecordingSource::copied(bucket, &state.transcriber.calls, sid).await
    {
        let outcome = post.transcribe_or_enqueue(&state.transcriber, &source, &known, audit);
        return Ok((outcome.await?, None));
    }
    let waits = body.wait == Some(true);
    let recording = match look_up(&state.twilio, sid, request).await {
        Err(TwilioError::NotFound) if waits => {
            let outcome = post.wait(&state.transcriber, None, &known, audit);
            return Ok((outcome.await?, None));
        }
        found => found.map_err(not_fetched)?,
    };
    match not_ready(&recording, &state.twilio) {
        None => {}
        Some(failure) if failure.retryable && waits => {
            let outcome = post.wait(&state.transcriber, recording.duration, &known, audit);
            return Ok((outcome.await?, None));
        }
        Some(failure) => return Err(ApiError::not_transcribed(ErrorFormat::Twilio, failure)),
    }
    let source = RecordingSource::twilio(&state.twilio, sid, &recording, &options);
    let outcome = post.transcribe_or_enqueue(&state.transcriber, &source, &known, audit);
    Ok((outcome.await?, None))
}

async fn look_up(twilio: &Twilio, sid: &RecordingSid, request: &ApiRequest) -> Result<Recording, TwilioError> {
    match twilio.recording(sid, request.deadline).await {
        Err(TwilioError::NotFound) => {
            tokio::time::sleep(SECOND_REQUEST).await;
            twilio.recording(sid, request.deadline).await
        }
        found => found,
    }
}

impl TranscribeBody {
    /// The requested recording, named by SID, by URL, or by both.
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
