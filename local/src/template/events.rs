//! Event sources other than HTTP: queues, EventBridge rules and schedules.

use std::time::Duration;

use saphyr::{SafelyIndex, Yaml};
use serde_json::Value;

use super::{
    function::functions,
    yaml::{TemplateError, items, load, resources, text},
};

/// A queue whose messages a function processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSource {
    /// The queue's name in the template.
    pub queue: String,
    /// The function, by the last folder of its `CodeUri`.
    pub function: String,
    /// The function's timeout.
    pub timeout: Duration,
    /// The maximum number of messages per invocation.
    pub batch_size: i32,
    /// The name of its dead-letter queue in the template.
    pub dead_letters: String,
    /// The number of deliveries after which a message goes to the dead-letter queue.
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
            let dead_letters = arn_of(redrive.and_then(|redrive| redrive.get("deadLetterTargetArn")));
            let max_receives = redrive.and_then(|redrive| redrive.get("maxReceiveCount")?.as_integer());
            queues.push(QueueSource {
                queue: queue.to_owned(),
                function: function.folder.to_owned(),
                timeout: function.timeout,
                batch_size: batch_size
                    .and_then(|size| i32::try_from(size.as_integer()?).ok())
                    .unwrap_or(10),
                dead_letters: dead_letters
                    .ok_or_else(|| TemplateError(format!("{queue} needs a RedrivePolicy with a deadLetterTargetArn")))?
                    .to_owned(),
                max_receives: max_receives
                    .ok_or_else(|| TemplateError(format!("{queue} needs a RedrivePolicy with a maxReceiveCount")))?,
            });
        }
    }
    Ok(queues)
}

/// The log groups of a SAM template, by their names in it.
///
/// # Errors
/// When the text is not YAML.
pub fn log_groups(yaml: &str) -> Result<Vec<String>, TemplateError> {
    let documents = load(yaml)?;
    let groups = resources(documents.first(), "AWS::Logs::LogGroup");
    Ok(groups.map(|(name, _)| name.to_owned()).collect())
}

/// An EventBridge rule with a queue as its target.
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
    /// Whether the event has one of the sources and detail types. Patterns for its detail are not evaluated, because the functions check those
    /// fields themselves.
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
    for (name, properties) in resources(documents.first(), "AWS::Events::Rule") {
        let property = |key: &str| properties.and_then(|properties| properties.get(key));
        let pattern = property("EventPattern").ok_or_else(|| TemplateError(format!("{name} needs an EventPattern")))?;
        let texts = |name: &str| {
            let values = items(Some(pattern.get(name)?));
            Some(
                values
                    .filter_map(|value| text(Some(value)).map(str::to_owned))
                    .collect(),
            )
        };
        for target in items(property("Targets")) {
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

/// The resource in `!GetAtt NAME.Arn`.
fn arn_of<'a>(value: Option<&'a Yaml>) -> Option<&'a str> {
    match value {
        Some(Yaml::Tagged(_, attribute)) => text(Some(attribute)).and_then(|text| text.strip_suffix(".Arn")),
        _ => None,
    }
}

/// A function with a schedule.
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
