//! Interactions, parsed from the JSON of events, requests and files.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{
    item::{Items, entry, is_listable},
    item_id,
    observations::Timestamped,
};
use crate::{
    ids::DispatchId,
    time::{DateInput, to_millis},
};

/// The maximum length of a text field in bytes.
const MAX_TEXT_BYTES: usize = 1000;
/// The accepted names that are not a [`Field`].
const OTHER_NAMES: [&str; 3] = ["interaction_id", "dispatch_id", "updated_at"];

/// A report about an interaction, with any of its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Interaction {
    /// The interaction's id.
    pub interaction_id: Option<String>,
    /// The dispatch that made the call.
    pub dispatch_id: Option<DispatchId>,
    /// The reported fields. `None` clears a field; a field that is not in the map keeps its value. Values are strings, or a number for
    /// `duration`.
    pub fields: BTreeMap<Field, Option<Value>>,
    /// The time of the report. Of two reports of a field the newer one counts, in whatever order they arrive.
    pub at: Timestamp,
}

impl Interaction {
    /// Ids of the items of this report: first the dispatch, if it is known, then the interaction.
    pub(super) fn ids(&self) -> Vec<String> {
        let dispatch = self.dispatch_id.as_ref().map(DispatchId::to_string);
        dispatch
            .into_iter()
            .chain(self.interaction_id.as_deref().map(item_id::interaction))
            .collect()
    }

    /// Merges the report into its items.
    pub(super) fn apply(&self, items: &mut Items) {
        let ids = self.ids();
        let Some(target) = ids.first() else { return };
        let timestamped = |value: Option<Value>| Timestamped {
            at: self.at,
            value: value.unwrap_or(Value::Null),
        };
        let own = &mut entry(items, target).state.own;
        own.reported_at(self.at);
        if let Some(id) = &self.interaction_id {
            own.report("interaction_id", &timestamped(Some(id.as_str().into())));
        }
        for (field, value) in &self.fields {
            own.report(field.name(), &timestamped(value.clone()));
        }
        if let [dispatch, interaction] = &ids[..] {
            entry(items, interaction).state.own.belongs_to(dispatch, self.at);
        }
    }
}

/// The fields of a call that a report can contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Field {
    CustomerName,
    Phone,
    Status,
    Outcome,
    Duration,
    StartTime,
    EndTime,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 7] = [
        Self::CustomerName,
        Self::Phone,
        Self::Status,
        Self::Outcome,
        Self::Duration,
        Self::StartTime,
        Self::EndTime,
    ];

    /// The field's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomerName => "customer_name",
            Self::Phone => "phone",
            Self::Status => "status",
            Self::Outcome => "outcome",
            Self::Duration => "duration",
            Self::StartTime => "start_time",
            Self::EndTime => "end_time",
        }
    }
}

