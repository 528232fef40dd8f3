//! The routes of the HTTP API.

use std::time::Duration;

use saphyr::SafelyIndex;

use super::{
    function::functions,
    yaml::{TemplateError, load, text},
};

/// One route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// HTTP method in capitals, or `ANY`.
    pub method: String,
    /// Path with its variables, as in `/recordings/{dispatch_id}` or `/api/twilio/{proxy+}`.
    pub path: String,
    /// The function's crate: the last folder of its `CodeUri`.
    pub function: String,
    /// The function's own timeout.
    pub timeout: Duration,
}

impl Route {
    /// The route key, such as `GET /recordings`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The routes of every `HttpApi` event of every function.
///
/// # Errors
/// If the text is not YAML, has no HTTP API routes, or has a route that the gateway does not support.
pub fn routes(yaml: &str) -> Result<Vec<Route>, TemplateError> {
    let documents = load(yaml)?;
    let mut routes = Vec::new();
    for function in functions(documents.first())? {
        for (event_name, event) in function.events_of_type("HttpApi") {
            let place = format!("{}.Events.{event_name}", function.name);
            let property = |key| {
                text(event.get("Properties").and_then(|properties| properties.get(key)))
                    .ok_or_else(|| TemplateError(format!("{place} needs a {key}")))
            };
            routes.push(Route {
                method: property("Method")?.to_ascii_uppercase(),
                path: path(property("Path")?, &place)?,
                function: function.folder.to_owned(),
                timeout: function.timeout,
            });
        }
    }
    if routes.is_empty() {
        return Err(TemplateError("no function has an HttpApi event".to_owned()));
    }
    Ok(routes)
}

/// A path that the gateway can match. A path that ends in a slash is rejected, because a deployed HTTP API silently drops it.
fn path(path: &str, place: &str) -> Result<String, TemplateError> {
    if !path.starts_with('/') {
        return Err(TemplateError(format!(
            "{place}: the path `{path}` must start with a slash"
        )));
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err(TemplateError(format!(
            "{place}: the path `{path}` ends in a slash, and such a route does not exist after a deploy"
        )));
    }
    if path.find("+}").is_some_and(|greedy| greedy + 2 != path.len()) {
        return Err(TemplateError(format!(
            "{place}: the greedy variable of `{path}` must come last"
        )));
    }
    Ok(path.to_owned())
}
