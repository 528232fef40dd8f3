//! `GET /openapi.json` and `GET /docs`: the contract, for programs and for people. Swagger UI is part of the function, so that the page asks no
//! other host.

use std::{borrow::Cow, io::Read};

use flate2::read::GzDecoder;
use lambda_http::{
    Body, Request, Response,
    http::{HeaderValue, StatusCode, header},
};
use shared::{
    config::{ConfigError, Env},
    http::{self, ApiError, ErrorFormat, Reply},
};

const CONTRACT: &str = include_str!("../../../openapi.json");
const PAGE: &str = include_str!("index.html");
const INIT: &str = include_str!("init.js");
const SCRIPT: &[u8] = include_bytes!("../swagger-ui/swagger-ui-bundle.js.gz");
const STYLE: &[u8] = include_bytes!("../swagger-ui/swagger-ui.css.gz");
/// Swagger UI sets inline styles, and its style sheet contains images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The function has no state.
pub struct State(());

impl State {
    /// Reads nothing.
    pub async fn from_env(_: &Env) -> Result<Self, ConfigError> {
        Ok(Self(()))
    }
}

/// Handles a request. The contract is public, so no key is required.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/openapi.json",
        operation_id = "getContract",
        tag = "Contract",
        summary = "Get this document",
        description = "The contract in OpenAPI 3.1. `/docs` is a page with the contract on which every operation can be tried.",
        responses((status = 200, description = "The contract.", body = Object, content_type = "application/json")),
        security(()),
        extensions(("x-errors" = json!(["request"]))),
    )
)]
pub async fn handle(_: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        request.query.only(&[])?;
        let compressed = request.accepts_gzip();
        let path = request.path();
        Ok(match path.trim_start_matches('/') {
            "openapi.json" => file("application/json", CONTRACT.as_bytes().into()),
            "docs" => file("text/html; charset=utf-8", PAGE.as_bytes().into())
                .header(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
                .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
                .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            "docs/init.js" => file("text/javascript; charset=utf-8", INIT.as_bytes().into()),
            "docs/swagger-ui-bundle.js" => packed("text/javascript; charset=utf-8", SCRIPT, compressed)?,
            "docs/swagger-ui.css" => packed("text/css; charset=utf-8", STYLE, compressed)?,
            _ => return Err(ApiError::no_such_path()),
        })
    })
    .await
}

/// `GET /docs`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "getDocs",
    tag = "Contract",
    summary = "Get the documentation page",
    description = "A page with this document on which every operation can be tried.",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
    security(()),
    extensions(("x-errors" = json!(["request"]))),
)]
pub async fn page() {}

/// `GET /docs/{file}`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "getDocsFile",
    tag = "Contract",
    summary = "Get a file of the documentation page",
    description = "Scripts and styles of the page.",
    params(("file" = String, Path, description = "The name of the file.", pattern = "^(init\\.js|swagger-ui-bundle\\.js|swagger-ui\\.css)$", example = "init.js")),
    responses((status = 200, description = "The file.", content((String = "text/javascript"), (String = "text/css")))),
    security(()),
    extensions(("x-errors" = json!(["request"]))),
)]
pub async fn files() {}

fn file(content_type: &'static str, bytes: Cow<'static, [u8]>) -> Reply {
    Reply::file(content_type, bytes.into_owned())
        .header(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"))
}

/// A file that is stored compressed. It is sent compressed to clients that accept gzip.
fn packed(content_type: &'static str, bytes: &'static [u8], compressed: bool) -> Result<Reply, ApiError> {
    let vary = |reply: Reply| reply.header(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if compressed {
        let reply = file(content_type, bytes.into());
        return Ok(vary(
            reply.header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        ));
    }
    let mut plain = Vec::new();
    let read = GzDecoder::new(bytes).read_to_end(&mut plain);
    read.map_err(|error| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Unexpected error occurred",
        )
        .caused_by(error)
    })?;
    Ok(vary(file(content_type, plain.into())))
}
