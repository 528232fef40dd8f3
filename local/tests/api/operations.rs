//! `docs/operations.md` and the alarms, the dashboard and the saved queries of `template.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use local::template::{self, TEMPLATE};
use saphyr::{LoadableYamlNode, SafelyIndex, Yaml};
use serde_json::Value;
use shared::metrics::Metric;

use crate::saved_queries;

const PAGE: &str = include_str!("../../../docs/operations.md");

/// Calls `read` with the name and the node of each resource of this type.
pub(crate) fn each(kind: &str, mut read: impl FnMut(&str, &Yaml<'_>)) {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    let resources = documents[0].get("Resources").and_then(Yaml::as_mapping).unwrap();
    for (name, resource) in resources {
        if resource.get("Type").and_then(Yaml::as_str) == Some(kind) {
            read(name.as_str().unwrap(), resource);
        }
    }
}

fn names(kind: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each(kind, |name, _| {
        names.insert(name.to_owned());
    });
    names
}

/// All texts below a node, behind tags, too.
pub(crate) fn texts(node: &Yaml<'_>, found: &mut Vec<String>) {
    match node {
        Yaml::Mapping(mapping) => mapping.values().for_each(|value| texts(value, found)),
        Yaml::Sequence(items) => items.iter().for_each(|item| texts(item, found)),
        Yaml::Tagged(_, inner) => texts(inner, found),
        node => found.extend(node.as_str().map(str::to_owned)),
    }
}

/// The texts of each resource of a type.
fn texts_of(kind: &str) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    each(kind, |name, resource| {
        let mut found = Vec::new();
        texts(resource, &mut found);
        all.insert(name.to_owned(), found);
    });
    all
}

/// The functions that process messages, by their names in the template.
fn functions_of_queues() -> BTreeSet<String> {
    let folders: BTreeSet<String> = template::queues(TEMPLATE)
        .unwrap()
        .into_iter()
        .map(|source| format!("functions/{}/", source.function))
        .collect();
    let mut found = BTreeSet::new();
    each("AWS::Serverless::Function", |name, resource| {
        let folder = resource.get("Properties").unwrap().get("CodeUri").unwrap();
        if folders.contains(folder.as_str().unwrap()) {
            found.insert(name.to_owned());
        }
    });
    found
}

/// The dashboard of a deployment with or without a bucket. References in it are left as they are.
fn dashboard(has_bucket: bool) -> Value {
    let mut body = String::new();
    each("AWS::CloudWatch::Dashboard", |_, resource| {
        let node = resource.get("Properties").unwrap().get("DashboardBody").unwrap();
        let Yaml::Tagged(_, node) = node else {
            panic!("the body is a !Sub");
        };
        let [text, values] = node.as_sequence().unwrap().as_slice() else {
            panic!("the body is a text and its values");
        };
        body = text.as_str().unwrap().to_owned();
        for (name, value) in values.as_mapping().unwrap() {
            let mut branches = Vec::new();
            texts(value, &mut branches);
            let [condition, with_bucket, without] = branches.as_slice() else {
                panic!("{branches:?}");
            };
            assert_eq!((condition.as_str(), without.as_str()), ("HasBucket", ""));
            let value = if has_bucket { with_bucket } else { without };
            body = body.replace(&format!("${{{}}}", name.as_str().unwrap()), value);
        }
    });
    serde_json::from_str(&body).unwrap()
}

/// The metrics of the dashboard: namespace, name, and value of the dimension if it has one.
fn dashboard_metrics(has_bucket: bool) -> BTreeSet<(String, String, String)> {
    let dashboard = dashboard(has_bucket);
    let widgets = dashboard["widgets"].as_array().unwrap();
    let metrics = widgets
        .iter()
        .flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    metrics
        .map(|metric| (text(&metric[0]), text(&metric[1]), text(&metric[3])))
        .collect()
}

