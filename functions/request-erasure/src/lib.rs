//! `DELETE /recordings/{dispatch_id}`, `POST /erasures` and `GET /erasures/{erasure_id}`: requests erasures, and shows how far they are.

mod request;
mod response;

use jiff::Timestamp;
use lambda_http::{
    Body, Request, Response,
    http::{Method, StatusCode, header},
};
use shared::{
    audit::{Action, Event},
    calls::Calls,
    clients::aws::Aws,
    config::{ConfigError, Env},
    erasure::{Erasure, ErasureId, ErasureQueue, PREVIEWED, Preview, Target},
    http::{
        self, ApiError, ApiRequest, ErrorFormat, Reply,
        access::{Access, Scope},
    },
    ids::DispatchId,
    phones::Phones,
};

use request::NewErasure;
use response::{ErasureBody, PreviewBody};

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    calls: Calls,
    queue: ErasureQueue,
    phones: Phones,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            queue: ErasureQueue::from_env(env, &aws)?,
            phones: Phones::from_env(env)?,
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
        path = "/erasures",
        operation_id = "requestErasure",
        tag = "Data protection",
        summary = "Erase calls",
        description = "Erases all calls of a phone number, or the call of an interaction, a dispatch or a Twilio recording: the recording in all versions, its copy, Twilio's recording, transcripts, shares and what the index has. With `dry_run` it says what would be erased. Always needs a key. Scope: `recordings:erase`.",
        request_body = NewErasure,
        responses(
            (status = 200, description = "With `dry_run`: what would be erased.", body = PreviewBody),
            (status = 202, description = "The erasure has begun: poll `status_url`.", body = ErasureBody),
        ),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "body", "missing", "value", "dispatch_id", "recording_sid", "erase", "database", "queue"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    let is_erasure = http::route_ends_with(&request, "/{erasure_id}");
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsErase).await?;
        request.query.only(&[])?;
        match (request.method(), is_erasure) {
            (&Method::POST, _) => {
                let wanted = request.json::<NewErasure>()?.checked(&state.phones, Timestamp::now())?;
                erase(state, &request, wanted).await
            }
            (&Method::DELETE, _) => {
                let id = request.last_segment("dispatch_id")?;
                let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
                erase(state, &request, request::of_call(id)).await
            }
            _ => show(state, &request).await,
        }
    })
    .await
}

/// `DELETE /recordings/{dispatch_id}`.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        delete,
        path = "/recordings/{dispatch_id}",
        operation_id = "eraseRecording",
        tag = "Data protection",
        summary = "Erase a call",
        description = "Erases one call, as `POST /erasures` does. Always needs a key. Scope: `recordings:erase`.",
        params(("dispatch_id" = String, Path, description = "The dispatch id of the call, or Twilio's SID of the call or a recording.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686")),
        responses((status = 202, description = "The erasure has begun: poll `status_url`.", body = ErasureBody)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "erase", "database", "queue"]))),
    )
)]
async fn erase(state: &State, request: &ApiRequest, wanted: request::Wanted) -> Result<Reply, ApiError> {
    // Without `dry_run` only two questions matter: is there any call, and is a single one held.
    let limit = if wanted.dry_run { PREVIEWED } else { 2 };
    let found = Preview::of(&state.calls, &wanted.target, wanted.before, limit).await?;
    if found.calls_total() == 0 && found.holds.is_empty() {
        return Err(call_not_found());
    }
    let subject = match &wanted.target {
        Target::Call(id) => Some(id.to_string()),
        Target::Interaction(id) => Some(Calls::item_of_interaction(id)),
        Target::Phone(_) | Target::Expired { .. } => None,
    };
    let about = |event: Event| match &subject {
        Some(subject) => event.about(subject),
        None => event.with(["phone"]),
    };
    if wanted.dry_run {
        let event = Event::new(Action::PreviewErasure).showing(found.calls.len());
        let reply = (StatusCode::OK, PreviewBody::of(found));
        return state.access.disclose(request, about(event), reply).await;
    }
    // Of several calls, those that are held are named in the erasure; a single one can be refused at once.
    if let ([_], 0, false) = (&found.holds[..], found.calls_total(), found.is_partial) {
        return Err(held());
    }
    let erasure = Erasure {
        requested_by: request.key_id().map(str::to_owned),
        before: wanted.before,
        reason: wanted.reason,
        ..Erasure::new(ErasureId::random(), wanted.target, Timestamp::now())
    };
    let event = Event::new(Action::Erase).of_erasure(erasure.id.as_str());
    state.access.audit(request, about(event)).await?;
    state.queue.request(&erasure).await?;
    let body = ErasureBody::of(erasure);
    let location = body.status_url.clone();
    let reply = Reply::from((StatusCode::ACCEPTED, body));
    Ok(match header::HeaderValue::try_from(location) {
        Ok(location) => reply.header(header::LOCATION, location),
        Err(_) => reply,
    })
}

/// `GET /erasures/{erasure_id}`.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/erasures/{erasure_id}",
        operation_id = "getErasure",
        tag = "Data protection",
        summary = "Get an erasure and its receipt",
        description = "How far an erasure is, kind by kind, and its signed receipt when it is done. `retention-2026-11-26` is the erasure of what was past its time on a day. Always needs a key. Scope: `recordings:erase`.",
        params(("erasure_id" = String, Path, description = "The id of the erasure.", pattern = "^([0-9a-f]{32}|retention-[0-9]{4}-[0-9]{2}-[0-9]{2})$", example = "9f86d081884c7d659a2feaa0c55ad015")),
        responses((status = 200, description = "The erasure.", body = ErasureBody)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "erasure", "database"]))),
    )
)]
async fn show(state: &State, request: &ApiRequest) -> Result<Reply, ApiError> {
    let id = ErasureId::parse(&request.last_segment("erasure_id")?).ok_or_else(erasure_not_found)?;
    let erasure = state.queue.get(&id).await?.ok_or_else(erasure_not_found)?;
    let event = Event::new(Action::ReadErasure).of_erasure(id.as_str());
    let reply = (StatusCode::OK, ErasureBody::of(erasure));
    state.access.disclose(request, event, reply).await
}

/// What the contract is derived from.
#[cfg(feature = "openapi")]
pub mod contract {
    pub use super::{__path_erase, __path_show};
}

fn call_not_found() -> ApiError {
    ApiError::not_found(
        "call_not_found",
        "The index has no call that this names; it may have been erased before.",
    )
}

fn erasure_not_found() -> ApiError {
    ApiError::not_found("erasure_not_found", "There is no erasure with this id.")
}

/// The reason of the hold may name people, and a refused request is not in the audit.
fn held() -> ApiError {
    let message = "The call is held and can't be erased. GET /recordings/{dispatch_id} has the hold.";
    ApiError::new(StatusCode::CONFLICT, "recording_held", message)
}
