//! Converts items and rows to DynamoDB attributes and back.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    error::CallsError,
    item::{CallItem, ItemState, ListPosition},
    model::Call,
};
use crate::{
    clients::dynamodb::{self, get_number, get_text, number, text},
    ids::digits,
    time::to_millis,
};

/// All attributes of an item, including those of its row.
pub(super) fn attributes(item: &CallItem) -> Result<dynamodb::Item, CallsError> {
    let mut attributes = dynamodb::Item::from([
        ("id".into(), text(&item.id)),
        ("rev".into(), number(item.rev + 1)),
        ("facts".into(), text(&serde_json::to_string(&item.state)?)),
    ]);
    if let Some((phone, unix)) = item.near() {
        attributes.insert("near_number".into(), text(&phone));
        attributes.insert("near_time".into(), number(unix));
    }
    if let Some((call, position)) = item.row() {
        insert_row(&mut attributes, &call)?;
        if let Some(position) = position {
            insert_list_keys(&mut attributes, &call, &position);
        }
    }
    Ok(attributes)
}

fn insert_row(attributes: &mut dynamodb::Item, call: &Call) -> Result<(), CallsError> {
    let twilio = match call.twilio.is_empty() {
        true => None,
        false => Some(serde_json::to_string(&call.twilio)?),
    };
    let texts = [
        ("shown_id", &Some(call.dispatch_id.clone()).filter(|id| !id.is_empty())),
        ("s3_key", &call.s3_key),
        ("recording_id", &call.recording_id),
        ("etag", &call.etag),
        ("interaction_id", &call.interaction_id),
        ("customer_name", &call.customer_name),
        ("phone", &call.phone),
        ("status", &call.status),
        ("outcome", &call.outcome),
        ("start_time", &call.start_time.map(to_millis)),
        ("end_time", &call.end_time.map(to_millis)),
        ("call_sid", &call.call_sid),
        ("recording_error", &call.recording_error),
        ("retain_until", &call.retain_until.map(to_millis)),
        ("twilio", &twilio),
    ];
    attributes.extend(
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), text(value.as_deref()?)))),
    );
    if let Some(hold) = &call.hold {
        let json = serde_json::to_string(hold)?;
        attributes.insert("hold".into(), text(&json));
    }
    let numbers = [("size", call.size), ("duration", call.duration)];
    attributes.extend(
        numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), number(value?)))),
    );
    attributes.insert("has_transcript".into(), AttributeValue::Bool(call.has_transcript));
    Ok(())
}

fn insert_list_keys(attributes: &mut dynamodb::Item, call: &Call, position: &ListPosition) {
    attributes.insert("list_order".into(), text(&position.order));
    attributes.insert("list_kind".into(), text(position.list.name()));
    let partitions = [
        ("list_phone", call.phone.as_deref().map(digits)),
        ("list_interaction", call.interaction_id.clone()),
    ];
    for (name, partition) in partitions {
        if let Some(partition) = partition.filter(|partition| !partition.is_empty()) {
            attributes.insert(name.into(), text(&position.list.partition(&partition)));
        }
    }
}

/// The item from its attributes, without the derived row.
pub(super) fn item_from(attributes: &dynamodb::Item) -> Result<CallItem, CallsError> {
    let state: ItemState = match get_text(attributes, "facts") {
        Some(facts) => serde_json::from_str(&facts)?,
        None => ItemState::default(),
    };
    Ok(CallItem {
        id: get_text(attributes, "id").unwrap_or_default(),
        rev: get_number(attributes, "rev").unwrap_or_default(),
        state,
    })
}

/// A call from the attributes of a row. The indexes do not project `size` and `etag`.
pub(super) fn call_from(mut item: dynamodb::Item) -> Call {
    let number = |name| get_number(&item, name);
    let (size, duration) = (number("size"), number("duration"));
    let has_transcript = matches!(item.get("has_transcript"), Some(AttributeValue::Bool(true)));
    // The strings are moved and not cloned, because a page has hundreds of them.
    let mut text = |name| match item.remove(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    };
    let time = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Call {
        size,
        duration,
        has_transcript,
        item: text("id").unwrap_or_default(),
        dispatch_id: text("shown_id").unwrap_or_default(),
        s3_key: text("s3_key"),
        recording_id: text("recording_id"),
        etag: text("etag"),
        interaction_id: text("interaction_id"),
        customer_name: text("customer_name"),
        phone: text("phone"),
        status: text("status"),
        outcome: text("outcome"),
        start_time: time(text("start_time")),
        end_time: time(text("end_time")),
        call_sid: text("call_sid"),
        recording_error: text("recording_error"),
        retain_until: time(text("retain_until")),
        hold: text("hold").and_then(|text| serde_json::from_str(&text).ok()),
        twilio: text("twilio")
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::calls::Hold;

    #[test]
    fn a_call_is_equal_after_encoding_and_decoding() {
        let call = Call {
            dispatch_id: "dispatch_1754653479_15103455686".into(),
            s3_key: Some("egress-recordings/2025/08/08/x.mp4".into()),
            recording_id: Some("dispatch_1754653481_15103455686".into()),
            size: Some(12),
            etag: Some("abc".into()),
            interaction_id: Some("i".into()),
            customer_name: Some("Louis Smith".into()),
            phone: Some("+15103455686".into()),
            status: Some("COMPLETED".into()),
            outcome: Some("PAYMENT_PROMISED".into()),
            duration: Some(180),
            start_time: "2025-08-08T11:44:39Z".parse().ok(),
            end_time: "2025-08-08T11:47:39Z".parse().ok(),
            call_sid: Some("CA1234567890abcdef".into()),
            recording_error: Some("none".into()),
            has_transcript: true,
            twilio: vec![Default::default()],
            hold: Some(Hold {
                reason: "a dispute".into(),
                by: Some("ops".into()),
                at: Timestamp::UNIX_EPOCH,
            }),
            retain_until: Some(Timestamp::UNIX_EPOCH),
            item: String::new(),
        };
        let mut item = dynamodb::Item::new();
        insert_row(&mut item, &call).unwrap();
        assert_eq!(call_from(item), call);
    }
}