#[test]
fn every_alarm_has_a_section_of_the_runbook_and_every_section_an_alarm() {
    let runbook = PAGE
        .split("\n## Alarms\n")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let sections: Vec<&str> = runbook.split("\n### ").skip(1).collect();
    let titles: BTreeSet<String> = sections
        .iter()
        .map(|section| section.lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(titles, names("AWS::CloudWatch::Alarm"));
    let saved: BTreeSet<String> = saved_queries::all().into_iter().map(|query| query.title).collect();
    for section in sections {
        for part in ["**What it means.**", "**Query.**", "**What to do.**"] {
            assert_eq!(section.matches(part).count(), 1, "{part} {section}");
        }
        let query = section
            .split("**Query.**")
            .nth(1)
            .unwrap()
            .split("**What to do.**")
            .next()
            .unwrap();
        let named: Vec<&str> = query.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{section}");
        let is_command = |name: &str| name.starts_with("aws ") || name.starts_with("GET ");
        assert!(
            named.iter().all(|name| saved.contains(*name) || is_command(name)),
            "{named:?}"
        );
    }
}

#[test]
fn every_saved_query_is_in_the_runbooks_table() {
    for query in saved_queries::all() {
        assert!(PAGE.contains(&format!("| `{}` |", query.title)), "{}", query.title);
    }
}

#[test]
fn every_queue_and_every_dead_letter_queue_has_an_alarm() {
    let alarms = texts_of("AWS::CloudWatch::Alarm");
    for queue in names("AWS::SQS::Queue") {
        let metric = match queue.ends_with("DeadLetters") {
            true => "ApproximateNumberOfMessagesVisible",
            false => "ApproximateAgeOfOldestMessage",
        };
        let reference = format!("{queue}.QueueName");
        let watches = |texts: &&Vec<String>| texts.contains(&reference) && texts.iter().any(|text| text == metric);
        assert_eq!(alarms.values().filter(watches).count(), 1, "{queue}");
    }
}

#[test]
fn a_deployment_without_parameters_pays_for_no_alarm_dashboard_metric_or_trace() {
    for kind in [
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Logs::MetricFilter",
    ] {
        each(kind, |name, resource| {
            assert!(resource.get("Condition").is_some(), "{name}")
        });
    }
    for line in [
        "METRICS_NAMESPACE: !If [HasMetrics, !Sub 'call-recordings/${AWS::StackName}', '']",
        "Tracing: !If [HasTracing, Active, PassThrough]",
        "HasMetrics: !Or [!Condition HasAlarmTopic, !Condition HasDashboard]",
    ] {
        assert!(TEMPLATE.contains(line), "{line}");
    }
}

#[test]
fn alarms_and_dashboard_show_metrics_that_the_functions_write() {
    let mut shown: Vec<String> = Vec::new();
    for texts in texts_of("AWS::CloudWatch::Alarm").into_values() {
        // The namespace is beside the metric's name.
        shown.extend(
            texts
                .windows(2)
                .filter(|pair| pair[0].starts_with("call-recordings/"))
                .map(|pair| pair[1].clone()),
        );
    }
    let of_dashboard = dashboard_metrics(true);
    shown.extend(
        of_dashboard
            .into_iter()
            .filter(|(namespace, ..)| namespace.starts_with("call-recordings/"))
            .map(|(_, name, _)| name),
    );
    shown.retain(|name| name != "ExpectedServerErrors");
    let shown: BTreeSet<&str> = shown.iter().map(String::as_str).collect();
    let written: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(shown, written);
}

#[test]
fn the_dashboard_shows_every_queue_and_every_function_that_processes_messages() {
    let with_bucket = dashboard_metrics(true);
    let has = |namespace: &str, name: &str, value: String| {
        let metric = (namespace.to_owned(), name.to_owned(), value);
        assert!(with_bucket.contains(&metric), "{metric:?}");
    };
    for queue in names("AWS::SQS::Queue") {
        let name = match queue.ends_with("DeadLetters") {
            true => "ApproximateNumberOfMessagesVisible",
            false => "ApproximateAgeOfOldestMessage",
        };
        has("AWS/SQS", name, format!("${{{queue}.QueueName}}"));
    }
    for function in functions_of_queues() {
        for name in ["Errors", "Throttles"] {
            has("AWS/Lambda", name, format!("${{{function}}}"));
        }
    }
    // A deployment without a bucket does not have these resources.
    let mut conditional = BTreeSet::new();
    for kind in ["AWS::SQS::Queue", "AWS::Serverless::Function"] {
        each(kind, |name, resource| {
            if resource.get("Condition").is_some() {
                conditional.insert(name.to_owned());
            }
        });
    }
    assert_eq!(conditional.len(), 4);
    for (_, metric, value) in dashboard_metrics(false) {
        let resource = value.trim_start_matches("${").split(['.', '}']).next().unwrap();
        assert!(!conditional.contains(resource), "{metric} of {resource}");
    }
}

/// SQS leaves a message out of the metric after its third delivery, which is two visibility timeouts after the first.
#[test]
fn an_alarm_for_an_age_fires_before_a_message_that_keeps_failing_leaves_the_metric() {
    let mut timeouts = BTreeMap::new();
    each("AWS::SQS::Queue", |name, resource| {
        let timeout = resource.get("Properties").unwrap().get("VisibilityTimeout");
        timeouts.extend(timeout.map(|timeout| (format!("{name}.QueueName"), timeout.as_integer().unwrap())));
    });
    let mut checked = 0;
    each("AWS::CloudWatch::Alarm", |name, resource| {
        let properties = resource.get("Properties").unwrap();
        if properties.get("MetricName").and_then(Yaml::as_str) == Some("ApproximateAgeOfOldestMessage") {
            let mut dimensions = Vec::new();
            texts(properties.get("Dimensions").unwrap(), &mut dimensions);
            let timeout = dimensions.iter().find_map(|text| timeouts.get(text)).unwrap();
            let number = |property: &str| properties.get(property).unwrap().as_integer().unwrap();
            // The metric's last figure before the third delivery is up to a minute older.
            assert!(number("Threshold") < 2 * timeout - 60, "{name}");
            // It may stand in one period only.
            assert_eq!(number("EvaluationPeriods"), 1, "{name}");
            checked += 1;
        }
    });
    assert_eq!(checked, timeouts.len());
}

#[test]
fn the_alarms_of_functions_watch_all_that_they_are_about() {
    let alarms = texts_of("AWS::CloudWatch::Alarm");
    let mut allowed = BTreeSet::new();
    let mut functions = BTreeSet::new();
    each("AWS::Serverless::Function", |name, resource| {
        functions.insert(name.to_owned());
        if resource.get("Properties").unwrap().get("RecursiveLoop").is_some() {
            allowed.insert(name.to_owned());
        }
    });
    for (alarm, expected) in [
        ("ThrottlesAlarm", functions_of_queues()),
        ("DroppedRecursionAlarm", allowed),
    ] {
        let watched: BTreeSet<String> = alarms[alarm]
            .iter()
            .filter(|text| functions.contains(*text))
            .cloned()
            .collect();
        assert_eq!(watched, expected, "{alarm}");
    }
}
