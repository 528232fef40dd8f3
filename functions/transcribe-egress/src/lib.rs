//! `POST /recordings/{dispatch_id}/transcript`: the words of a call over LiveKit, from its recording in the bucket.

use lambda_http::{Body, Request, Response, http::StatusCode};
use shared::{http::{access::{Access, Scope}, self, ApiError, ErrorFormat}, clients::{aws::Aws, queue::{Job, Source}}, config::{ConfigError, Env}, ids::DispatchId, calls::resolve::Recordings, transcription::{Answer, TranscriptRequest, RecordingLabel, RequestOutcome, ResponseOptions, SpeakerNames, RecordingSource, Transcriber, TranscriptBody, TranscriptOptions}, transcripts::Variant};

/// What every request needs, made once.
pub struct State {
    access: Access,
    recordings: Option<Recordings>,
    transcriber: Transcriber,
    names: SpeakerNames,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            // Reading recordings may be open to all; spending money never is.
            access: Access::required(env, &aws)?,
            recordings: Recordings::from_env(env, &aws)?,
            transcriber: Transcriber::from_env(env, &aws)?,
            names: SpeakerNames::from_env(env),
        };
        tokio::join!(state.access.preload(), state.transcriber.preload());
        Ok(state)
    }
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |call| async move {
        state.access.check(&call, Scope::RecordingsTranscribe).await?;
        let id = call.segment_before("dispatch_id", "transcript")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        call.query.only(&[])?;
        let wish: TranscriptOptions = call.json_if_any()?;
        let options = wish.options("")?;
        let variant = Variant::of(&options);
        let source = Source::Egress(id.clone());
        let recordings = state.recordings.as_ref().ok_or_else(http::s3_missing)?;
        let ask = TranscriptRequest::new(&call, ErrorFormat::Recordings, &wish, Job::new(source.clone(), options));
        let posted = match ask.stored(&state.transcriber).await? {
            Ok(posted) => posted,
            Err(known) => {
                let key = recordings.find(&id).await?.ok_or_else(|| {
                    ApiError::not_found(
                        "recording_not_found",
                        "Recording not found. Call may still be in progress or recording failed.",
                    )
                })?;
                let subject = RecordingSource::egress(recordings, &id, key).await?;
                ask.fulfil(&state.transcriber, &subject, &known).await?
            }
        };
        let status = match posted {
            RequestOutcome::Accepted { .. } => StatusCode::ACCEPTED,
            RequestOutcome::Completed(..) | RequestOutcome::Estimated(_) => StatusCode::OK,
        };
        let show = ResponseOptions {
            details: false,
            timestamps: wish.timestamps,
            cached: false,
        };
        let body = |transcript, show| TranscriptBody::new(RecordingLabel::egress(&id), &state.names, transcript, show);
        Ok((status, Answer::new(source, &variant, posted, body, show)))
    })
    .await
}
