//! `GET /recordings/{dispatch_id}`: presigned URLs for playing and downloading a call's recording.

pub mod audio;

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    audit::Action,
    calls::{Call, Hold, Resolver},
    clients::{
        aws::Aws,
        presign::{MAX_EXPIRES_IN, Presign},
        twilio::RecordingSid,
    },
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
        recording_not_found,
    },
    ids::{DispatchId, content_type},
    time::{millis, to_millis},
};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    storage: Option<Storage>,
    transcripts: get_egress_transcript::State,
}

struct Storage {
    resolver: Resolver,
    presign: Presign,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let storage = match (Resolver::from_env(env, &aws)?, Presign::from_env(env, &aws)?) {
            (Some(resolver), Some(presign)) => Some(Storage { resolver, presign }),
            _ => None,
        };
        let state = Self {
            access: Access::for_recordings(env, &aws)?,
            storage,
            transcripts: get_egress_transcript::State::new(env, &aws)?,
        };
        tokio::join!(state.access.preload(), async {
            if let Some(storage) = &state.storage {
                storage.presign.preload().await;
            }
        });
        Ok(state)
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RecordingUrls))]
struct Recording {
    recording_url: String,
    download_url: String,
    dispatch_id: String,
    s3_key: String,
    /// Path of the recording's audio below the base URL, which does not expire.
    #[cfg_attr(feature = "openapi", schema(format = "uri-reference"))]
    stable_url: String,
    expires_in: u64,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    expires_limited_by: Option<&'static str>,
    content_type: String,
    /// `null` if it is not known yet.
    size_bytes: Option<i64>,
    /// `null` for a LiveKit recording.
    channels: Option<u32>,
    /// Length in seconds, if it is known.
    duration: Option<i64>,
    /// The Twilio recording whose copy it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, value_type = Option<String>))]
    recording_sid: Option<RecordingSid>,
    /// What is known of the call; `null` if only the recording is known.
    call: Option<KnownCall>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RecordedCall))]
struct KnownCall {
    interaction_id: Option<String>,
    customer_name: Option<String>,
    phone: Option<String>,
    status: Option<String>,
    outcome: Option<String>,
    duration: Option<i64>,
    #[serde(with = "millis::option")]
    start_time: Option<Timestamp>,
    #[serde(with = "millis::option")]
    end_time: Option<Timestamp>,
    /// The legal hold that stops every erasure of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    hold: Option<Hold>,
    /// Until when the call is kept, if it has a time of its own.
    #[serde(skip_serializing_if = "Option::is_none", with = "millis::option")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    retain_until: Option<Timestamp>,
}

impl From<Call> for KnownCall {
    fn from(call: Call) -> Self {
        Self {
            interaction_id: call.interaction_id,
            customer_name: call.customer_name,
            phone: call.phone,
            status: call.status,
            outcome: call.outcome,
            duration: call.duration,
            start_time: call.start_time,
            end_time: call.end_time,
            hold: call.hold,
            retain_until: call.retain_until,
        }
    }
}

/// Handles a request. The route `GET /recordings/{proxy+}` also matches `/recordings/{dispatch_id}/transcript/` with a trailing slash. A
/// separate greedy route below `{dispatch_id}` might also match `/recordings/{dispatch_id}/`, which belongs to this function.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/recordings/{dispatch_id}",
        operation_id = "getRecording",
        tag = "Recordings",
        summary = "Get the URLs of a recording",
        description = "Presigned URLs for the recording of a call: one to play and one to download. It is LiveKit's recording, or else the copy of Twilio's. The id is a dispatch id, or Twilio's SID of the call (`CA…`) or of a recording (`RE…`). Anyone who has them can use both until `expires_at`. Scope: `recordings:read`.",
        params(
            ("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686"),
            ("expires_in" = Option<u64>, Query, description = "Lifetime of the URLs in seconds.", minimum = 1, maximum = 604800, example = 3600),
        ),
        responses((status = 200, description = "The URLs.", body = Recording)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "value", "storage", "archived", "not_archived", "signer", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    if http::tail(&request).is_some_and(|tail| tail.ends_with("/transcript")) {
        return get_egress_transcript::handle(&state.transcripts, request).await;
    }
    if http::route_ends_with(&request, "/audio") || http::tail(&request).is_some_and(|tail| tail.ends_with("/audio")) {
        return audio::handle(state, request).await;
    }
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        let text = request.last_segment("dispatch_id")?;
        let id = DispatchId::parse(&text).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&["expires_in"])?;
        let expires_in = request.query.integer("expires_in", 3600, 1..=MAX_EXPIRES_IN)?;
        let storage = state.storage.as_ref().ok_or_else(http::s3_missing)?;
        let found = storage.resolver.find(&id, state.access.search(&request)).await?;
        let found = found.ok_or_else(recording_not_found)?;
        let found = http::readable(found)?;
        let event = http::about_recording(Action::GetUrls, &found, &id);
        let key = found.recording.key.clone();
        let presigner = storage.presign.presigner(expires_in).await?;
        let recording = Recording {
            recording_url: presigner.presign(&key)?,
            download_url: presigner.presign_download(&key)?,
            dispatch_id: text,
            stable_url: audio::stable_url(&id),
            expires_in: presigner.expiry.seconds,
            expires_at: to_millis(presigner.expiry.at()),
            expires_limited_by: presigner.expiry.limited_by,
            content_type: found
                .copy
                .as_ref()
                .map_or_else(|| content_type(&key).to_owned(), |copy| copy.content_type.clone()),
            size_bytes: found.recording.size,
            channels: found.copy.as_ref().map(|copy| copy.channels),
            duration: match &found.copy {
                Some(copy) => Some(copy.duration),
                None => found.call.as_ref().and_then(|call| call.duration),
            },
            recording_sid: found.recording.recording_sid,
            s3_key: key,
            call: found.call.map(KnownCall::from),
        };
        state
            .access
            .disclose(&request, event, (StatusCode::OK, recording))
            .await
    })
    .await
}
