//! Upgrades of a deployment: no table is replaced, and `reindex` updates a table of version 0.1.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use clap::Parser;
use jiff::Timestamp;
use local::{cli::reindex::Reindex, stack::account, template::TEMPLATE};
use saphyr::{LoadableYamlNode, Yaml};
use shared::{
    calls::{Calls, Field, Interaction},
    ids::DispatchId,
    time::to_millis,
};

use crate::stack::TestStack;

/// Attribute, type and kind.
type Key = (&'static str, &'static str, &'static str);

/// The logical name and the keys of each table. CloudFormation replaces a table if one of these changes, and all its data is lost: add entries
/// here, but never change one.
const TABLES: [(&str, &[Key]); 5] = [
    ("AuditTable", &[("day", "S", "HASH"), ("order", "S", "RANGE")]),
    ("CallsTable", &[("id", "S", "HASH")]),
    ("LifecycleTable", &[("id", "S", "HASH")]),
    ("SharesTable", &[("id", "S", "HASH"), ("item", "S", "RANGE")]),
    ("TranscriptsTable", &[("id", "S", "HASH")]),
];
/// The indexes of the calls table in version 0.1.
const RELEASED_INDEXES: [&str; 4] = ["by-day", "by-interaction", "by-number", "by-phone"];

fn text<'a>(node: &'a Yaml<'_>, name: &str) -> &'a str {
    node[name].as_str().unwrap()
}

/// The properties of each table of the template, by logical name.
fn tables<'a>(template: &'a Yaml<'_>) -> BTreeMap<&'a str, &'a Yaml<'a>> {
    let resources = template["Resources"].as_mapping().unwrap();
    let tables = resources
        .iter()
        .filter(|(_, resource)| text(resource, "Type") == "AWS::DynamoDB::Table");
    tables.map(|(name, table)| (name.as_str().unwrap(), table)).collect()
}

#[test]
fn a_deploy_replaces_no_table() {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    let tables = tables(&documents[0]);
    let recorded: BTreeSet<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    let missing: Vec<_> = recorded.iter().filter(|name| !tables.contains_key(**name)).collect();
    assert!(
        missing.is_empty(),
        "a deployed table is missing in the template: {missing:?}"
    );
    for (name, table) in tables {
        let properties = &table["Properties"];
        let types: HashMap<&str, &str> = properties["AttributeDefinitions"]
            .as_sequence()
            .unwrap()
            .iter()
            .map(|attribute| (text(attribute, "AttributeName"), text(attribute, "AttributeType")))
            .collect();
        let keys: Vec<_> = properties["KeySchema"]
            .as_sequence()
            .unwrap()
            .iter()
            .map(|key| {
                (
                    text(key, "AttributeName"),
                    types[text(key, "AttributeName")],
                    text(key, "KeyType"),
                )
            })
            .collect();
        let recorded = TABLES.iter().find(|(recorded, _)| *recorded == name);
        let recorded = recorded.unwrap_or_else(|| panic!("record the new table {name} in TABLES"));
        assert_eq!(keys, recorded.1, "{name} would be replaced");
        // CloudFormation can't replace a table with an explicit name. DeletionPolicy keeps a table whose resource is removed.
        assert!(
            properties
                .as_mapping()
                .unwrap()
                .iter()
                .all(|(key, _)| key.as_str() != Some("TableName")),
            "{name}"
        );
        assert_eq!(
            (text(table, "DeletionPolicy"), text(table, "UpdateReplacePolicy")),
            ("Retain", "Retain"),
            "{name}"
        );
        assert_eq!(properties["DeletionProtectionEnabled"].as_bool(), Some(true), "{name}");
    }
}

#[test]
fn an_upgrade_creates_or_deletes_at_most_one_index() {
    let documents = Yaml::load_from_str(TEMPLATE).unwrap();
    let calls = tables(&documents[0])["CallsTable"];
    let indexes = calls["Properties"]["GlobalSecondaryIndexes"].as_sequence().unwrap();
    let now: BTreeSet<&str> = indexes.iter().map(|index| text(index, "IndexName")).collect();
    let changed: Vec<_> = now
        .symmetric_difference(&BTreeSet::from(RELEASED_INDEXES))
        .copied()
        .collect();
    assert!(changed.len() <= 1, "CloudFormation refuses more than one: {changed:?}");
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    reindex: Reindex,
}

fn reindex(arguments: &[&str]) -> Reindex {
    Options::parse_from([&["reindex"], arguments].concat()).reindex
}

async fn add(calls: &Calls, number: i64, outcome: &str) {
    let start = Timestamp::from_second(1_754_653_479 + 3600 * number).unwrap();
    let reported = Interaction {
        interaction_id: Some(format!("i-{number}")),
        dispatch_id: DispatchId::parse(&format!("dispatch_{}_15103455686", start.as_second())),
        fields: BTreeMap::from([
            (Field::StartTime, Some(to_millis(start).into())),
            (Field::Outcome, Some(outcome.into())),
        ]),
        at: start,
    };
    calls.record_interaction(&reported).await.unwrap();
}

/// Every item of the table, by id.
async fn items(client: &aws_sdk_dynamodb::Client) -> BTreeMap<String, HashMap<String, AttributeValue>> {
    let scan = client.scan().table_name(account::CALLS_TABLE).send().await.unwrap();
    let items = scan.items.unwrap_or_default().into_iter();
    items.map(|item| (item["id"].as_s().unwrap().clone(), item)).collect()
}

#[tokio::test]
async fn reindex_lists_the_calls_of_version_0_1_and_deletes_its_counters() {
    let stack = TestStack::empty().await;
    let (calls, client) = (stack.calls(), stack.aws().dynamodb());
    for number in 0..5 {
        add(&calls, number, "PAYMENT_PROMISED").await;
    }
    let path = "/recordings?has_recording=false&limit=100";
    let listed = stack.get(path).await.body["recordings"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 5);
    let written = items(&client).await;

    // Items in the format of version 0.1.
    for (id, item) in &written {
        let mut old = item.clone();
        if old.remove("list_kind").is_some() {
            let order = item["list_order"].as_s().unwrap();
            old.insert(
                "list_day".into(),
                AttributeValue::S(format!("missing#{}", &order[..10])),
            );
        }
        if !id.starts_with("dirty#") {
            client
                .put_item()
                .table_name(account::CALLS_TABLE)
                .set_item(Some(old))
                .send()
                .await
                .unwrap();
        }
    }
    for counters in ["counts#", "counts#missing#2025-08", "counts#missing#2025-08-08T11"] {
        let put = client.put_item().table_name(account::CALLS_TABLE);
        let put = put.item("id", AttributeValue::S(counters.into()));
        put.item("08", AttributeValue::N("5".into())).send().await.unwrap();
    }
    assert_eq!(stack.get(path).await.body["recordings"], serde_json::json!([]));

    let done = reindex(&[]).run_with(&calls, |_, _| {}).await.unwrap();
    assert_eq!((done.rebuilt, done.deleted), (5, 3));
    assert_eq!(stack.get(path).await.body["recordings"], listed);
    let rebuilt = items(&client).await;
    assert_eq!(rebuilt.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (id, item) in &rebuilt {
        let (mut item, mut before) = (item.clone(), written[id].clone());
        let revs = (before.remove("rev"), item.remove("rev"));
        let is_row = item.contains_key("list_kind") && !id.starts_with("dirty#");
        assert!(!is_row || revs.0 != revs.1, "writers see that {id} was changed");
        assert_eq!(item, before, "{id}");
    }

    let again = reindex(&[]).run_with(&calls, |_, _| {}).await.unwrap();
    assert_eq!((again.rebuilt, again.deleted), (0, 0));
    // Writers change the items afterwards as usual.
    add(&calls, 0, "NO_ANSWER").await;
    assert_eq!(
        stack.get(&format!("{path}&outcome=NO_ANSWER")).await.body["recordings"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn reindex_continues_from_the_key_that_it_printed() {
    let stack = TestStack::empty().await;
    let calls = stack.calls();
    // More than 1 MB, the size of a page.
    for number in 0..40 {
        add(&calls, 13 * number, &"x".repeat(30_000)).await;
    }
    let mut keys = Vec::new();
    let all = reindex(&[])
        .run_with(&calls, |_, key| keys.push(key.to_owned()))
        .await
        .unwrap();
    assert!(!keys.is_empty(), "{all:?}");
    let rest = reindex(&["--start-key", &keys[0]])
        .run_with(&calls, |_, _| {})
        .await
        .unwrap();
    assert!(rest.read > 0 && rest.read < all.read, "{rest:?} of {all:?}");
}

#[tokio::test]
async fn reindex_with_concurrent_writers_loses_no_change() {
    let stack = TestStack::empty().await;
    let calls = stack.calls();
    for number in 0..10 {
        add(&calls, number, "OLD").await;
    }
    let client = stack.aws().dynamodb();
    for item in items(&client)
        .await
        .into_values()
        .filter(|item| item.contains_key("list_kind"))
    {
        let mut old = item;
        old.remove("list_kind");
        client
            .put_item()
            .table_name(account::CALLS_TABLE)
            .set_item(Some(old))
            .send()
            .await
            .unwrap();
    }
    let writers = async {
        for number in 0..10 {
            let start = Timestamp::from_second(1_754_653_479 + 3600 * number).unwrap();
            let reported = Interaction {
                interaction_id: None,
                dispatch_id: DispatchId::parse(&format!("dispatch_{}_15103455686", start.as_second())),
                fields: BTreeMap::from([(Field::Outcome, Some("NEW".into()))]),
                at: start + jiff::SignedDuration::from_secs(1),
            };
            calls.record_interaction(&reported).await.unwrap();
        }
    };
    let run = reindex(&[]);
    let (done, ()) = tokio::join!(run.run_with(&calls, |_, _| {}), writers);
    done.unwrap();
    let body = stack
        .get("/recordings?has_recording=false&limit=100&outcome=NEW")
        .await
        .body;
    assert_eq!(body["recordings"].as_array().unwrap().len(), 10);
}
