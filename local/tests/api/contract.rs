//! Checks that `openapi.json` equals the contract derived from the code and has the routes of the template, and validates every response in these tests.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use jsonschema::Validator;
use local::template::{self, Route, TEMPLATE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::stack::TestStack;

const COMMITTED: &str = include_str!("../../../openapi.json");
static CONTRACT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(COMMITTED).unwrap());
/// Makes the schemas reject additional fields.
static STRICT: LazyLock<Value> = LazyLock::new(|| {
    let mut schemas = CONTRACT["components"]["schemas"].clone();
    close(&mut schemas);
    schemas
});

fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(fields) => {
            let is_object = fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type");
            if is_object && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(close);
        }
        _ => {}
    }
}

/// The API, with every answer compared to the contract. One that is not of the contract becomes a text that says so, which no test takes for an
/// answer.
pub(crate) fn validated(api: Router) -> Router {
    api.layer(middleware::from_fn(async |request: Request, next: Next| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (parts, body) = next.run(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        match problem(&method, &path, parts.status, &parts.headers, &body) {
            None => Response::from_parts(parts, Body::from(body)),
            Some(problem) => {
                let body = String::from_utf8_lossy(&body);
                let text = format!(
                    "openapi.json does not have this answer.\n{method} {path} -> {}: {problem}\n{body}",
                    parts.status
                );
                (StatusCode::NOT_IMPLEMENTED, text).into_response()
            }
        }
    }))
}

/// How a response violates the contract; `None` if it is valid.
fn problem(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Option<String> {
    if method == Method::HEAD {
        return (!body.is_empty()).then(|| "a body".to_owned());
    }
    if method == Method::OPTIONS {
        return None;
    }
    if status == StatusCode::FOUND {
        let redirects = operation(method, path)?["responses"].get(status.as_str()).is_some();
        return (!redirects || !body.is_empty()).then(|| "no such redirect".to_owned());
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default();
    let json = || serde_json::from_slice::<Value>(body).map_err(|error| error.to_string());
    if media == "application/json" && json().is_ok_and(|body| body.get("message").is_some()) {
        return invalid("GatewayError", &json().unwrap());
    }
    let Some(operation) = operation(method, path) else {
        let known = [401, 403, 404, 400, 500, 503].contains(&status.as_u16());
        return (!known).then(|| "no operation".to_owned());
    };
    let response = &operation["responses"][status.as_str()];
    let Some(content) = response["content"].get(media) else {
        return Some(format!("{media} with this status is not documented"));
    };
    if media != "application/json" {
        return None;
    }
    let body = match json() {
        Ok(body) => body,
        Err(error) => return Some(error),
    };
    let name = content["schema"]["$ref"]
        .as_str()
        .and_then(|name| name.rsplit('/').next());
    if let Some(problem) = name.and_then(|name| invalid(name, &body)) {
        return Some(problem);
    }
    let code = body["code"].as_str().unwrap_or_default();
    (status.as_u16() >= 400 && content["examples"].get(code).is_none())
        .then(|| format!("{code} is not documented here"))
}

/// The operation of a path, with or without trailing slashes: the one whose path has the fewest variables.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let method = method.as_str().to_ascii_lowercase();
    let segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let paths = CONTRACT["paths"].as_object().unwrap().iter();
    let matching = paths.filter(|(template, _)| {
        let template: Vec<_> = template.split('/').collect();
        let same = |(template, segment): (&&str, &&str)| {
            template == segment || template.starts_with('{') && !segment.is_empty()
        };
        template.len() == segments.len() && template.iter().zip(&segments).all(same)
    });
    let (_, item) = matching.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method)
}

/// How a body violates a named schema; `None` if it is valid.
fn invalid(schema: &str, body: &Value) -> Option<String> {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let compile = || {
        let document = json!({"$ref": format!("#/components/schemas/{schema}"), "components": {"schemas": *STRICT}});
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.build(&document).unwrap())
    };
    let validator = VALIDATORS
        .lock()
        .unwrap()
        .entry(schema.to_owned())
        .or_insert_with(compile)
        .clone();
    let problems: Vec<_> = validator
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    (!problems.is_empty()).then(|| problems.join("\n"))
}