impl Interaction {
    /// Parses a JSON object with the fields of the list, `interaction_id` or `dispatch_id` or both, and `updated_at` (default: `now`). A `null`
    /// clears the field. The error is a sentence for the sender.
    pub fn from_json(object: &Map<String, Value>, now: Timestamp) -> Result<Self, String> {
        let text = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= MAX_TEXT_BYTES => {
                Ok(Some(Cow::from(text)).filter(|text| !text.is_empty()))
            }
            // Spreadsheets and databases have numbers where they show digits.
            Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string().into())),
            Some(_) => Err(format!(
                "{name} must be text of at most {MAX_TEXT_BYTES} bytes, or a whole number."
            )),
        };
        let moment = |name: &str| {
            let moment = match object.get(name) {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::String(text)) if text.is_empty() => return Ok(None),
                Some(Value::String(text)) => match DateInput::parse(text) {
                    Some(DateInput::Moment(moment)) => Some(moment),
                    Some(DateInput::Day(_)) => None,
                    None => from_epoch(text),
                },
                Some(Value::Number(number)) => from_epoch(&number.to_string()),
                Some(_) => None,
            };
            match moment.filter(|moment| is_listable(*moment)) {
                Some(moment) => Ok(Some(moment)),
                None => Err(format!(
                    "{name} must be an ISO 8601 date-time, such as 2025-08-08T11:44:39Z, or the seconds or milliseconds since 1970."
                )),
            }
        };
        let interaction_id = match text("interaction_id")? {
            Some(id) if id.len() > 256 || id.contains('#') => {
                return Err("interaction_id must have at most 256 bytes, and no # among them.".into());
            }
            id => id.map(Cow::into_owned),
        };
        let dispatch_id = match text("dispatch_id")? {
            None => None,
            Some(id) => {
                let id = DispatchId::parse(&id);
                Some(id.ok_or_else(|| format!("dispatch_id must be {}.", DispatchId::EXPECTED))?)
            }
        };
        if interaction_id.is_none() && dispatch_id.is_none() {
            return Err("interaction_id or dispatch_id is required.".into());
        }
        let at = moment("updated_at")?.unwrap_or(now);
        if at > now + SignedDuration::from_hours(24) {
            return Err("updated_at must not lie more than a day ahead.".into());
        }
        let mut fields = BTreeMap::new();
        for field in Field::ALL {
            let name = field.name();
            if !object.contains_key(name) {
                continue;
            }
            let value = match field {
                Field::Duration => match &object[name] {
                    Value::Null => None,
                    value => {
                        let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok());
                        let seconds = seconds.map(f64::round);
                        let seconds = seconds.filter(|seconds| (0.0..=f64::from(u32::MAX)).contains(seconds));
                        let seconds = seconds.ok_or("duration must be a number of seconds, 0 to 4294967295.")?;
                        Some((seconds as u32).into())
                    }
                },
                Field::StartTime | Field::EndTime => moment(name)?.map(|time| to_millis(time).into()),
                Field::Phone if text(name)?.as_deref().is_some_and(is_rounded) => {
                    return Err("phone has lost digits: a spreadsheet wrote it as a rounded number, such as 1.51035E+10. Format the column as text.".into());
                }
                _ => text(name)?.map(Value::from),
            };
            fields.insert(field, value);
        }
        Ok(Self {
            interaction_id,
            dispatch_id,
            fields,
            at,
        })
    }

    /// The same with its phone number spelled by `spell`.
    pub fn with_phone(mut self, spell: impl FnOnce(&str) -> String) -> Self {
        if let Some(Some(Value::String(phone))) = self.fields.get_mut(&Field::Phone) {
            *phone = spell(phone);
        }
        self
    }

    /// The first name in the object that [`Interaction::from_json`] does not know.
    pub fn unknown(object: &Map<String, Value>) -> Option<&str> {
        let is_known = |name: &str| OTHER_NAMES.contains(&name) || Field::ALL.iter().any(|field| field.name() == name);
        object.keys().map(String::as_str).find(|name| !is_known(name))
    }
}

/// The time of seconds or milliseconds since 1970, between 1973 and the year 5138 in seconds.
fn from_epoch(number: &str) -> Option<Timestamp> {
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| is_number)?;
    let millis = match number {
        1e8..1e11 => number * 1000.0,
        1e11..1e15 => number,
        _ => return None,
    };
    Timestamp::from_millisecond(millis.round() as i64).ok()
}

