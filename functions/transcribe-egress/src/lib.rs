//! `POST /recordings/{dispatch_id}/transcript`: transcribes a LiveKit recording.

use lambda_http::{Body, Request, Response};
use shared::{
    calls::Resolver,
    clients::{
        aws::Aws,
        queue::{Job, RecordingId},
    },
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
        recording_not_found,
    },
    ids::DispatchId,
    transcript_api::{RecordingLabel, ResponseOptions, Stored, TranscriptOptions, TranscriptRequest, post_reply},
    transcription::{RecordingSource, SpeakerNames, Transcriber},
    transcripts::Variant,
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    resolver: Option<Resolver>,
    transcriber: Transcriber,
    names: SpeakerNames,
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
        };
        tokio::join!(state.access.preload(), state.transcriber.preload());
        Ok(state)
    }
}

/// Handles a request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsTranscribe).await?;
        let id = request.segment_before("dispatch_id", "transcript")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&[])?;
        let wanted: TranscriptOptions = request.json_if_any()?;
        let options = wanted.options("")?;
        let variant = Variant::of(&options);
        let recording = RecordingId::Egress(id.clone());
        let resolver = state.resolver.as_ref().ok_or_else(http::s3_missing)?;
        let job = Job::new(recording.clone(), options);
        let post = TranscriptRequest::new(&request, ErrorFormat::Recordings, &wanted, job);
        let outcome = match post.stored(&state.transcriber).await? {
            Stored::Answers(outcome) => outcome,
            Stored::Pending(known) => {
                let key = resolver.find(&id).await?.ok_or_else(recording_not_found)?;
                let source = RecordingSource::egress(resolver, &id, key).await?;
                post.transcribe_or_enqueue(&state.transcriber, &source, &known).await?
            }
        };
        let shown = ResponseOptions {
            details: false,
            timestamps: wanted.timestamps,
            dropped: false,
        };
        let label = RecordingLabel::egress(&id);
        Ok(post_reply(recording, label, &variant, outcome, &state.names, shown))
    })
    .await
}
