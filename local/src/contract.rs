//! The contract: OpenAPI 3.1 for all routes, derived from the functions' handlers and their response types.

mod schemas;

use serde_json::{Map, Value, json};
use shared::http::contract::{self, ErrorCode};
use utoipa::OpenApi;

use schemas::Schemas;

/// Example responses of each operation, by id and status.
const EXAMPLES: &str = include_str!("contract/examples.json");
const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Call Recordings",
        description = "List, play and transcribe the recordings of a voice operation.\n\n\
            Every path also works with a trailing slash, except `/interactions`, `/openapi.json`, `/docs`, the shares and the waveform of a recording, `/reports/queues`, `/audit` and `/console`. Every `GET` also works \
            as `HEAD`. An unknown parameter, a repeated one and a value out of range return 400; nothing is clamped or ignored. \
            Fields may be added to a response; no field is renamed, removed or changed to another type.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "Where this document is served.")),
    tags(
        (name = "Recordings", description = "Calls and their LiveKit recordings."),
        (name = "Transcripts", description = "Transcripts of LiveKit recordings."),
        (name = "Twilio", description = "Twilio's recordings and their transcripts."),
        (name = "Reports", description = "Completeness and daily counts."),
        (name = "Shares", description = "Links by which people without an API key play one recording."),
        (name = "Console", description = "The pages for people, and their session."),
        (name = "Contract", description = "This document."),
        (name = "Webhooks", description = "For LiveKit and Twilio, which sign their requests."),
    ),
    paths(
        list_recordings::handle,
        get_recording::handle,
        get_recording::audio::handle,
        draw_waveform::handle,
        get_egress_transcript::handle,
        transcribe_egress::handle,
        record_interaction::handle,
        hold_recording::handle,
        request_archive::handle,
        request_erasure::handle,
        request_erasure::contract::erase,
        request_erasure::contract::show,
        share_recording::handle,
        share_recording::contract::list,
        share_recording::contract::details,
        share_recording::contract::revoke,
        open_share::handle,
        open_share::with_passcode,
        open_share::shared_audio,
        get_completeness::handle,
        get_daily_report::handle,
        get_queues::handle,
        get_audit::handle,
        list_twilio_recordings::handle,
        transcribe_recording::handle,
        get_transcript::handle,
        get_usage::handle,
        livekit_webhook::handle,
        twilio_callback::handle,
        twilio_callback::by_get,
        get_docs::handle,
        get_docs::page,
        get_docs::files,
        console::handle,
        console::root,
        console::files,
        console::get_session,
        console::create_session,
        console::delete_session,
    ),
)]
struct Api;

/// Derives the contract from the code.
#[must_use]
pub fn document() -> Value {
    let mut document = json!(Api::openapi());
    let mut examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    let mut paths = document["paths"].take();
    let mut schemas = Schemas::new(document["components"]["schemas"].take(), contract::schemas());
    for (path, item) in paths.as_object_mut().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                let error_schema = match path.as_str() {
                    path if path.starts_with("/api/twilio") => Some("TwilioApiError"),
                    path if path.starts_with("/s/") => None,
                    _ => Some("ApiError"),
                };
                finish(operation, method != "get", error_schema, &mut examples);
            }
        }
    }
    schemas.finish(&mut paths);
    document["paths"] = paths;
    document["components"] =
        json!({"schemas": schemas.into_value(), "headers": limit_headers(), "securitySchemes": security_schemes()});
    document
}

/// The contract as the text of `openapi.json`.
#[must_use]
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

fn security_schemes() -> Value {
    json!({
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key. Its scopes determine which operations it may use; `*` stands for all."},
        "api_key_in_query": {"type": "apiKey", "in": "query", "name": "api_key", "description": "The same key for clients that can't send a header. The header takes precedence."},
        "livekit_token": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "LiveKit's token, a JWT with the SHA-256 of the body."},
        "twilio_signature": {"type": "apiKey", "in": "header", "name": "X-Twilio-Signature", "description": "Twilio's signature of the public URL and the form."},
    })
}

