//! JSON from queues, EventBridge and Twilio's API: events of S3, reports of interactions, messages of the queues, and answers of Twilio.

#![no_main]
#![allow(dead_code)]

// The events are private to their function.
#[path = "../../../functions/index-recording/src/event.rs"]
mod event;

use event::ObjectEvent;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use shared::{
    batch::Batch,
    calls::{Field, Interaction},
    clients::{
        queue::{CopyMessage, ErasureMessage, Job},
        twilio::{PageQuery, Recording},
    },
    time::to_millis,
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = serde_json::from_str::<Batch>(text);
    objects(text);
    message::<Job>(text);
    message::<CopyMessage>(text);
    message::<ErasureMessage>(text);
    interaction(text);
    twilio(text);
});

/// Both formats of S3 events name the same object.
fn objects(text: &str) {
    let Ok(events) = ObjectEvent::parse(text) else { return };
    for ObjectEvent { bucket, key, sequencer } in events {
        let encoded: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let detail = |key: &str| json!({"bucket": {"name": bucket}, "object": {"key": key, "sequencer": sequencer}});
        let bridge = json!({"detail": detail(&key)}).to_string();
        let notification = json!({"Records": [{"s3": detail(&encoded)}]}).to_string();
        let bridge = ObjectEvent::parse(&bridge).expect("an event");
        assert_eq!(bridge, ObjectEvent::parse(&notification).expect("a notification"));
        assert_eq!(bridge, [ObjectEvent { bucket, key, sequencer }]);
    }
}

/// A message that was read is sent as it was received.
fn message<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(message) = serde_json::from_str::<T>(text) else {
        return;
    };
    let sent = serde_json::to_string(&message).expect("JSON");
    assert_eq!(serde_json::from_str::<T>(&sent).expect("a message"), message);
}

/// A report that was read says the same when it is written again.
fn interaction(text: &str) {
    let Ok(object) = serde_json::from_str::<Map<String, Value>>(text) else {
        return;
    };
    let object = match object.get("detail") {
        Some(Value::Object(detail)) => detail.clone(),
        _ => object,
    };
    Interaction::unknown(&object);
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let Ok(report) = Interaction::from_json(&object, now) else {
        return;
    };
    assert!(report.interaction_id.is_some() || report.dispatch_id.is_some());
    let mut written = Map::new();
    written.insert("interaction_id".to_owned(), json!(report.interaction_id));
    written.insert("dispatch_id".to_owned(), json!(report.dispatch_id));
    written.insert("updated_at".to_owned(), to_millis(report.at).into());
    for (field, value) in &report.fields {
        assert!(Field::ALL.contains(field));
        written.insert(field.name().to_owned(), value.clone().unwrap_or_default());
    }
    let again = Interaction::from_json(&written, now).expect("a report");
    assert_eq!(
        (&again.interaction_id, &again.dispatch_id, &again.fields),
        (&report.interaction_id, &report.dispatch_id, &report.fields)
    );
    assert_eq!(to_millis(again.at), to_millis(report.at));
}

/// A page of Twilio's list leads to no other resource of Twilio's, and to no other host.
fn twilio(text: &str) {
    let _ = serde_json::from_str::<Vec<Recording>>(text);
    let _ = serde_json::from_str::<Recording>(text);
    let Some(page) = PageQuery::parse(text) else { return };
    assert_eq!(page.as_str(), text);
    let resource = "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings.json";
    let url = reqwest::Url::parse(&format!("{resource}?{}", page.as_str())).expect("a URL");
    assert_eq!(
        (url.host_str(), url.path(), url.fragment()),
        (Some("api.twilio.com"), "/2010-04-01/Accounts/AC1/Recordings.json", None)
    );
}
