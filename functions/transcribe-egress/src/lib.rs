//! `POST /recordings/{dispatch_id}/transcript`: transcribes a LiveKit recording.

use lambda_http::{Body, Request, Response};
#[cfg(feature = "openapi")]
use shared::transcript_api::{AcceptedBody, TranscriptOrEstimate};
use shared::{
    audit::{Action, Event},
    calls::{CallRecording, Resolver},
    clients::{
        aws::Aws,
        queue::{Job, RecordingId},
    },
    config::{ConfigError, Env},
    http::{
        self, ApiError, ApiRequest, ErrorFormat,
        access::{Access, Scope},
        recording_not_found,
    },
    ids::DispatchId,
    transcript_api::{
        RecordingLabel, RequestOutcome, ResponseOptions, Stored, TranscriptOptions, TranscriptRequest, post_reply,
    },
    transcription::{OVERWRITTEN, RecordingSource, SpeakerNames, Transcriber, Vocabulary, transcript_state},
    transcripts::{AudioId, Variant, usage::Cost},
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    resolver: Option<Resolver>,
    transcriber: Transcriber,
    names: SpeakerNames,
    vocabulary: Vocabulary,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            // RECORDINGS_AUTH can make reading open to everyone, but transcription costs money and always requires a key.
            access: Access::required(env, &aws)?,
            resolver: Resolver::from_env(env, &aws)?,
            transcriber: Transcriber::from_env(env, &aws)?,
            names: SpeakerNames::from_env(env),
            vocabulary: Vocabulary::from_env(env)?,
        };
        tokio::join!(state.access.preload(), state.transcriber.preload());
        Ok(state)
    }
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/recordings/{dispatch_id}/transcript",
        operation_id = "transcribeRecording",
        tag = "Transcripts",
        summary = "Transcribe a LiveKit recording",
        description = "Transcribes the LiveKit recording of a call, or returns its stored transcript. Always needs a key. The body may be empty. Each combination of `language`, `prompt`, `model` and `speakers` is stored and billed separately. Scope: `recordings:transcribe`.",
        params(
            ("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686"),
            ("Prefer" = Option<String>, Header, description = "`respond-async`: the response for a recording without a stored transcript is always 202.", example = "respond-async"),
        ),
        request_body(content = Option<TranscriptOptions>, description = "The options of the transcription."),
        responses(
            (status = 200, description = "The transcript, or with `dry_run` its estimated price.", body = TranscriptOrEstimate),
            (status = 202, description = "Not ready yet: poll `status_url`.", body = AcceptedBody),
        ),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "body", "dispatch_id", "value", "storage", "archived", "not_archived", "database", "queue", "transcription"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsTranscribe).await?;
        let id = request.segment_before("dispatch_id", "transcript")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&[])?;
        let wanted: TranscriptOptions = request.json_if_any()?;
        let options = state.vocabulary.in_options(wanted.options("")?);
        let variant = Variant::of(&options);
        let recording = RecordingId::Egress(id.clone());
        let resolver = state.resolver.as_ref().ok_or_else(http::s3_missing)?;
        let found = resolver.find_version(&id, state.access.search(&request)).await?;
        let found = found.ok_or_else(recording_not_found)?;
        let job = Job::new(recording.clone(), options);
        let (outcome, read) = match outcome(state, resolver, &request, &wanted, &job, &id, &found).await {
            Err(error) if error.code() == OVERWRITTEN => {
                let found = resolver.find_overwritten(&id, &found.recording).await?;
                let found = found.ok_or_else(recording_not_found)?;
                outcome(state, resolver, &request, &wanted, &job, &id, &found).await?
            }
            outcome => outcome?,
        };
        let shown = ResponseOptions {
            details: false,
            timestamps: wanted.timestamps,
            refreshing: false,
            dropped: false,
            waveform: false,
        };
        let label = RecordingLabel::egress(&id);
        let reply = post_reply(recording, label, &variant, outcome, &state.names, shown);
        let Some((event, cost)) = read else { return Ok(reply) };
        let reply = state.access.disclose(&request, event, reply).await?;
        state.transcriber.usage.count_avoided(cost).await;
        Ok(reply)
    })
    .await
}

/// What a request gets for the recording that its call has now. A transcript that was stored before comes with the item of its read and what it would
/// have cost.
async fn outcome(
    state: &State,
    resolver: &Resolver,
    request: &ApiRequest,
    wanted: &TranscriptOptions,
    job: &Job,
    id: &DispatchId,
    found: &CallRecording,
) -> Result<(RequestOutcome, Option<(Event, Cost)>), ApiError> {
    let Transcriber { transcripts, .. } = &state.transcriber;
    let known = transcript_state(resolver, transcripts, id, found, &Variant::of(&job.options)).await?;
    let job = Job {
        object: Some(found.recording.clone()),
        ..job.clone()
    };
    let audio = AudioId::Object(found.recording.clone());
    let post = TranscriptRequest::new(request, ErrorFormat::Recordings, wanted, job, audio);
    let event = |action| http::about_recording(action, found, id);
    match post.stored(&state.transcriber, known).await? {
        Stored::Completed(transcript) => {
            let cost = Cost::of_stored(&transcript);
            let read = (event(Action::ReadTranscript), cost);
            Ok((RequestOutcome::Completed(transcript, true), Some(read)))
        }
        Stored::Estimated(outcome) => Ok((outcome, None)),
        Stored::Pending(_) if found.is_archived => Err(http::recording_archived()),
        Stored::Pending(known) => {
            let source = RecordingSource::egress(&resolver.bucket, found);
            let audit = state.access.audit(request, event(Action::MakeTranscript));
            let outcome = post.transcribe_or_enqueue(&state.transcriber, &source, &known, audit);
            Ok((outcome.await?, None))
        }
    }
}
