//! `/recordings/{dispatch_id}/shares`: links by which people without an API key play one recording.

mod request;
mod response;

use jiff::{SignedDuration, Timestamp};
use lambda_http::{
    Body, Request, Response,
    http::{Method, StatusCode},
};
use shared::{
    audit::{Action, Event},
    calls::Resolver,
    clients::aws::Aws,
    config::{ConfigError, Env},
    http::{
        self, ApiError, ApiRequest, ErrorFormat, Reply,
        access::{Access, Scope},
        recording_not_found,
    },
    ids::DispatchId,
    shares::{PasscodeHash, Share, ShareId, ShareToken, Shares},
};

use request::NewShare;
use response::{CreatedShare, ShareBody, ShareDetails, ShareList};

/// The maximum of `SHARE_MAX_SECONDS`: a year.
const LONGEST: u64 = 31_536_000;
/// The default of `SHARE_MAX_SECONDS`: 30 days.
const DEFAULT_LONGEST: u64 = 2_592_000;
/// How many openings of a share are returned.
const OPENINGS: i32 = 100;

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    resolver: Option<Resolver>,
    shares: Shares,
    /// The longest time that a share can last, in seconds.
    max_seconds: u64,
    public_base_url: Option<String>,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let max_seconds = match env.optional("SHARE_MAX_SECONDS") {
            None => DEFAULT_LONGEST,
            Some(text) => text
                .parse()
                .ok()
                .filter(|seconds| (1..=LONGEST).contains(seconds))
                .ok_or(ConfigError::Invalid {
                    name: "SHARE_MAX_SECONDS",
                    expected: "a number of seconds from 1 to 31536000",
                })?,
        };
        let state = Self {
            // RECORDINGS_AUTH can make reading open to everyone, but a share outlives the request and always requires a key.
            access: Access::required(env, &aws)?,
            resolver: Resolver::from_env(env, &aws)?,
            shares: Shares::from_env(env, &aws)?,
            max_seconds,
            public_base_url: env.optional("PUBLIC_BASE_URL").map(str::to_owned),
        };
        state.access.preload().await;
        Ok(state)
    }
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/recordings/{dispatch_id}/shares",
        operation_id = "createShare",
        tag = "Shares",
        summary = "Share a recording",
        description = "Creates a link to a page on which anyone who has it can play the recording without an API key, until it expires or is revoked. The token and the URL are in this response only. Always needs a key. Scope: `recordings:share`.",
        params(("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686")),
        request_body = NewShare,
        responses((status = 201, description = "The share.", body = CreatedShare)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "body", "missing", "value", "storage", "archived", "not_archived", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    let names_share = http::route_ends_with(&request, "/{share_id}");
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsShare).await?;
        let dispatch = request.segment_before("dispatch_id", "shares")?;
        let dispatch = DispatchId::parse(&dispatch).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&[])?;
        match (names_share, request.method()) {
            (false, &Method::POST) => create(state, &request, dispatch).await,
            (false, _) => list(state, &request, &dispatch).await,
            (true, &Method::DELETE) => revoke(state, &request, &dispatch, &share_id(&request)?).await,
            (true, _) => details(state, &request, &dispatch, &share_id(&request)?).await,
        }
    })
    .await
}

async fn create(state: &State, request: &ApiRequest, dispatch: DispatchId) -> Result<Reply, ApiError> {
    let wanted = request.json::<NewShare>()?.checked(state.max_seconds)?;
    let resolver = state.resolver.as_ref().ok_or_else(http::s3_missing)?;
    let found = resolver
        .find_version(&dispatch, state.access.search(request))
        .await?
        .ok_or_else(recording_not_found)?;
    let found = http::readable(found)?;
    // The erasure of a call finds its shares by the ids that the index has.
    if found.call.is_none() && resolver.calls.item_of(&dispatch).await?.is_none() {
        return Err(ApiError::unindexed());
    }
    let event = http::about_recording(Action::Share, &found, &dispatch);
    let passcode = wanted.passcode.as_deref().map(PasscodeHash::new).transpose()?;
    let (token, now) = (ShareToken::random()?, Timestamp::now());
    let share = Share {
        id: token.id(),
        dispatch_id: dispatch,
        recording: found.recording,
        created_at: now,
        created_by: request.key_id().map(str::to_owned),
        expires_at: now + SignedDuration::from_secs(wanted.expires_in as i64),
        from: wanted.from,
        to: wanted.to,
        with_transcript: wanted.with_transcript,
        passcode,
        note: wanted.note,
        revoked_at: None,
        opened_count: 0,
        last_opened_at: None,
    };
    state.access.audit(request, event.of_share(share.id.as_str())).await?;
    state.shares.create(&share).await?;
    let url = format!("{}/s/{}", base_url(state, request), token.as_str());
    let body = CreatedShare {
        url,
        token: token.as_str().to_owned(),
        share: ShareBody::of(share, now),
    };
    Ok(Reply::from((StatusCode::CREATED, body)))
}

