//! Rules for the deployed system that no local service enforces, checked in `template.yaml`.

use std::collections::BTreeSet;

use local::template::TEMPLATE;
use saphyr::{LoadableYamlNode, Mapping, SafelyIndex, Yaml};

/// All mappings below a node, behind `!If` and other tags, too.
fn mappings<'a>(node: &'a Yaml<'a>, found: &mut Vec<&'a Mapping<'a>>) {
    match node {
        Yaml::Mapping(mapping) => {
            found.push(mapping);
            mapping.values().for_each(|value| mappings(value, found));
        }
        Yaml::Sequence(items) => items.iter().for_each(|item| mappings(item, found)),
        Yaml::Tagged(_, inner) => mappings(inner, found),
        _ => {}
    }
}

fn text<'a>(mapping: &'a Mapping<'a>, name: &str) -> Option<&'a str> {
    let entry = mapping.iter().find(|(key, _)| key.as_str() == Some(name));
    let value = entry?.1;
    match value {
        Yaml::Tagged(_, inner) => inner.as_str(),
        value => value.as_str(),
    }
}

fn has(mapping: &Mapping<'_>, name: &str) -> bool {
    mapping.keys().any(|key| key.as_str() == Some(name))
}

/// Calls `check` with the name of each resource and all mappings in it.
fn for_each_resource(check: impl Fn(&str, &[&Mapping<'_>])) {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    let resources = documents[0].get("Resources").and_then(Yaml::as_mapping).unwrap();
    assert!(resources.len() > 50);
    for (name, resource) in resources {
        let mut found = Vec::new();
        mappings(resource, &mut found);
        check(name.as_str().unwrap(), &found);
    }
}

/// The same for each function and its role together.
fn for_each_function(check: impl Fn(&str, &[&Mapping<'_>])) {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    let resources = documents[0].get("Resources").unwrap();
    for_each_resource(|name, found| {
        let Some(role) = resources.get(format!("{name}Role").as_str()) else {
            return;
        };
        let mut found = found.to_vec();
        mappings(role, &mut found);
        check(name, &found);
    });
}

fn statements<'a, 'b>(found: &'b [&'a Mapping<'a>]) -> impl Iterator<Item = &'b &'a Mapping<'a>> {
    found.iter().filter(|mapping| text(mapping, "Effect") == Some("Allow"))
}

/// The action or the actions of a statement.
fn actions<'a>(statement: &'a Mapping<'a>) -> BTreeSet<&'a str> {
    let found = statement.iter().find(|(key, _)| key.as_str() == Some("Action"));
    let actions = found.map(|(_, actions)| actions);
    let one = actions.and_then(Yaml::as_str);
    let many = actions.and_then(Yaml::as_sequence).into_iter().flatten();
    one.into_iter().chain(many.filter_map(Yaml::as_str)).collect()
}

#[test]
fn a_burst_of_messages_cannot_take_all_concurrency_of_the_account() {
    for_each_resource(|name, found| {
        for source in found.iter().filter(|it| text(it, "Type") == Some("SQS")) {
            let properties = source.iter().find(|(key, _)| key.as_str() == Some("Properties"));
            let scaling = properties.and_then(|(_, properties)| properties.get("ScalingConfig"));
            // A queue of a destination has no properties.
            let is_source = has(source, "Properties");
            assert_eq!(
                scaling.and_then(|scaling| scaling.get("MaximumConcurrency")).is_some(),
                is_source,
                "{name}"
            );
        }
        if name == "ReconcileRecordingsFunction" {
            assert!(found.iter().any(|it| has(it, "ReservedConcurrentExecutions")));
        }
    });
}

#[test]
fn whoever_may_read_recordings_may_decrypt_them_with_the_buckets_key() {
    for_each_resource(|name, found| {
        let reads = statements(found).filter(|it| text(it, "Action") == Some("s3:GetObject"));
        let decrypts: Vec<_> = statements(found)
            .filter(|it| text(it, "Action") == Some("kms:Decrypt"))
            .collect();
        assert_eq!(reads.count(), decrypts.len(), "{name}");
        for statement in decrypts {
            assert_eq!(text(statement, "Resource"), Some("RecordingsKmsKeyArn"), "{name}");
            assert!(has(statement, "Condition"), "{name}: only through S3");
        }
    });
}

#[test]
fn no_statement_of_the_template_allows_all_actions_or_all_resources() {
    for_each_resource(|name, found| {
        for statement in statements(found) {
            // X-Ray has no resources.
            let is_tracing = text(statement, "Sid") == Some("SendTraces");
            assert!(is_tracing || text(statement, "Resource") != Some("*"), "{name}");
            let actions = actions(statement);
            assert!(
                !actions.is_empty() && actions.iter().all(|action| !action.contains('*')),
                "{name}: {actions:?}"
            );
        }
    });
}

#[test]
fn deleting_the_stack_keeps_the_record_of_who_called() {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert_eq!(
            documents[0]["Resources"]["AccessLog"][policy].as_str(),
            Some("Retain"),
            "{policy}"
        );
    }
}

/// Lambda ends a chain of messages after 16 invocations, unless the function says `RecursiveLoop: Allow`.
#[test]
fn exactly_the_functions_that_send_to_their_own_queue_allow_recursive_loops() {
    for_each_function(|name, found| {
        let received: Vec<_> = found.iter().filter_map(|it| text(it, "Queue")).collect();
        let sends = statements(found).filter(|it| actions(it).contains("sqs:SendMessage"));
        let has_loop = sends
            .filter_map(|it| text(it, "Resource"))
            .any(|queue| received.contains(&queue));
        let is_allowed = found.iter().any(|it| text(it, "RecursiveLoop") == Some("Allow"));
        assert_eq!(is_allowed, has_loop, "{name}");
        let expected = [
            "ArchiveRecordingFunction",
            "EraseRecordingFunction",
            "TranscriptionWorkerFunction",
        ]
        .contains(&name);
        assert_eq!(has_loop, expected, "{name}");
    });
}

#[test]
fn a_function_that_signs_is_deployed_anew_with_each_key_of_the_signer() {
    let mut signing = 0;
    for line in TEMPLATE
        .lines()
        .filter(|line| line.trim_start().starts_with("SIGNER_SECRET: "))
    {
        // The reference to the secret lets CloudFormation update it first, and the key's id changes with the key.
        assert_eq!(line.trim(), "SIGNER_SECRET: !If [HasSigner, !Ref SignerSecret, '']");
        signing += 1;
    }
    let ids = TEMPLATE
        .matches("          SIGNER_KEY_ID: !If [HasSigner, !Ref SignerKey, '']\n")
        .count();
    assert!(signing >= 3);
    assert_eq!(ids, signing);
}
