//! YAML helpers, and the error for an invalid template.

use std::sync::OnceLock;

use saphyr::{LoadableYamlNode, SafelyIndex, Yaml};

/// The deployed system's `template.yaml`.
pub static TEMPLATE: &str = include_str!("../../../template.yaml");

/// The template is invalid; the message contains the place and the reason.
#[derive(Debug, thiserror::Error)]
#[error("template.yaml: {0}")]
pub struct TemplateError(pub(super) String);

pub(super) fn load(yaml: &str) -> Result<Vec<Yaml<'_>>, TemplateError> {
    // Parsed once: each stack reads it some ten times.
    static OURS: OnceLock<Option<Vec<Yaml<'static>>>> = OnceLock::new();
    if std::ptr::eq(yaml, TEMPLATE)
        && let Some(parsed) = OURS.get_or_init(|| Yaml::load_from_str(TEMPLATE).ok())
    {
        return Ok(parsed.clone());
    }
    Yaml::load_from_str(yaml).map_err(|error| TemplateError(format!("not valid YAML: {error}")))
}

/// The template's resources of one type: name and properties.
pub(super) fn resources<'a>(
    template: Option<&'a Yaml<'a>>,
    kind: &'static str,
) -> impl Iterator<Item = (&'a str, Option<&'a Yaml<'a>>)> {
    let resources = template.and_then(|template| template.get("Resources"));
    entries(resources)
        .filter(move |(_, resource)| text(resource.get("Type")) == Some(kind))
        .map(|(name, resource)| (name, resource.get("Properties")))
}

pub(super) fn entries<'a>(mapping: Option<&'a Yaml<'a>>) -> impl Iterator<Item = (&'a str, &'a Yaml<'a>)> {
    let mapping = mapping.and_then(Yaml::as_mapping).into_iter().flatten();
    mapping.filter_map(|(key, value)| Some((key.as_str()?, value)))
}

pub(super) fn items<'a>(sequence: Option<&'a Yaml<'a>>) -> impl Iterator<Item = &'a Yaml<'a>> {
    sequence.and_then(Yaml::as_sequence).into_iter().flatten()
}

pub(super) fn text<'a>(value: Option<&'a Yaml<'a>>) -> Option<&'a str> {
    value.and_then(Yaml::as_str)
}
