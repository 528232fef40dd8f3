//! What the gateway needs to know from a SAM template.

use std::time::Duration;

use saphyr::{LoadableYamlNode, SafelyIndex, Yaml};
use serde_json::Value;

use super::{Route, cors::Cors};

/// Lambda's timeout for a function that states none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// The template cannot be served; the text says where and why.
#[derive(Debug, thiserror::Error)]
#[error("template.yaml: {0}")]
pub struct TemplateError(String);

/// One `AWS::Serverless::Function`.
struct Function<'a> {
    /// The resource's name.
    name: &'a str,
    /// The last folder of its `CodeUri`.
    folder: &'a str,
    timeout: Duration,
    events: Option<&'a Yaml<'a>>,
}

/// The routes of every `HttpApi` event of every function.
pub(super) fn routes(yaml: &str) -> Result<Vec<Route>, TemplateError> {
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

/// What the API's `CorsConfiguration` allows to origins, none of which are in it yet.
pub(super) fn cors(yaml: &str) -> Result<Cors, TemplateError> {
    let documents = load(yaml)?;
    let resources = entries(documents.first().and_then(|template| template.get("Resources")));
    let api = resources.filter(|(_, resource)| text(resource.get("Type")) == Some("AWS::Serverless::HttpApi"));
    let configuration = api
        .filter_map(|(_, api)| api.get("Properties")?.get("CorsConfiguration"))
        .next();
    // `!If [HasCorsOrigins, {...}, !Ref AWS::NoValue]`
    let configuration = match configuration {
        None => return Ok(Cors::default()),
        Some(Yaml::Tagged(_, branches)) => branches.as_sequence().and_then(|branches| branches.get(1)),
        Some(other) => Some(other),
    };
    let list = |name: &str| -> Option<String> {
        let values = configuration?.get(name)?.as_sequence()?.iter();
        Some(
            values
                .filter_map(|value| text(Some(value)))
                .collect::<Vec<_>>()
                .join(","),
        )
    };
    let incomplete =
        || TemplateError("CorsConfiguration needs AllowMethods, AllowHeaders, ExposeHeaders and MaxAge".to_owned());
    Ok(Cors {
        origins: Vec::new(),
        methods: list("AllowMethods").ok_or_else(incomplete)?,
        headers: list("AllowHeaders").ok_or_else(incomplete)?,
        exposed: list("ExposeHeaders").ok_or_else(incomplete)?,
        max_age: configuration
            .and_then(|it| it.get("MaxAge")?.as_integer())
            .ok_or_else(incomplete)?,
    })
}

/// A queue that a function works through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSource {
    /// The queue's name in the template.
    pub queue: String,
    /// The function, by the last folder of its `CodeUri`.
    pub function: String,
    /// The function's timeout.
    pub timeout: Duration,
    /// Messages of one invocation, at most.
    pub batch_size: i32,
    /// Deliveries after which a message goes to the dead-letter queue.
    pub max_receives: i64,
}

/// The `SQS` events of every function of a SAM template.
///
/// # Errors
/// When the text is not YAML, or an event does not name a queue of the template.
pub fn queues(yaml: &str) -> Result<Vec<QueueSource>, TemplateError> {
    let documents = load(yaml)?;
    let mut queues = Vec::new();
    for function in functions(documents.first())? {
        for (event_name, event) in function.events_of_type("SQS") {
            let queue = event.get("Properties").and_then(|properties| properties.get("Queue"));
            let queue = arn_of(queue).ok_or_else(|| {
                TemplateError(format!(
                    "{}.Events.{event_name}: Queue must be !GetAtt NAME.Arn",
                    function.name
                ))
            })?;
            let batch_size = event
                .get("Properties")
                .and_then(|properties| properties.get("BatchSize"));
            let redrive = documents.first().and_then(|template| {
                template
                    .get("Resources")?
                    .get(queue)?
                    .get("Properties")?
                    .get("RedrivePolicy")
            });
            let max_receives = redrive.and_then(|redrive| redrive.get("maxReceiveCount")?.as_integer());
            queues.push(QueueSource {
                queue: queue.to_owned(),
                function: function.folder.to_owned(),
                timeout: function.timeout,
                batch_size: batch_size
                    .and_then(|size| i32::try_from(size.as_integer()?).ok())
                    .unwrap_or(10),
                max_receives: max_receives
                    .ok_or_else(|| TemplateError(format!("{queue} needs a RedrivePolicy with a maxReceiveCount")))?,
            });
        }
    }
    Ok(queues)
}

/// A queue that is given events of EventBridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The queue's name in the template.
    pub queue: String,
    /// The sources that match; `None`: all.
    sources: Option<Vec<String>>,
    /// The detail types that match; `None`: all.
    detail_types: Option<Vec<String>>,
}

