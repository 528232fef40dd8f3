//! `/s/{token}`: the page on which people without an API key play a shared recording.

mod page;

use std::time::Duration;

use jiff::Timestamp;
use lambda_http::{
    Body, Request, Response,
    http::{Method, StatusCode},
};
use shared::{
    audit::{Action, Actor, AuditLog},
    calls::{CallRecording, ResolveError, Resolver, Search},
    clients::{aws::Aws, presign::Presign},
    config::{ConfigError, Env},
    http::{self, ApiError, ApiRequest, Page, Reply},
    shares::{OpeningToken, PasscodeResult, Share, ShareToken, Shares, Visitor},
    transcription::{SpeakerNames, Vocabulary, first_transcript_state},
    transcripts::{TranscriptState, Transcripts},
};

/// Life of the URL that the audio's redirect leads to, in seconds. It is short because it outlives the share; the page requests another one.
const EXPIRES_IN: u64 = 60;

/// The state that is created once and used for every request.
pub struct State {
    shares: Shares,
    audit: AuditLog,
    storage: Option<Storage>,
    transcripts: Transcripts,
    names: SpeakerNames,
    vocabulary: Vocabulary,
}

struct Storage {
    resolver: Resolver,
    presign: Presign,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let storage = match (Resolver::from_env(env, &aws)?, Presign::from_env(env, &aws)?) {
            (Some(resolver), Some(presign)) => Some(Storage { resolver, presign }),
            _ => None,
        };
        if let Some(storage) = &storage {
            storage.presign.preload().await;
        }
        Ok(Self {
            shares: Shares::from_env(env, &aws)?,
            audit: AuditLog::from_env(env, &aws)?,
            storage,
            transcripts: Transcripts::from_env(env, &aws)?,
            names: SpeakerNames::from_env(env),
            vocabulary: Vocabulary::from_env(env)?,
        })
    }
}

/// A share that can be opened, and its call's recording, which is still the shared one.
struct Found<'a> {
    share: Share,
    recording: CallRecording,
    storage: &'a Storage,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/s/{token}",
        operation_id = "openShare",
        tag = "Shares",
        summary = "Open a shared recording",
        description = "The page on which the recording is played, or a form for the passcode. `#t=93` in the URL begins at that second.",
        params(("token" = String, Path, description = "The token of the share.", pattern = "^[0-9a-f]{32}$", example = "60303ae22b998861bce3b28f33eec1be")),
        responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
        security(()),
        extensions(("x-errors" = json!(["share_page", "archived"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    let is_audio =
        http::route_ends_with(&request, "/audio") || http::tail(&request).is_some_and(|tail| tail.ends_with("/audio"));
    http::respond_with_page(request, |request| async move {
        let token = match is_audio {
            true => request.segment_before("token", "audio"),
            false => request.last_segment("token"),
        };
        let token = token.ok().as_deref().and_then(ShareToken::parse).ok_or_else(ended)?;
        let found = find(state, &token).await?;
        match is_audio {
            true => audio(state, &request, &found).await,
            false => open(state, &request, &token, &found).await.map(Reply::from),
        }
    })
    .await
}

/// `POST /s/{token}`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    post,
    path = "/s/{token}",
    operation_id = "openShareWithPasscode",
    tag = "Shares",
    summary = "Open a shared recording with its passcode",
    description = "What the page's form sends. After five passcodes the next one can be tried when 15 minutes have passed since the first.",
    params(("token" = String, Path, description = "The token of the share.", pattern = "^[0-9a-f]{32}$", example = "60303ae22b998861bce3b28f33eec1be")),
    request_body(content = page::PasscodeForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
    security(()),
    extensions(("x-errors" = json!(["share_page", "archived", "share_passcode"]))),
)]
pub async fn with_passcode() {}

/// `GET /s/{token}/audio`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    get,
    path = "/s/{token}/audio",
    operation_id = "getSharedAudio",
    tag = "Shares",
    summary = "Play a shared recording",
    description = "What the page's player requests: a redirect to a presigned URL that is valid for a minute.",
    params(
        ("token" = String, Path, description = "The token of the share.", pattern = "^[0-9a-f]{32}$", example = "60303ae22b998861bce3b28f33eec1be"),
        ("opening" = Option<String>, Query, description = "From the page: required for a share with a passcode, and ignored otherwise."),
    ),
    responses((status = 302, description = "The recording is at `Location`.", headers(("Location" = String, description = "A presigned URL.")))),
    security(()),
    extensions(("x-errors" = json!(["share_page", "archived"]))),
)]
pub async fn shared_audio() {}

