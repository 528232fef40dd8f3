//! `GET /api/twilio/transcript/{recording_sid}`: the transcript of a Twilio recording, or its state.

use lambda_http::{Body, Request, Response};
#[cfg(feature = "openapi")]
use shared::transcript_api::{StoredTranscript, Timestamps};
use shared::{
    audit::{Action, Event},
    clients::{
        aws::Aws,
        queue::RecordingId,
        twilio::{RecordingSid, Twilio, TwilioError},
    },
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat,
        access::{Access, Scope},
    },
    transcript_api::{RecordingLabel, TranscriptQuery},
    transcription::{SpeakerNames, Vocabulary},
    transcripts::{AudioId, Transcripts},
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    twilio: Twilio,
    transcripts: Transcripts,
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
            transcripts: Transcripts::from_env(env, &aws)?,
            names: SpeakerNames::from_env(env),
            vocabulary: Vocabulary::from_env(env)?,
        };
        tokio::join!(state.access.preload(), state.twilio.preload());
        Ok(state)
    }
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/api/twilio/transcript/{recording_sid}",
        operation_id = "getTwilioTranscript",
        tag = "Twilio",
        summary = "Get the transcript of a Twilio recording",
        description = "The stored transcript of a Twilio recording, or its state. It never costs anything. Scope: `twilio:transcribe`.",
        params(
            ("recording_sid" = String, Path, description = "The SID of the Twilio recording.", pattern = "^RE[0-9A-Fa-f]{16,32}$", example = "RE1234567890abcdef"),
            ("format" = Option<String>, Query, description = "JSON, plain text or captions. With two channels each turn begins with its speaker.", pattern = "^(json|text|srt|vtt)$"),
            ("timestamps" = Option<Timestamps>, Query, description = "Adds `segments`, or `segments` and `words`, to the JSON."),
            ("include" = Option<String>, Query, description = "Adds to the JSON: `dropped`, the text that was left out because the model invented it, `waveform`, the waveform for a player, or both, separated by a comma.", pattern = "^(dropped|waveform)(,(dropped|waveform))?$"),
            ("variant" = Option<String>, Query, description = "The variant of the options that the transcript was requested with, as in `status_url`.", pattern = "^(default|[0-9a-f]{16})$", example = "default"),
        ),
        responses((status = 200, description = "The transcript or its state.", content(
            (StoredTranscript = "application/json"),
            (String = "text/plain"),
            (String = "application/x-subrip"),
            (String = "text/vtt"),
        ))),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "recording_sid", "value", "stored_transcript", "database", "twilio"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Twilio, request, |request| async move {
        state.access.check(&request, Scope::TwilioTranscribe).await?;
        let sid = request.last_segment("recording_sid")?;
        let sid = RecordingSid::parse(&sid).ok_or_else(http::invalid_recording_sid)?;
        let query = TranscriptQuery::parse(&request.query, &state.vocabulary)?;
        let recording = RecordingId::Twilio(sid.clone());
        let audio = AudioId::Twilio(sid.clone());
        let known = state.transcripts.first(&audio, query.variants()).await?;
        let label = match query.wants_json() && known.stored().is_some() {
            true => {
                let account = state.twilio.account_sid().await.map_err(no_account)?;
                Some(RecordingLabel::twilio(&state.twilio, &account, &sid))
            }
            false => None,
        };
        let is_stored = known.stored().is_some();
        let reply = query.answer(
            recording,
            known,
            label,
            &state.names,
            "POST its recording_sid to /api/twilio/transcript/",
        )?;
        if !is_stored {
            return Ok(reply);
        }
        let event = Event::new(Action::ReadTranscript).about(sid.as_str());
        let event = event.of_recording(Some(&sid));
        state.access.disclose(&request, event, reply).await
    })
    .await
}

fn no_account(error: TwilioError) -> ApiError {
    let message = error.user_message();
    ApiError::from_twilio(error, message)
}
