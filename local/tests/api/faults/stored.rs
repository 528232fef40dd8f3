//! What is stored of a call, without what differs between two calls: which items with which attributes, and which objects.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use local::stack::account;

use super::{call::Call, lane::Lane};

/// Items and objects of a call, each with its number.
pub(super) type Stored = BTreeMap<String, usize>;

/// Attributes that are there or not depending on the time or on how often something was tried, and are none of the content.
const INCIDENTAL: [&str; 7] = [
    "due_at",
    "due_list",
    // Of a recording that is found by its name, it is read in a second step.
    "etag",
    "expires_at",
    "noted_at",
    "reason",
    "ttl",
];

/// Everything that names the call.
pub(super) async fn stored(lane: &Lane, call: &Call) -> Stored {
    let mut stored = Stored::new();
    let client = lane.stack.aws().dynamodb();
    // The audit has an item of each request, also of one that failed afterwards.
    let tables = account::tables().unwrap().into_iter().map(|(_, table)| table);
    for table in tables.filter(|table| *table != account::AUDIT_TABLE) {
        let mut pages = client.scan().table_name(table).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.unwrap();
            let mut text = String::new();
            for value in item.values() {
                write(value, &mut text);
            }
            if !call.names().iter().any(|name| text.contains(name.as_str())) {
                continue;
            }
            let id = item
                .get("id")
                .or_else(|| item.get("token"))
                .and_then(|id| id.as_s().ok());
            let id = call.anonymous(id.map_or("?", String::as_str));
            let state = item.get("state").and_then(|state| state.as_s().ok());
            let attributes: BTreeSet<&str> = item.keys().map(String::as_str).collect();
            let attributes: Vec<_> = attributes.into_iter().filter(|it| !INCIDENTAL.contains(it)).collect();
            let shape = format!(
                "{table} {id} {} {}",
                state.map_or("", String::as_str),
                attributes.join(",")
            );
            *stored.entry(shape).or_default() += 1;
        }
    }
    let s3 = aws_sdk_s3::Client::from_conf(lane.stack.aws().s3_config());
    let listed = s3.list_objects_v2().bucket(account::BUCKET).send().await.unwrap();
    for object in listed.contents() {
        let key = object.key().unwrap_or_default();
        if call.names().iter().any(|name| key.contains(name.as_str())) {
            let shape = format!("s3 {} {}", call.anonymous(key), object.size().unwrap_or_default());
            *stored.entry(shape).or_default() += 1;
        }
    }
    stored
}

fn write(value: &AttributeValue, text: &mut String) {
    match value {
        AttributeValue::S(string) => {
            text.push_str(string);
            text.push('\n');
        }
        AttributeValue::M(map) => map.values().for_each(|value| write(value, text)),
        AttributeValue::L(list) => list.iter().for_each(|value| write(value, text)),
        AttributeValue::Ss(set) => set.iter().for_each(|it| text.push_str(it)),
        _ => {}
    }
}
