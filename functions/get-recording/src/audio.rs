//! `GET /recordings/{dispatch_id}/audio`: a redirect to the recording that does not expire.

use lambda_http::{Body, Request, Response};
use shared::{
    audit::Action,
    http::{self, ApiError, ErrorFormat, Reply, access::Scope, invalid_parameter, recording_not_found},
    ids::DispatchId,
};

use crate::State;

/// Life of the URL that the redirect leads to, in seconds. A player that has followed the redirect seeks with that URL.
const EXPIRES_IN: u64 = 3600;

/// The path of a recording's audio.
pub(crate) fn stable_url(id: &DispatchId) -> String {
    format!("/recordings/{id}/audio")
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/recordings/{dispatch_id}/audio",
        operation_id = "getRecordingAudio",
        tag = "Recordings",
        summary = "Play a recording by a link that does not expire",
        description = "Redirects to a presigned URL that is valid for an hour. A `HEAD` is redirected to a URL that is signed for `HEAD`. Scope: `recordings:read`.",
        params(
            ("dispatch_id" = String, Path, description = "The dispatch id of the call.", pattern = "^[A-Za-z0-9_-]{1,128}$", example = "dispatch_1754653479_15103455686"),
            ("download" = Option<String>, Query, description = "`1`: a browser saves the file under its name.", pattern = "^1$"),
        ),
        responses((status = 302, description = "The recording is at `Location`.", headers(("Location" = String, description = "A presigned URL.")))),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "dispatch_id", "value", "storage", "archived", "not_archived", "signer", "database"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        let id = request.segment_before("dispatch_id", "audio")?;
        let id = DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?;
        request.query.only(&["download"])?;
        let is_download = match request.query.get("download") {
            None => false,
            Some("1") => true,
            Some(other) => return Err(invalid_parameter("download", other, "1")),
        };
        let storage = state.storage.as_ref().ok_or_else(http::s3_missing)?;
        let found = storage.resolver.find(&id, state.access.search(&request)).await?;
        let found = found.ok_or_else(recording_not_found)?;
        let found = http::readable(found)?;
        let presigner = storage.presign.presigner(EXPIRES_IN).await?;
        let url = presigner.presign_for(request.method().as_str(), &found.recording.key, is_download)?;
        let action = if is_download { Action::Download } else { Action::Play };
        let event = http::about_recording(action, &found, &id);
        let redirect = Reply::redirect(&url).map_err(|error| {
            ApiError::internal(
                "signer_not_configured",
                "Recording URLs can't be signed: this deployment's bucket has no valid address.",
            )
            .caused_by(error)
        })?;
        state.access.disclose(&request, event, redirect).await
    })
    .await
}