#[test]
fn the_committed_contract_equals_the_derived_one() {
    let current = local::contract::text();
    let differs = current
        .lines()
        .zip(COMMITTED.lines())
        .find(|(current, committed)| current != committed);
    let is_same = current == COMMITTED;
    assert!(
        is_same,
        "`cargo run -- openapi > openapi.json` renews it; the first difference: {differs:?}"
    );
}

#[test]
fn the_contract_has_the_routes_of_the_template() {
    let documented: BTreeSet<String> = CONTRACT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
        })
        .collect();
    // Greedy routes are for paths with a trailing slash, and `HEAD` is a `GET` without the body.
    let is_own = |route: &&Route| !route.path.contains("{proxy+}") && route.method != "HEAD";
    let routes = template::routes(TEMPLATE).unwrap();
    let routes: BTreeSet<String> = routes.iter().filter(is_own).map(Route::key).collect();
    assert_eq!(routes, documented);
}

#[test]
fn every_example_of_the_contract_is_valid() {
    let mut examples = 0;
    for item in CONTRACT["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let content = &response["content"]["application/json"];
                let schema = content["schema"]["$ref"].as_str().unwrap_or_default();
                let schema = schema.rsplit('/').next().unwrap();
                let all = content["examples"].as_object().into_iter().flatten();
                let values = all.map(|(_, example)| &example["value"]).chain(content.get("example"));
                for value in values {
                    let problem = invalid(schema, value);
                    assert_eq!(problem, None, "{} {status}: {value}", operation["operationId"]);
                    examples += 1;
                }
            }
        }
    }
    assert!(examples > 100);
}

#[tokio::test]
async fn the_contract_and_its_page_are_served_without_a_key_and_without_other_hosts() {
    let stack = TestStack::with_environment([("RECORDINGS_AUTH", "required")]).await;
    let served = stack.get_without_key("/openapi.json").await;
    assert_eq!((served.status.as_u16(), &served.body), (200, &*CONTRACT));

    let page = stack.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
    let page = page.text().await.unwrap();
    assert!(!page.contains("://"), "{page}");
    for (file, sum) in [
        (
            "swagger-ui-bundle.js",
            include_str!("../../../functions/get-docs/swagger-ui/SHA256SUMS"),
        ),
        (
            "swagger-ui.css",
            include_str!("../../../functions/get-docs/swagger-ui/SHA256SUMS"),
        ),
    ] {
        assert!(page.contains(&format!("docs/{file}")));
        let path = format!("/docs/{file}");
        let packed = stack
            .request(Method::GET, &path)
            .header("Accept-Encoding", "br, gzip;q=0.8")
            .send()
            .await
            .unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        let packed = packed.bytes().await.unwrap();
        let digest: String = Sha256::digest(&packed)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(sum.contains(&format!("{digest}  {file}.gz")), "{file}: {digest}");
        let plain = stack
            .request(Method::GET, &path)
            .header("Accept-Encoding", "gzip;q=0")
            .send()
            .await
            .unwrap();
        assert!(!plain.headers().contains_key("content-encoding"));
        assert!(plain.bytes().await.unwrap().len() > packed.len() * 3);
    }
    let absent = stack.get_without_key("/docs/other.js").await;
    absent.recordings_error(404, "path_not_found");
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_the_callers_mistake_if_the_request_named_it() {
    let stack = TestStack::demo().await;
    let body = json!({"recording_sid": "RE1234567890abcdef", "model": "no-such-model"});
    let answer = stack.post("/api/twilio/transcript", &body).await;
    let sentence = answer.twilio_error(400, "whisper_model_not_found");
    assert!(sentence.contains("no-such-model"), "{sentence}");
    let answer = stack
        .post(
            "/recordings/dispatch_1754653479_15103455686/transcript",
            &json!({"model": "no-such-model"}),
        )
        .await;
    answer.recordings_error(400, "whisper_model_not_found");
}