/// The share, if it can be opened, and if its call still has the recording that was shared.
async fn find<'a>(state: &'a State, token: &ShareToken) -> Result<Found<'a>, ApiError> {
    let share = state.shares.get(&token.id()).await?;
    let share = share
        .filter(|share| share.is_active(Timestamp::now()))
        .ok_or_else(ended)?;
    let storage = state.storage.as_ref().ok_or_else(http::s3_missing)?;
    let (recording, object) = tokio::join!(
        storage.resolver.find_version(&share.dispatch_id, Search::Bucket),
        storage.resolver.bucket.head(&share.recording.key),
    );
    let recording = match recording {
        Err(ResolveError::NotCopied(_)) => None,
        found => found?,
    };
    let recording = recording.ok_or_else(ended)?;
    let object = object?.ok_or_else(ended)?;
    let is_same = recording.recording.key == share.recording.key
        && recording.recording.etag == share.recording.etag
        && object.etag == share.recording.etag;
    match is_same {
        true if object.is_archived => Err(http::recording_archived()),
        true => Ok(Found {
            share,
            recording,
            storage,
        }),
        false => Err(ended()),
    }
}

async fn open(state: &State, request: &ApiRequest, token: &ShareToken, found: &Found<'_>) -> Result<Page, ApiError> {
    let share = &found.share;
    if share.passcode.is_some() {
        if request.method() != Method::POST {
            return Ok(page::passcode(StatusCode::OK));
        }
        let form = form_urlencoded::parse(request.body()?);
        let passcode = form.into_iter().find(|(name, _)| name == "passcode");
        let passcode = passcode.map(|(_, value)| value).unwrap_or_default();
        match state.shares.try_passcode(share, &passcode, Timestamp::now()).await? {
            PasscodeResult::Right => {}
            PasscodeResult::Wrong => return Ok(page::passcode(StatusCode::FORBIDDEN)),
            PasscodeResult::TooMany(after) => return Err(too_many(after)),
        }
    }
    let media_origin = found.storage.presign.origin().await?;
    let transcript = match share.with_transcript {
        true => {
            let (resolver, variants) = (&found.storage.resolver, state.vocabulary.default_variants());
            let (dispatch, recording) = (&share.dispatch_id, &found.recording);
            first_transcript_state(resolver, &state.transcripts, dispatch, recording, &variants).await?
        }
        false => TranscriptState::Absent,
    };
    let opening = match request.method() {
        &Method::HEAD => None,
        _ => {
            write(state, request, found, Action::OpenShare).await?;
            let opened = state.shares.open(share, &visitor(request), Timestamp::now()).await?;
            Some(opened.ok_or_else(ended)?)
        }
    };
    let shown = page::Shown {
        share,
        call: found.recording.call.as_ref(),
        transcript: transcript.stored(),
        names: &state.names,
        // Relative, because a domain of the deployment may have a path before `/s`.
        audio: audio_path(
            request.path(),
            token,
            opening.filter(|_| share.passcode.is_some()).as_ref(),
        ),
    };
    Ok(page::player(&shown).media_of(&media_origin))
}

async fn audio(state: &State, request: &ApiRequest, found: &Found<'_>) -> Result<Reply, ApiError> {
    let share = &found.share;
    if share.passcode.is_some() {
        let opening = request
            .query
            .get("opening")
            .and_then(OpeningToken::parse)
            .ok_or_else(ended)?;
        if !state.shares.was_opened(&share.id, &opening).await? {
            return Err(ended());
        }
    }
    let presigner = found.storage.presign.presigner(EXPIRES_IN).await?;
    let url = presigner.presign_for(request.method().as_str(), &share.recording.key, false)?;
    let redirect = Reply::redirect(&url).map_err(|error| {
        ApiError::internal("signer_not_configured", "The recording's URL can't be signed.").caused_by(error)
    })?;
    write(state, request, found, Action::Play).await?;
    Ok(redirect)
}

/// Writes what somebody does with the link into the audit.
async fn write(state: &State, request: &ApiRequest, found: &Found<'_>, action: Action) -> Result<(), ApiError> {
    let event = http::about_recording(action, &found.recording, &found.share.dispatch_id);
    let actor = Actor::Share(found.share.id.to_string());
    Ok(state.audit.write(&event, &request.origin(actor)).await?)
}

/// The path of the audio, relative to the page's, which may end in a slash.
fn audio_path(page: &str, token: &ShareToken, opening: Option<&OpeningToken>) -> String {
    let folder = if page.ends_with('/') { "" } else { token.as_str() };
    let separator = if folder.is_empty() { "" } else { "/" };
    let query = opening.map(|opening| format!("?opening={}", opening.as_str()));
    format!("{folder}{separator}audio{}", query.unwrap_or_default())
}

fn visitor(request: &ApiRequest) -> Visitor {
    let agent = request
        .headers()
        .get("user-agent")
        .and_then(|value| value.to_str().ok());
    Visitor {
        address: request.client_address().map(str::to_owned),
        user_agent: agent.map(|agent| agent.chars().take(256).collect()),
    }
}

/// The one answer for a link that is malformed, unknown, expired or revoked, or whose recording is gone.
fn ended() -> ApiError {
    ApiError::not_found(
        "share_not_found",
        "This link does not exist, or it has ended. Ask its sender for a new one.",
    )
}

fn too_many(after: Duration) -> ApiError {
    let minutes = after.as_secs().div_ceil(60);
    let message = format!("Too many passcodes were tried. Try again in {minutes} minutes.");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_passcodes", message).retryable(Some(after))
}
