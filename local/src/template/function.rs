//! The functions of the template.

use std::time::Duration;

use saphyr::{SafelyIndex, Yaml};

use super::yaml::{TemplateError, entries, resources, text};

/// Lambda's default timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// One `AWS::Serverless::Function`.
pub(super) struct Function<'a> {
    /// The resource's name.
    pub(super) name: &'a str,
    /// The last folder of its `CodeUri`.
    pub(super) folder: &'a str,
    pub(super) timeout: Duration,
    events: Option<&'a Yaml<'a>>,
}

pub(super) fn functions<'a>(template: Option<&'a Yaml<'a>>) -> Result<Vec<Function<'a>>, TemplateError> {
    let template = template.ok_or_else(|| TemplateError("empty".to_owned()))?;
    let globals = template.get("Globals").and_then(|globals| globals.get("Function"));
    let default_timeout = timeout(globals, "Globals.Function")?.unwrap_or(DEFAULT_TIMEOUT);
    let mut functions = Vec::new();
    for (name, properties) in resources(Some(template), "AWS::Serverless::Function") {
        let code_uri = text(properties.and_then(|properties| properties.get("CodeUri"))).unwrap_or_default();
        let folder = code_uri
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .filter(|folder| !folder.is_empty());
        functions.push(Function {
            name,
            folder: folder
                .ok_or_else(|| TemplateError(format!("{name} needs a CodeUri that is its crate's folder")))?,
            timeout: timeout(properties, name)?.unwrap_or(default_timeout),
            events: properties.and_then(|properties| properties.get("Events")),
        });
    }
    Ok(functions)
}

impl<'a> Function<'a> {
    pub(super) fn events_of_type(&self, kind: &str) -> impl Iterator<Item = (&'a str, &'a Yaml<'a>)> {
        entries(self.events).filter(move |(_, event)| text(event.get("Type")) == Some(kind))
    }
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