/// Whether a number is in scientific notation, as spreadsheets write long numbers.
fn is_rounded(phone: &str) -> bool {
    phone.contains(['e', 'E']) && phone.replace(',', ".").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2025-08-08T13:00:00Z".parse().unwrap()
    }

    fn read(value: Value) -> Result<Interaction, String> {
        Interaction::from_json(value.as_object().unwrap(), now())
    }

    #[test]
    fn a_phone_number_that_a_spreadsheet_rounded_is_rejected() {
        let reported = |phone: &str| {
            let object = json!({"dispatch_id": "d", "phone": phone});
            Interaction::from_json(object.as_object().unwrap(), now())
        };
        for phone in ["1.51035E+10", "1,51035E+10", "4e11"] {
            assert!(
                reported(phone).unwrap_err().starts_with("phone has lost digits"),
                "{phone}"
            );
        }
        for phone in ["+15103455686", "15103455686 ext. 3", "sip:agent-7@example.com"] {
            assert!(reported(phone).is_ok(), "{phone}");
        }
    }

    #[test]
    fn an_id_and_any_one_field_are_enough() {
        let read_back = read(json!({
            "interaction_id": "i", "dispatch_id": "dispatch_1_2", "duration": "180", "start_time": "2025-08-08T11:44:39Z",
            "outcome": null, "updated_at": "2025-08-08T12:00:00Z", "something": 1,
        }))
        .unwrap();
        assert_eq!(read_back.fields[&Field::Duration], Some(180.into()));
        assert_eq!(
            read_back.fields[&Field::StartTime],
            Some("2025-08-08T11:44:39.000Z".into())
        );
        assert_eq!(read_back.fields[&Field::Outcome], None);
        assert_eq!((read_back.fields.len(), read_back.at.as_second()), (3, 1_754_654_400));
        let bare = read(json!({"interaction_id": "i"})).unwrap();
        assert_eq!((bare.fields.len(), bare.at), (0, now()));
    }

    #[test]
    fn numbers_are_read_where_text_and_times_are_expected() {
        let read_back = read(json!({"interaction_id": 4711, "phone": 15_103_455_603_u64, "status": 3})).unwrap();
        assert_eq!(read_back.interaction_id.as_deref(), Some("4711"));
        assert_eq!(read_back.fields[&Field::Phone], Some("15103455603".into()));
        assert_eq!(read_back.fields[&Field::Status], Some("3".into()));
        for (time, expected) in [
            (json!(1_754_654_400), "2025-08-08T12:00:00.000Z"),
            (json!(1_754_654_400_123_u64), "2025-08-08T12:00:00.123Z"),
            (json!(1_754_654_400.5), "2025-08-08T12:00:00.500Z"),
            (json!("1754654400"), "2025-08-08T12:00:00.000Z"),
            (json!("1754654400123"), "2025-08-08T12:00:00.123Z"),
        ] {
            let read_back = read(json!({"dispatch_id": "d", "start_time": time, "updated_at": time})).unwrap();
            assert_eq!(read_back.fields[&Field::StartTime], Some(expected.into()));
            assert_eq!(to_millis(read_back.at), expected);
        }
        for (duration, seconds) in [
            (json!(12.6), 13),
            (json!("12.4"), 12),
            (json!(0.0), 0),
            (json!("180"), 180),
        ] {
            let read_back = read(json!({"dispatch_id": "d", "duration": duration})).unwrap();
            assert_eq!(read_back.fields[&Field::Duration], Some(seconds.into()), "{duration}");
        }
    }

    #[test]
    fn the_error_names_the_invalid_field() {
        for (value, name) in [
            (json!({"status": "COMPLETED"}), "interaction_id or dispatch_id"),
            (json!({"interaction_id": "a#b"}), "interaction_id"),
            (json!({"interaction_id": 1.5}), "interaction_id"),
            (json!({"interaction_id": -1}), "interaction_id"),
            (json!({"interaction_id": true}), "interaction_id"),
            (json!({"dispatch_id": "a", "phone": 1.51035e10}), "phone"),
            (json!({"dispatch_id": "a/b"}), "dispatch_id"),
            (json!({"dispatch_id": "a", "duration": -1}), "duration"),
            (json!({"dispatch_id": "a", "duration": 4_294_967_296_u64}), "duration"),
            (json!({"dispatch_id": "a", "duration": "NaN"}), "duration"),
            (json!({"dispatch_id": "a", "duration": "2:30"}), "duration"),
            (json!({"dispatch_id": "a", "start_time": 20250808}), "start_time"),
            (json!({"dispatch_id": "a", "start_time": "20250808"}), "start_time"),
            (json!({"dispatch_id": "a", "start_time": 1e18}), "start_time"),
            (json!({"dispatch_id": "a", "start_time": -1754654400}), "start_time"),
            (json!({"dispatch_id": "a", "start_time": "2025-08-08"}), "start_time"),
            (json!({"dispatch_id": "a", "end_time": "soon"}), "end_time"),
            (json!({"dispatch_id": "a", "updated_at": 5}), "updated_at"),
            (
                json!({"dispatch_id": "a", "updated_at": "2025-08-10T00:00:00Z"}),
                "updated_at",
            ),
            (json!({"dispatch_id": "a", "status": "x".repeat(1001)}), "status"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(name), "{value}: {error}");
        }
        let unknown = json!({"dispatch_id": "a", "state": "x"});
        assert_eq!(Interaction::unknown(unknown.as_object().unwrap()), Some("state"));
    }
}