/// Adds errors, headers and examples to an operation. Without a schema, its errors are pages.
fn finish(operation: &mut Value, is_change: bool, error_schema: Option<&str>, examples: &mut Map<String, Value>) {
    for parameter in array(operation, "parameters") {
        without_null(&mut parameter["schema"]);
    }
    if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
        without_null(body);
    }
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let is_secret = operation["security"] != json!([{}]);
    let responses = &mut operation["responses"];
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        if is_secret {
            response["headers"]["Cache-Control"] = cache_control();
        }
        if let Some(example) = examples.remove(&format!("{id} {status}")) {
            response["content"]["application/json"]["example"] = example;
        }
    }
    let groups = operation
        .as_object_mut()
        .and_then(|operation| operation.remove("x-errors"))
        .unwrap_or_default();
    let groups = groups.as_array().into_iter().flatten();
    let is_counted = groups.clone().any(|group| *group == "key" || *group == "keys");
    // What a key may change, a session may change, but only from its own page.
    let sessions = (groups.clone())
        .filter(|group| is_change && *group == "key")
        .flat_map(|_| contract::SESSION);
    for code in groups.flat_map(codes_of).chain(sessions) {
        match error_schema {
            Some(schema) => add_error(&mut operation["responses"], code, schema),
            None => add_error_page(&mut operation["responses"], code),
        }
    }
    if is_counted {
        add_limits(operation);
    }
    operation["responses"]["default"] = json!({
        "description": "An error of the gateway itself: 404 without a route, 413 above 10 MB, 429 above the throttling limits (retryable), 500 or 503 if the function crashes or times out.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GatewayError"}}},
    });
}

fn codes_of(group: &Value) -> impl Iterator<Item = &'static ErrorCode> + use<> {
    let found = contract::GROUPS.iter().find(|(name, _)| group == name);
    found.map(|(_, codes)| *codes).unwrap_or_default().iter()
}

fn add_error(responses: &mut Value, code: &ErrorCode, schema: &str) {
    let response = &mut responses[code.status.to_string()];
    if response.is_null() {
        *response = json!({
            "description": "",
            "headers": {"Cache-Control": cache_control()},
            "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}, "examples": {}}},
        });
    }
    let text = match schema {
        "TwilioApiError" => "error",
        _ => "detail",
    };
    let mut value = json!({
        text: code.meaning,
        "code": code.code,
        "request_id": "64b97f04-6095-4c61-8706-2a6a9f8f195e",
    });
    if code.retryable == Some(true) {
        value["retryable"] = true.into();
    }
    if code.retryable != Some(false) {
        response["headers"]["Retry-After"] = retry_after();
    }
    response["content"]["application/json"]["examples"][code.code] = json!({"summary": code.meaning, "value": value});
    let codes: Vec<_> = response["content"]["application/json"]["examples"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .map(|code| format!("`{code}`"))
        .collect();
    response["description"] = format!("The `code` is {}.", codes.join(" or ")).into();
}

fn add_error_page(responses: &mut Value, code: &ErrorCode) {
    let response = &mut responses[code.status.to_string()];
    if response.is_null() {
        *response = json!({
            "description": "",
            "headers": {"Cache-Control": cache_control()},
            "content": {"text/html": {"schema": {"type": "string"}}},
        });
    }
    if code.retryable != Some(false) {
        response["headers"]["Retry-After"] = retry_after();
    }
    let known = response["description"].as_str().unwrap_or_default();
    response["description"] = format!("{known} {}", code.meaning).trim().into();
}

/// The headers of the limit that a request counts for.
fn limit_headers() -> Value {
    json!({
        "RateLimit-Policy": {
            "description": "The limit that the request counts for: its name, and requests (`q`) in a time of `w` seconds. Responses to requests that were refused before they were counted don't have it, and those without a limit.",
            "schema": {"type": "string", "examples": ["\"key\";q=1200;w=60"]},
        },
        "RateLimit": {
            "description": "How many requests remain (`r`), and in how many seconds all are allowed again, or the next one if none is (`t`).",
            "schema": {"type": "string", "examples": ["\"key\";r=1199;t=1"]},
        },
    })
}

/// Refers to these headers in the responses of an operation that counts: successes, and 429. Other errors have them, too.
fn add_limits(operation: &mut Value) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if matches!(status.as_bytes(), [b'2' | b'3', ..] | b"429") {
            for name in ["RateLimit-Policy", "RateLimit"] {
                response["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
            }
        }
    }
}

fn retry_after() -> Value {
    json!({
        "description": "Seconds to wait before a retry, if known.",
        "schema": {"type": "integer", "minimum": 1},
    })
}

fn cache_control() -> Value {
    json!({
        "description": "Responses may contain presigned URLs and transcripts, so they must not be cached.",
        "schema": {"type": "string", "const": "no-store"},
    })
}

fn array<'a>(value: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    let items = value.get_mut(name).and_then(Value::as_array_mut);
    items.into_iter().flatten()
}

/// Removes `null` from the schemas of optional parameters, because an absent parameter is not `null`.
fn without_null(schema: &mut Value) {
    if let Some(types) = schema.get("type").and_then(Value::as_array) {
        let rest: Vec<_> = types.iter().filter(|kind| *kind != "null").cloned().collect();
        if let [kind] = &rest[..] {
            schema["type"] = kind.clone();
        }
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let rest: Vec<_> = choices
            .iter()
            .filter(|choice| choice["type"] != "null")
            .cloned()
            .collect();
        if let [choice] = &rest[..] {
            *schema = choice.clone();
        }
    }
}
