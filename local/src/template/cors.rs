//! The `CorsConfiguration` of the HTTP API.

use saphyr::{SafelyIndex, Yaml};

use super::yaml::{TemplateError, items, load, resources, text};

/// The permissions that the gateway gives to allowed origins, as values of its response headers. The origins are a parameter of the deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsConfiguration {
    /// `Access-Control-Allow-Methods`.
    pub methods: String,
    /// `Access-Control-Allow-Headers`.
    pub headers: String,
    /// `Access-Control-Expose-Headers`.
    pub exposed: String,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: i64,
}

/// The `CorsConfiguration` of a template. It is empty if the API has none.
///
/// # Errors
/// When the text is not YAML, or the configuration lacks one of the properties.
pub fn cors(yaml: &str) -> Result<CorsConfiguration, TemplateError> {
    let documents = load(yaml)?;
    let configuration = resources(documents.first(), "AWS::Serverless::HttpApi")
        .filter_map(|(_, properties)| properties?.get("CorsConfiguration"))
        .next();
    // `!If [HasCorsOrigins, {...}, !Ref AWS::NoValue]`
    let configuration = match configuration {
        None => return Ok(CorsConfiguration::default()),
        Some(Yaml::Tagged(_, branches)) => branches.as_sequence().and_then(|branches| branches.get(1)),
        Some(other) => Some(other),
    };
    let incomplete =
        || TemplateError("CorsConfiguration needs AllowMethods, AllowHeaders, ExposeHeaders and MaxAge".to_owned());
    let list = |name: &str| {
        let values = configuration.and_then(|it| it.get(name)).ok_or_else(incomplete)?;
        let values: Vec<_> = items(Some(values)).filter_map(|value| text(Some(value))).collect();
        Ok::<_, TemplateError>(values.join(","))
    };
    Ok(CorsConfiguration {
        methods: list("AllowMethods")?,
        headers: list("AllowHeaders")?,
        exposed: list("ExposeHeaders")?,
        max_age: configuration
            .and_then(|it| it.get("MaxAge")?.as_integer())
            .ok_or_else(incomplete)?,
    })
}