/// `GET /recordings/{dispatch_id}/shares`.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/recordings/{dispatch_id}/shares",
        operation_id = "listShares",
        tag = "Shares",
        summary = "List the shares of a recording",
        description = "The shares of a call, newest first, with how often each was opened; those that have ended for 90 more days. Always needs a key. Scope: `recordings:share`.",
        params(("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686")),
        responses((status = 200, description = "The shares.", body = ShareList)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "database"]))),
    )
)]
async fn list(state: &State, request: &ApiRequest, dispatch: &DispatchId) -> Result<Reply, ApiError> {
    let now = Timestamp::now();
    let shares = state.shares.of_call(dispatch).await?;
    let is_known = match (&state.resolver, shares.is_empty()) {
        (_, false) => true,
        (Some(resolver), true) => resolver.calls.item_of(dispatch).await?.is_some(),
        (None, true) => false,
    };
    let event = Event::new(Action::ReadShares).about(dispatch.as_str());
    let event = event.showing(shares.len());
    let shares = shares.into_iter().map(|share| ShareBody::of(share, now)).collect();
    let reply = (StatusCode::OK, ShareList { shares });
    match is_known {
        true => state.access.disclose(request, event, reply).await,
        // Nothing is disclosed of a call that does not exist, and nobody would erase its item.
        false => Ok(reply.into()),
    }
}

/// `GET /recordings/{dispatch_id}/shares/{share_id}`.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/recordings/{dispatch_id}/shares/{share_id}",
        operation_id = "getShare",
        tag = "Shares",
        summary = "Get a share and its openings",
        description = "A share with its newest 100 openings. Always needs a key. Scope: `recordings:share`.",
        params(
            ("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686"),
            ("share_id" = String, Path, description = "The id of the share.", pattern = "^[0-9a-f]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015"),
        ),
        responses((status = 200, description = "The share.", body = ShareDetails)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "share", "database"]))),
    )
)]
async fn details(state: &State, request: &ApiRequest, dispatch: &DispatchId, id: &ShareId) -> Result<Reply, ApiError> {
    let (share, openings) = tokio::try_join!(state.shares.get(id), state.shares.openings(id, OPENINGS))?;
    let share = share
        .filter(|share| share.dispatch_id == *dispatch)
        .ok_or_else(share_not_found)?;
    let event = Event::new(Action::ReadShares)
        .about(dispatch.as_str())
        .of_share(id.as_str());
    let event = event.showing(openings.len());
    let body = ShareDetails::of(share, openings, Timestamp::now());
    state.access.disclose(request, event, (StatusCode::OK, body)).await
}

/// `DELETE /recordings/{dispatch_id}/shares/{share_id}`.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        delete,
        path = "/recordings/{dispatch_id}/shares/{share_id}",
        operation_id = "revokeShare",
        tag = "Shares",
        summary = "Revoke a share",
        description = "Ends a share at once: its page returns 404. A share that has been revoked already keeps its time. Always needs a key. Scope: `recordings:share`.",
        params(
            ("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686"),
            ("share_id" = String, Path, description = "The id of the share.", pattern = "^[0-9a-f]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015"),
        ),
        responses((status = 200, description = "The share.", body = ShareBody)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "share", "database"]))),
    )
)]
async fn revoke(state: &State, request: &ApiRequest, dispatch: &DispatchId, id: &ShareId) -> Result<Reply, ApiError> {
    let now = Timestamp::now();
    let known = state.shares.get(id).await?;
    known
        .filter(|share| share.dispatch_id == *dispatch)
        .ok_or_else(share_not_found)?;
    let event = Event::new(Action::RevokeShare)
        .about(dispatch.as_str())
        .of_share(id.as_str());
    state.access.audit(request, event).await?;
    let share = state
        .shares
        .revoke(dispatch, id, now)
        .await?
        .ok_or_else(share_not_found)?;
    Ok(Reply::from((StatusCode::OK, ShareBody::of(share, now))))
}

/// What the contract is derived from.
#[cfg(feature = "openapi")]
pub mod contract {
    pub use super::{__path_details, __path_list, __path_revoke};
}

fn share_id(request: &ApiRequest) -> Result<ShareId, ApiError> {
    ShareId::parse(&request.last_segment("share_id")?).ok_or_else(share_not_found)
}

fn share_not_found() -> ApiError {
    ApiError::not_found("share_not_found", "This call has no share with this id.")
}

/// The public base URL, or else the one of this request.
fn base_url(state: &State, request: &ApiRequest) -> String {
    if let Some(url) = &state.public_base_url {
        return url.trim_end_matches('/').to_owned();
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let scheme = header("x-forwarded-proto").unwrap_or("https");
    format!("{scheme}://{}", header("host").unwrap_or_default())
}