impl Rule {
    /// Whether the event has one of the sources and detail types. What the pattern says of its detail is left to the function, which checks it
    /// anyway.
    pub fn matches(&self, event: &Value) -> bool {
        let is_among = |wanted: &Option<Vec<String>>, name: &str| {
            let value = event[name].as_str().unwrap_or_default();
            wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|it| it == value))
        };
        is_among(&self.sources, "source") && is_among(&self.detail_types, "detail-type")
    }
}

/// The rules of a SAM template.
///
/// # Errors
/// When the text is not YAML, or a rule has no pattern, or its target is not a queue of the template.
pub fn rules(yaml: &str) -> Result<Vec<Rule>, TemplateError> {
    let documents = load(yaml)?;
    let mut rules = Vec::new();
    for (name, resource) in entries(documents.first().and_then(|template| template.get("Resources"))) {
        if text(resource.get("Type")) != Some("AWS::Events::Rule") {
            continue;
        }
        let property = |key: &str| resource.get("Properties").and_then(|properties| properties.get(key));
        let pattern = property("EventPattern").ok_or_else(|| TemplateError(format!("{name} needs an EventPattern")))?;
        let texts = |name: &str| {
            let values = pattern.get(name)?.as_sequence()?.iter();
            Some(
                values
                    .filter_map(|value| text(Some(value)).map(str::to_owned))
                    .collect(),
            )
        };
        let targets = property("Targets").and_then(Yaml::as_sequence).into_iter().flatten();
        for target in targets {
            let queue = arn_of(target.get("Arn"))
                .ok_or_else(|| TemplateError(format!("{name}: the Arn of a target must be !GetAtt NAME.Arn")))?;
            rules.push(Rule {
                queue: queue.to_owned(),
                sources: texts("source"),
                detail_types: texts("detail-type"),
            });
        }
    }
    Ok(rules)
}

/// The resource whose ARN is meant by `!GetAtt NAME.Arn`.
fn arn_of<'a>(value: Option<&'a Yaml>) -> Option<&'a str> {
    match value {
        Some(Yaml::Tagged(_, attribute)) => text(Some(attribute)).and_then(|text| text.strip_suffix(".Arn")),
        _ => None,
    }
}

/// A function that runs every so often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The function, by the last folder of its `CodeUri`.
    pub function: String,
    /// The time between two runs.
    pub every: Duration,
    /// The function's timeout.
    pub timeout: Duration,
}

/// The `Schedule` events of every function of a SAM template.
///
/// # Errors
/// When the text is not YAML, or a schedule is not `rate(…)` of minutes, hours or days.
pub fn schedules(yaml: &str) -> Result<Vec<Schedule>, TemplateError> {
    let documents = load(yaml)?;
    let mut schedules = Vec::new();
    for function in functions(documents.first())? {
        for (event_name, event) in function.events_of_type("Schedule") {
            let rate = text(
                event
                    .get("Properties")
                    .and_then(|properties| properties.get("Schedule")),
            );
            let every = rate.and_then(every).ok_or_else(|| {
                TemplateError(format!(
                    "{}.Events.{event_name}: Schedule must be like rate(1 hour)",
                    function.name
                ))
            })?;
            schedules.push(Schedule {
                function: function.folder.to_owned(),
                every,
                timeout: function.timeout,
            });
        }
    }
    Ok(schedules)
}

fn every(rate: &str) -> Option<Duration> {
    let (number, unit) = rate.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
}

fn load(yaml: &str) -> Result<Vec<Yaml<'_>>, TemplateError> {
    Yaml::load_from_str(yaml).map_err(|error| TemplateError(format!("not valid YAML: {error}")))
}

fn functions<'a>(template: Option<&'a Yaml<'a>>) -> Result<Vec<Function<'a>>, TemplateError> {
    let template = template.ok_or_else(|| TemplateError("empty".to_owned()))?;
    let globals = template.get("Globals").and_then(|globals| globals.get("Function"));
    let default_timeout = timeout(globals, "Globals.Function")?.unwrap_or(DEFAULT_TIMEOUT);
    let mut functions = Vec::new();
    for (name, resource) in entries(template.get("Resources")) {
        if text(resource.get("Type")) != Some("AWS::Serverless::Function") {
            continue;
        }
        let properties = resource.get("Properties");
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
    fn events_of_type(&self, kind: &str) -> impl Iterator<Item = (&'a str, &'a Yaml<'a>)> {
        entries(self.events).filter(move |(_, event)| text(event.get("Type")) == Some(kind))
    }
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
