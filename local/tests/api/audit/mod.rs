//! Who did what: each request writes one item, and does nothing if it can't.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    stack::account,
    standins::{
        tones::{Script, Wav},
        twilio::{Media, Recording},
    },
};
use reqwest::{Method, RequestBuilder};

use crate::{stack::TestStack, webhooks};

mod actors;
mod erased;
mod list;
mod refused;
mod routes;
mod table;

const CALL: &str = "dispatch_1754653479_15103455686";
const NUMBER: &str = "15103455686";
const SID: &str = "RE1234567890abcdef";
/// A Twilio recording that is not in the bucket.
const AT_TWILIO: &str = "RE00000000000000000000000000000055";
const CALL_SID: &str = "CA00000000000000000000000000000055";
/// The demo's share.
const SHARED: &str = "5e7a1b0c9d8f4e6a2b3c1d0e9f8a7b6c";

type Item = BTreeMap<String, String>;

async fn demo_with_keys() -> TestStack {
    TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("RECORDINGS_AUTH".into(), "required".into()));
    })
    .await
}

fn send(stack: &TestStack, method: Method, path: &str) -> RequestBuilder {
    stack.request(method, path).header("X-API-Key", demo::API_KEY)
}

/// All items, oldest first, with their attributes as text. Those of the last use of keys are left out.
async fn items(stack: &TestStack) -> Vec<Item> {
    let scan = stack.aws().dynamodb().scan().table_name(account::AUDIT_TABLE);
    let mut pages = scan.consistent_read(true).into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(item) = pages.next().await {
        let text = |value: AttributeValue| match value {
            AttributeValue::S(text) | AttributeValue::N(text) => text,
            AttributeValue::L(names) => {
                let names: Vec<String> = names.into_iter().map(|name| name.as_s().unwrap().clone()).collect();
                names.join(",")
            }
            other => format!("{other:?}"),
        };
        let item: Item = item
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect();
        if !item["day"].starts_with("key#") {
            found.push(item);
        }
    }
    found.sort_by(|one, other| one["order"].cmp(&other["order"]));
    found
}

/// The attributes of an item that say what was done.
fn done(item: &Item) -> (&str, Option<&str>, Option<&str>) {
    let text = |name: &str| item.get(name).map(String::as_str);
    // What is done with a recording has the call that has it as another attribute.
    (
        item["action"].as_str(),
        text("key_id"),
        text("call").or(text("subject")),
    )
}

/// A recording that Twilio has reported and nobody has copied.
async fn record_at_twilio(stack: &TestStack) {
    let began = Timestamp::now() - SignedDuration::from_mins(90);
    stack.stack.twilio.add_call(CALL_SID, "+15550007000");
    stack.stack.twilio.add(Recording {
        sid: AT_TWILIO.into(),
        call_sid: CALL_SID.into(),
        duration: Some(3),
        start_time: began,
        date_created: began,
        date_updated: began,
        media: Media::Tones(Wav::new(8_000, [Script::spoken(3.0, 2)])),
        ..Recording::default()
    });
    webhooks::recording_completes(stack, CALL_SID, AT_TWILIO, began).await;
}
