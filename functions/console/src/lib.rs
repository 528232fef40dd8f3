//! `GET /console`: the pages for people, and the session that stands for their API key. The pages are static files; what they show they get from the
//! API.

mod assets;

use std::fmt::Display;

use lambda_http::{
    Body, Request, Response,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};
use serde::Serialize;
use shared::{
    clients::{aws::Aws, presign::Presign},
    config::{ConfigError, Env},
    http::{
        self, ApiError, ApiRequest, Reply,
        access::{self, Access, SignedIn},
    },
};

use assets::ASSETS;

/// The state that is created once and used for every request.
pub struct State {
    keys: Access,
    reading_is_open: bool,
    presign: Option<Presign>,
}

impl State {
    /// Reads the environment and fetches the keys.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            keys: Access::required(env, &aws)?,
            reading_is_open: access::recordings_are_open(env)?,
            presign: Presign::from_env(env, &aws)?,
        };
        state.keys.preload().await;
        Ok(state)
    }
}

/// Who is signed in, and what needs no key.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ConsoleSession))]
struct SessionBody {
    /// `null` without a session.
    signed_in: Option<SignedIn>,
    /// Whether recordings can be listed and played without a key (`RECORDINGS_AUTH=open`).
    reading_is_open: bool,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/console",
        operation_id = "getConsole",
        tag = "Console",
        summary = "Open the console",
        description = "The page on which people find, play, read and share calls. Its query string is that of the list: `/console?phone=...` shows the calls of a number, and `/console?call={dispatch_id}#t=93` a call at that second.",
        responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
        security(()),
        extensions(("x-errors" = json!(["request", "signer"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond_leniently(request, |request| async move {
        match request.path().trim_matches('/').rsplit_once('/') {
            Some((_, "session")) => session(state, &request).await,
            Some((folder, file)) if folder.contains("/assets/") => asset(&request, folder, file),
            None if request.path().trim_matches('/').is_empty() => leads_to_console(),
            _ => page(state).await,
        }
    })
    .await
}

/// `GET /`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    get,
    path = "/",
    operation_id = "getRoot",
    tag = "Console",
    summary = "Go to the console",
    description = "A redirect to `/console`.",
    responses((status = 302, description = "The console is at `Location`.", headers(("Location" = String, description = "The console's path.")))),
    security(()),
    extensions(("x-errors" = json!(["request"]))),
)]
pub async fn root() {}

/// `GET /console/assets/{version}/{file}`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    get,
    path = "/console/assets/{version}/{file}",
    operation_id = "getConsoleFile",
    tag = "Console",
    summary = "Get a file of the console",
    description = "Scripts and styles of the page. A file of another version is a 404.",
    params(
        ("version" = String, Path, description = "The version of the files, as in the page.", pattern = "^[0-9a-f]{16}$", example = "0123456789abcdef"),
        ("file" = String, Path, description = "The name of the file.", pattern = "^[a-z]+\\.(js|css)$", example = "app.js"),
    ),
    responses((status = 200, description = "The file.", content((String = "text/javascript"), (String = "text/css")))),
    security(()),
    extensions(("x-errors" = json!(["request"]))),
)]
pub async fn files() {}

/// `GET /console/session`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    get,
    path = "/console/session",
    operation_id = "getSession",
    tag = "Console",
    summary = "Get the session of the console",
    description = "Who is signed in to the console with the request's cookie.",
    responses((status = 200, description = "The session.", body = SessionBody)),
    security(()),
    extensions(("x-errors" = json!(["request", "keys"]))),
)]
pub async fn get_session() {}

/// `POST /console/session`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    post,
    path = "/console/session",
    operation_id = "createSession",
    tag = "Console",
    summary = "Sign in to the console",
    description = "Exchanges the API key in the header for a cookie, which has the key's scopes for 12 hours, or until the key is removed or expires. Scripts can't read it and other sites can't send it.",
    responses((status = 200, description = "The session. Its cookie is in `Set-Cookie`.", body = SessionBody)),
    security(("api_key" = [])),
    extensions(("x-errors" = json!(["request", "key"]))),
)]
pub async fn create_session() {}

/// `DELETE /console/session`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    delete,
    path = "/console/session",
    operation_id = "deleteSession",
    tag = "Console",
    summary = "Sign out of the console",
    description = "The browser forgets the cookie.",
    responses((status = 200, description = "There is no session any more.", body = SessionBody)),
    security(()),
    extensions(("x-errors" = json!(["request"]))),
)]
pub async fn delete_session() {}

async fn session(state: &State, request: &ApiRequest) -> Result<Reply, ApiError> {
    let (signed_in, cookie) = match *request.method() {
        Method::POST => {
            let (signed_in, cookie) = state.keys.sign_in(request).await?;
            (Some(signed_in), Some(cookie))
        }
        Method::DELETE => (None, access::sign_out(request)),
        _ => (state.keys.session(request).await?, None),
    };
    let body = SessionBody {
        signed_in,
        reading_is_open: state.reading_is_open,
    };
    let reply = Reply::from((StatusCode::OK, body));
    Ok(match cookie {
        Some(cookie) => reply.header(header::SET_COOKIE, cookie),
        None => reply,
    })
}

fn leads_to_console() -> Result<Reply, ApiError> {
    Reply::redirect("console").map_err(unexpected)
}

async fn page(state: &State) -> Result<Reply, ApiError> {
    let media = match &state.presign {
        Some(presign) => presign.origin().await?,
        None => String::new(),
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; media-src 'self' {media}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy).map_err(unexpected)?;
    Ok(Reply::text("text/html; charset=utf-8", assets::page())
        .header(header::CONTENT_SECURITY_POLICY, policy)
        .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .header(ROBOTS, HeaderValue::from_static("noindex, nofollow")))
}

const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// A file, which browsers may keep: another version has another URL.
fn asset(request: &ApiRequest, folder: &str, file: &str) -> Result<Reply, ApiError> {
    let is_current = folder.ends_with(&format!("/assets/{}", *assets::VERSION));
    let asset = ASSETS.iter().find(|asset| is_current && asset.name == file);
    let asset = asset.ok_or_else(ApiError::no_such_path)?;
    let reply = match request.accepts_gzip() {
        true => {
            let bytes = assets::compressed(asset.text).map_err(unexpected)?;
            let encoding = HeaderValue::from_static("gzip");
            Reply::file(asset.content_type, bytes).header(header::CONTENT_ENCODING, encoding)
        }
        false => Reply::text(asset.content_type, asset.text.to_owned()),
    };
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    Ok(reply
        .header(header::CACHE_CONTROL, forever)
        .header(header::VARY, HeaderValue::from_static("Accept-Encoding"))
        .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
}

fn unexpected(error: impl Display) -> ApiError {
    ApiError::internal("internal_error", "Unexpected error occurred").caused_by(error)
}
