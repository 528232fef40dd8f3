//! `docs/operations.md` and the alarms, the dashboard and the saved queries of `template.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use local::{stack::functions::Functions, template::TEMPLATE};
use saphyr::{LoadableYamlNode, SafelyIndex, Yaml};
use serde_json::json;
use shared::metrics::Metric;

use crate::{events::process_every_example_event, logs, stack::TestStack};

const PAGE: &str = include_str!("../../../docs/operations.md");

/// Calls `read` with the name and the node of each resource of this type.
fn each(kind: &str, mut read: impl FnMut(&str, &Yaml<'_>)) {
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
fn texts(node: &Yaml<'_>, found: &mut Vec<String>) {
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

/// The saved queries, by name, with their log groups first and their text last.
fn queries() -> BTreeMap<String, (String, Vec<String>, String)> {
    let mut all = BTreeMap::new();
    each("AWS::Logs::QueryDefinition", |name, resource| {
        let properties = resource.get("Properties").unwrap();
        let (mut title, mut groups, mut query) = (Vec::new(), Vec::new(), Vec::new());
        texts(properties.get("Name").unwrap(), &mut title);
        texts(properties.get("LogGroupNames").unwrap(), &mut groups);
        texts(properties.get("QueryString").unwrap(), &mut query);
        let title = title[0].trim_start_matches("${AWS::StackName}/").to_owned();
        all.insert(name.to_owned(), (title, groups, query.concat()));
    });
    all
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
    let saved: BTreeSet<String> = queries().into_values().map(|(title, ..)| title).collect();
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
    for (title, ..) in queries().into_values() {
        assert!(PAGE.contains(&format!("| `{title}` |")), "{title}");
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
    for kind in ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard"] {
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
    let body = texts_of("AWS::CloudWatch::Dashboard")["Dashboard"].concat();
    let body = body.split_once("{\"widgets\"").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(&format!("{{\"widgets\"{}", body.replace("${", "{"))).unwrap();
    for metric in body["widgets"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap())
    {
        if metric[0].as_str().unwrap().starts_with("call-recordings/") {
            shown.push(metric[1].as_str().unwrap().to_owned());
        }
    }
    shown.retain(|name| name != "ExpectedServerErrors");
    let shown: BTreeSet<&str> = shown.iter().map(String::as_str).collect();
    let written: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(shown, written);
}

#[test]
fn one_request_is_found_in_the_logs_of_all_functions_and_of_the_gateway() {
    let groups: BTreeSet<String> = queries()["OneRequestQuery"].1.iter().cloned().collect();
    assert_eq!(groups, names("AWS::Logs::LogGroup"));
    assert!(TEMPLATE.contains(r#"{"requestId":"$context.requestId","#));
}

#[tokio::test]
async fn every_saved_query_uses_fields_that_are_in_the_lines() {
    let stack = TestStack::demo().await;
    process_every_example_event(&stack).await;
    stack
        .post(
            "/api/twilio/transcript/",
            &json!({"recording_sid": "RE00000000000000000000000000000000"}),
        )
        .await;
    stack.put_secret(local::stack::account::TWILIO_SECRET, "broken").await;
    let functions = Functions::from_env(&stack.stack.environment).await.unwrap();
    let deadline = SystemTime::now() + Duration::from_secs(60);
    for function in ["transcription-worker", "index-interaction"] {
        let event = json!({"Records": [{"messageId": "message", "body": "broken"}]});
        functions.deliver(function, event, deadline).await.unwrap().unwrap();
    }
    let event = include_str!("../../../events/list-twilio-recordings.json");
    let failed = functions
        .invoke("list-twilio-recordings", lambda_http::request::from_str(event).unwrap())
        .await;
    assert!(failed.unwrap().status().is_server_error());

    let written = logs::fields();
    let access_log = TEMPLATE.split("Format: >-").nth(1).unwrap().lines().nth(1).unwrap();
    let access_log: serde_json::Value = serde_json::from_str(access_log).unwrap();
    for (name, (_, groups, query)) in queries() {
        let (quoted, plain): (Vec<_>, Vec<_>) = query
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| line.split('"').enumerate())
            .partition(|(position, _)| position % 2 == 1);
        for (_, message) in quoted.iter().filter(|(_, text)| text.contains(' ')) {
            assert!(written.contains(*message), "{name}: {message}");
        }
        let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '@');
        let words = plain.iter().flat_map(|(_, text)| text.split(|letter| !is_part(letter)));
        for field in words.filter(|word| word.contains('.')) {
            assert!(written.contains(field), "{name}: {field}");
        }
        if groups == ["AccessLog"] {
            for field in ["status", "routeKey", "ip", "integrationStatus"] {
                assert!(
                    query.contains(field) && access_log[field].is_string(),
                    "{name}: {field}"
                );
            }
        }
    }
    assert!(access_log["requestId"].is_string() && written.contains("level"));
}
