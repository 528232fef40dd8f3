//! What the gateway needs to know from a SAM template.

use std::time::Duration;

use saphyr::{LoadableYamlNode, SafelyIndex, Yaml};

use super::Route;

/// Lambda's timeout for a function that states none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// The template cannot be served; the text says where and why.
#[derive(Debug, thiserror::Error)]
#[error("template.yaml: {0}")]
pub struct TemplateError(String);

/// The routes of every `HttpApi` event of every `AWS::Serverless::Function`.
pub(super) fn routes(yaml: &str) -> Result<Vec<Route>, TemplateError> {
    let documents = Yaml::load_from_str(yaml).map_err(|error| TemplateError(format!("not valid YAML: {error}")))?;
    let template = documents.first().ok_or_else(|| TemplateError("empty".to_owned()))?;
    let default_timeout = timeout(
        template.get("Globals").and_then(|globals| globals.get("Function")),
        "Globals.Function",
    )?
    .unwrap_or(DEFAULT_TIMEOUT);

    let mut routes = Vec::new();
    for (name, resource) in entries(template.get("Resources")) {
        if text(resource.get("Type")) != Some("AWS::Serverless::Function") {
            continue;
        }
        let properties = resource.get("Properties");
        let code_uri = text(properties.and_then(|properties| properties.get("CodeUri"))).unwrap_or_default();
        let timeout = timeout(properties, name)?.unwrap_or(default_timeout);
        for (event_name, event) in entries(properties.and_then(|properties| properties.get("Events"))) {
            if text(event.get("Type")) != Some("HttpApi") {
                continue;
            }
            let place = format!("{name}.Events.{event_name}");
            let function = code_uri
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .filter(|folder| !folder.is_empty());
            let function =
                function.ok_or_else(|| TemplateError(format!("{name} needs a CodeUri that is its crate's folder")))?;
            let property = |key| {
                text(event.get("Properties").and_then(|properties| properties.get(key)))
                    .ok_or_else(|| TemplateError(format!("{place} needs a {key}")))
            };
            routes.push(Route {
                method: property("Method")?.to_ascii_uppercase(),
                path: path(property("Path")?, &place)?,
                function: function.to_owned(),
                timeout,
            });
        }
    }
    if routes.is_empty() {
        return Err(TemplateError("no function has an HttpApi event".to_owned()));
    }
    Ok(routes)
}

/// A path the gateway can match. One that ends in a slash is refused because a deployed HTTP API drops it silently.
fn path(path: &str, place: &str) -> Result<String, TemplateError> {
    if !path.starts_with('/') {
        return Err(TemplateError(format!(
            "{place}: the path `{path}` must start with a slash"
        )));
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err(TemplateError(format!(
            "{place}: the path `{path}` ends in a slash, which does not survive a deploy"
        )));
    }
    if path.find("+}").is_some_and(|greedy| greedy + 2 != path.len()) {
        return Err(TemplateError(format!(
            "{place}: the greedy variable of `{path}` must come last"
        )));
    }
    Ok(path.to_owned())
}

fn timeout(properties: Option<&Yaml>, place: &str) -> Result<Option<Duration>, TemplateError> {
    let Some(value) = properties.and_then(|properties| properties.get("Timeout")) else {
        return Ok(None);
    };
    match value.as_integer().map(u64::try_from) {
        Some(Ok(seconds)) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(TemplateError(format!("{place}: Timeout must be a number of seconds"))),
    }
}

fn entries<'a>(mapping: Option<&'a Yaml>) -> impl Iterator<Item = (&'a str, &'a Yaml<'a>)> {
    let mapping = mapping.and_then(Yaml::as_mapping).into_iter().flatten();
    mapping.filter_map(|(key, value)| Some((key.as_str()?, value)))
}

fn text<'a>(value: Option<&'a Yaml>) -> Option<&'a str> {
    value.and_then(Yaml::as_str)
}
