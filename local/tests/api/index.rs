//! The index of calls: random histories compared with a simple model, and concurrent writers on a table with faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use local::{demo, stack::account, standins::twilio};
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};
use serde_json::{Value, json};
use shared::{
    calls::{
        Call, Calls, CallsError, Field, Interaction, ListFilter, ListOrder, ListStart, RecordingKey, TwilioRecording,
    },
    clients::{bucket::ObjectInfo, livekit::FailedEgress, twilio::RecordingStatus},
    config::Env,
    ids::DispatchId,
    names::RecordingName,
    time::to_millis,
};

use crate::stack::{TestStack, serve};

const PHONES: [&str; 2] = ["15103455686", "14155550123"];

/// The calls, interactions and recordings of one history.
#[derive(Debug, Clone)]
struct World {
    /// Phone and time.
    dispatches: Vec<(usize, i64)>,
    interactions: Vec<(usize, i64)>,
    files: Vec<(usize, i64)>,
    failures: Vec<(usize, i64)>,
    calls: Vec<TwilioCall>,
}

#[derive(Debug, Clone)]
struct TwilioCall {
    phone: Option<usize>,
    time: i64,
    dispatch: Option<usize>,
}

#[derive(Debug, Clone)]
enum Change {
    Reported {
        dispatch: Option<usize>,
        interaction: Option<usize>,
        field: usize,
        value: Option<u8>,
        at: i64,
    },
    File(usize, bool),
    Failed(usize),
    Twilio(usize, bool),
}

/// A change, the number of changes after which its event arrives, and how often the event arrives.
type Step = (Change, usize, usize);

fn world() -> impl Strategy<Value = World> {
    let place = || (0..2_usize, prop_oneof![0..40_i64, 0..700_i64]);
    let call = (
        proptest::option::of(0..2_usize),
        -70..720_i64,
        proptest::option::weighted(0.2, 0..4_usize),
    );
    let call = call.prop_map(|(phone, time, dispatch)| TwilioCall { phone, time, dispatch });
    (
        proptest::collection::vec(place(), 1..5),
        proptest::collection::vec(place(), 0..3),
        proptest::collection::vec(place(), 1..5),
        proptest::collection::vec(place(), 0..3),
        proptest::collection::vec(call, 0..4),
    )
        .prop_map(|(dispatches, interactions, files, failures, calls)| World {
            dispatches,
            interactions,
            files,
            failures,
            calls,
        })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reported = (
        proptest::option::of(0..4_usize),
        proptest::option::of(0..3_usize),
        0..4_usize,
        proptest::option::weighted(0.9, 0..3_u8),
        0..9_i64,
    );
    let reported = reported.prop_map(|(dispatch, interaction, field, value, at)| Change::Reported {
        dispatch,
        interaction,
        field,
        value,
        at,
    });
    let change = prop_oneof![
        3 => reported,
        4 => (0..4_usize, prop::bool::weighted(0.75)).prop_map(|(file, there)| Change::File(file, there)),
        1 => (0..2_usize).prop_map(Change::Failed),
        2 => (0..3_usize, any::<bool>()).prop_map(|(call, completed)| Change::Twilio(call, completed)),
    ];
    proptest::collection::vec((change, 0..6_usize, 0..3_usize), 1..24)
}

/// The world of a history, with ids and keys.
struct Names {
    world: World,
    base: i64,
}

impl Names {
    fn dispatch(&self, index: usize) -> (usize, i64, String) {
        let (phone, time) = self.world.dispatches[index % self.world.dispatches.len()];
        let time = self.base + time;
        (phone, time, format!("dispatch_{time}_{}", PHONES[phone]))
    }

    fn interaction(&self, index: usize) -> Option<usize> {
        (!self.world.interactions.is_empty()).then(|| index % self.world.interactions.len())
    }

    fn key(&self, index: usize) -> (usize, i64, String) {
        let (phone, time) = self.world.files[index % self.world.files.len()];
        let time = self.base + time;
        let day = day(time).strftime("%Y/%m/%d").to_string();
        let key = format!("egress-recordings/{day}/outbound-{}_{time}.mp4", PHONES[phone]);
        (phone, time, key)
    }
}

fn day(unix: i64) -> Date {
    TimeZone::UTC.to_datetime(Timestamp::from_second(unix).unwrap()).date()
}

fn call_sid(call: usize) -> String {
    format!("CA{call:032x}")
}

fn recording_sid(call: usize) -> String {
    format!("RE{call:032x}")
}

/// The final state of the world, and the values that were reported.
#[derive(Default)]
struct Model {
    /// The newest value of each field, by item.
    fields: BTreeMap<String, BTreeMap<&'static str, (i64, Value)>>,
    /// The time of the first report, by item.
    first: BTreeMap<String, i64>,
    dispatches: BTreeSet<String>,
    /// The declared dispatch of each interaction.
    of: BTreeMap<String, (i64, String)>,
    files: BTreeMap<String, bool>,
    /// Files for which there was an event.
    seen: BTreeSet<String>,
    failures: BTreeSet<usize>,
    /// Whether the call's recording is completed.
    twilio: BTreeMap<usize, bool>,
    /// Twilio calls with a declared dispatch.
    linked: BTreeSet<usize>,
}

/// The newest value of a field of an item and its members.
type Newest<'a> = dyn Fn(&str, &[String], &str) -> Option<String> + 'a;

/// A call in the list.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    item: String,
    playable: bool,
    reported: bool,
    dispatch_id: String,
    interaction_id: Option<String>,
    status: Option<String>,
    /// Empty if the start time is not known.
    start_time: String,
    phone: Option<String>,
    s3_key: Option<String>,
    twilio: Vec<String>,
    reason: Option<String>,
}

/// The best pairing without crossings, by brute force; see `pairing` in recordings.rs.
fn pairing(calls: usize, recordings: usize, cost: &dyn Fn(usize, usize) -> Option<(i64, i64)>) -> Vec<Option<usize>> {
    type ObjectInfo = (i64, i64, i64, Vec<usize>);
    fn by_brute_force(
        calls: usize,
        recordings: usize,
        cost: &dyn Fn(usize, usize) -> Option<(i64, i64)>,
        r: usize,
        from: usize,
    ) -> ObjectInfo {
        if r == recordings {
            return (0, 0, 0, Vec::new());
        }
        let mut best: Option<ObjectInfo> = None;
        for call in from..=calls {
            let (pairs, began, seconds, next) = match call == calls {
                true => (0, 0, 0, from),
                false => match cost(call, r) {
                    Some((began, seconds)) => (-1, began, seconds, call + 1),
                    None => continue,
                },
            };
            let (more, times, costs, mut chosen) = by_brute_force(calls, recordings, cost, r + 1, next);
            chosen.insert(0, call);
            let found = (pairs + more, began + times, seconds + costs, chosen);
            if best.as_ref().is_none_or(|best| found < *best) {
                best = Some(found);
            }
        }
        best.unwrap()
    }
    let (.., chosen) = by_brute_force(calls, recordings, cost, 0, 0);
    chosen.into_iter().map(|call| (call < calls).then_some(call)).collect()
}

fn fit(dispatches: &[i64], dispatched: i64, began: i64) -> Option<(i64, i64)> {
    let late = began - dispatched;
    let overtaken = dispatches
        .iter()
        .any(|later| *later > dispatched + 10 && *later <= began);
    ((-5..=300).contains(&late) && !overtaken).then_some((began, if late < 0 { -10 * late } else { late }))
}

impl Model {
    fn report(&mut self, of: &str, name: &'static str, at: i64, value: Value) {
        let first = self.first.entry(of.to_owned()).or_insert(at);
        *first = at.min(*first);
        let known = self.fields.entry(of.to_owned()).or_default();
        let newer = known
            .get(name)
            .is_none_or(|known| (at, value.to_string()) > (known.0, known.1.to_string()));
        if newer {
            known.insert(name, (at, value));
        }
    }

    /// All rows with their sort keys, newest first.
    fn rows(&self, names: &Names) -> Vec<(String, Row)> {
        let base = names.base;
        // Calls: an item and its members.
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for dispatch in &self.dispatches {
            let reported = self.of.iter().filter(|(_, (_, owner))| owner == dispatch);
            rows.insert(
                dispatch.clone(),
                reported.map(|(id, _)| format!("interaction#{id}")).collect(),
            );
        }
        for item in self.fields.keys() {
            if let Some(id) = item.strip_prefix("interaction#")
                && !self.of.contains_key(id)
            {
                rows.insert(item.clone(), Vec::new());
            }
        }
        let field = |item: &str, members: &[String], name: &str| {
            let facts = std::iter::once(item).chain(members.iter().map(String::as_str));
            let reported = facts.filter_map(|item| self.fields.get(item)?.get(name));
            let newest = reported.max_by_key(|(at, value)| (*at, value.to_string()));
            newest.and_then(|(_, value)| value.as_str()).map(str::to_owned)
        };
        for (number, phone) in PHONES.iter().enumerate() {
            let mut calls: Vec<(i64, String)> = Vec::new();
            for item in rows.keys() {
                let place = match item.strip_prefix("dispatch_") {
                    Some(rest) => rest
                        .split_once('_')
                        .map(|(time, to)| (to.to_owned(), time.parse().unwrap())),
                    None => field(item, &[], "phone")
                        .zip(field(item, &[], "start_time"))
                        .map(|(to, start)| {
                            let start: Timestamp = start.parse().unwrap();
                            (to.trim_start_matches('+').to_owned(), start.as_second())
                        }),
                };
                calls.extend(
                    place
                        .filter(|(to, _)| to == phone)
                        .map(|(_, time)| (time, item.clone())),
                );
            }
            calls.sort();
            // Interactions without a declared dispatch, and dispatches without a declared interaction.
            let (interactions, dispatches): (Vec<_>, Vec<_>) =
                calls.iter().cloned().partition(|(_, id)| id.contains('#'));
            let dispatched: Vec<i64> = dispatches.iter().map(|(time, _)| *time).collect();
            let is_free = |dispatch: &String| {
                let reported = self
                    .fields
                    .get(dispatch)
                    .is_some_and(|reported| reported.contains_key("interaction_id"));
                !reported && self.of.values().all(|(_, owner)| owner != dispatch)
            };
            let paired = pairing(dispatches.len(), interactions.len(), &|dispatch, interaction| {
                let fit = fit(&dispatched, dispatched[dispatch], interactions[interaction].0);
                fit.filter(|_| is_free(&dispatches[dispatch].1))
            });
            for ((_, interaction), dispatch) in interactions.iter().zip(paired) {
                if let Some(dispatch) = dispatch {
                    rows.remove(interaction);
                    rows.get_mut(&dispatches[dispatch].1).unwrap().push(interaction.clone());
                    calls.retain(|(_, call)| call != interaction);
                }
            }
            let times: Vec<i64> = calls.iter().map(|(time, _)| *time).collect();
            let of_phone = |there: bool| {
                let files = names
                    .world
                    .files
                    .iter()
                    .enumerate()
                    .filter(|(_, (to, _))| *to == number);
                let keys: BTreeSet<(i64, String)> = files
                    .map(|(index, _)| (names.key(index).1, names.key(index).2))
                    .collect();
                let mut found: Vec<(i64, String)> = keys
                    .into_iter()
                    .filter(|(_, key)| match self.files.get(key) {
                        Some(true) => there,
                        _ => !there && self.seen.contains(key),
                    })
                    .map(|(time, key)| (time, format!("object#{key}")))
                    .collect();
                found.sort();
                found
            };
            let files = of_phone(true);
            let paired = pairing(calls.len(), files.len(), &|call, file| {
                fit(&times, times[call], files[file].0)
            });
            let recorded: BTreeSet<usize> = paired.iter().flatten().copied().collect();
            let mut heads: Vec<(i64, String, bool)> =
                calls.iter().map(|(time, id)| (*time, id.clone(), true)).collect();
            for ((time, file), call) in files.iter().zip(&paired) {
                match call {
                    Some(call) => rows.get_mut(&calls[*call].1).unwrap().push(file.clone()),
                    None => {
                        rows.insert(file.clone(), Vec::new());
                        heads.push((*time, file.clone(), false));
                    }
                }
            }
            heads.sort();
            let without: Vec<_> = calls
                .iter()
                .enumerate()
                .filter(|(index, _)| !recorded.contains(index))
                .map(|(_, call)| call.clone())
                .collect();
            let mut failures = of_phone(false);
            let failed = self
                .failures
                .iter()
                .filter(|index| names.world.failures[**index].0 == number);
            failures.extend(failed.map(|index| (base + names.world.failures[*index].1, format!("egress#EG_{index}"))));
            failures.sort();
            let paired = pairing(without.len(), failures.len(), &|call, failure| {
                fit(&times, without[call].0, failures[failure].0)
            });
            for ((time, failure), call) in failures.iter().zip(paired) {
                match call {
                    Some(call) => rows.get_mut(&without[call].1).unwrap().push(failure.clone()),
                    None => {
                        let fits = calls
                            .iter()
                            .filter_map(|call| Some((fit(&times, call.0, *time)?, call)));
                        match fits.min() {
                            // The recording was started again.
                            Some((_, (_, call))) => rows.get_mut(call).unwrap().push(failure.clone()),
                            // A deleted file without a call.
                            None if failure.starts_with("object#") => {}
                            None => drop(rows.insert(failure.clone(), Vec::new())),
                        }
                    }
                }
            }
            let mut twilio: Vec<(i64, String)> = self
                .twilio
                .keys()
                .filter(|call| names.world.calls[**call].phone == Some(number) && !self.linked.contains(call))
                .map(|call| {
                    (
                        base + names.world.calls[*call].time,
                        format!("twilio#{}", call_sid(*call)),
                    )
                })
                .collect();
            twilio.sort();
            let paired = pairing(heads.len(), twilio.len(), &|head, call| {
                let ((time, _, is_call), began) = (&heads[head], twilio[call].0);
                let distance = (time - began).abs();
                match is_call {
                    true => fit(&times, *time, began),
                    false => (distance <= 60).then_some((began, distance)),
                }
            });
            for ((_, call), head) in twilio.iter().zip(paired) {
                match head {
                    Some(head) => rows.get_mut(&heads[head].1).unwrap().push(call.clone()),
                    None => drop(rows.insert(call.clone(), Vec::new())),
                }
            }
        }
        for call in self.twilio.keys() {
            let item = format!("twilio#{}", call_sid(*call));
            match (self.linked.contains(call), names.world.calls[*call].phone) {
                (true, _) => {
                    let dispatch = names.dispatch(names.world.calls[*call].dispatch.unwrap()).2;
                    rows.get_mut(&dispatch).unwrap().push(item);
                }
                (false, None) => drop(rows.insert(item, Vec::new())),
                (false, Some(_)) => {}
            }
        }
        let mut shown: Vec<(String, Row)> = rows
            .iter()
            .filter_map(|(item, members)| self.row(names, item, members, &field))
            .collect();
        shown.sort_by(|(a, _), (b, _)| b.cmp(a));
        shown
    }

    /// A row and its sort key.
    fn row(&self, names: &Names, item: &str, members: &[String], field: &Newest<'_>) -> Option<(String, Row)> {
        let mut parts: Vec<&str> = members.iter().map(String::as_str).collect();
        parts.sort_unstable();
        parts.insert(0, item);
        let (mut s3_key, mut twilio, mut completed, mut reason) = (None, Vec::new(), false, None);
        let (mut began, mut number, mut from_twilio) = (None, None, None);
        let mut shown = if item.contains('#') {
            String::new()
        } else {
            item.to_owned()
        };
        if let Some((time, phone)) = item.strip_prefix("dispatch_").and_then(|rest| rest.split_once('_')) {
            (began, number) = (time.parse::<i64>().ok(), Some(phone.to_owned()));
        }
        for part in parts {
            if let Some(key) = part.strip_prefix("object#") {
                let name = key.rsplit_once("outbound-").unwrap().1.trim_end_matches(".mp4");
                let (phone, time) = name.split_once('_').unwrap();
                let time: i64 = time.parse().unwrap();
                if item.contains('#') && (shown.is_empty() || self.files.get(key) == Some(&true)) {
                    shown = format!("dispatch_{time}_{phone}");
                }
                match self.files.get(key) {
                    Some(true) => (s3_key, began) = (Some(key.to_owned()), Some(time)),
                    _ => reason = reason.or(Some("The recording was deleted.".to_owned())),
                }
                began = began.or(Some(time));
                number = number.or(Some(phone.to_owned()));
            } else if let Some(failed) = part.strip_prefix("egress#EG_") {
                let (phone, time) = names.world.failures[failed.parse::<usize>().unwrap()];
                reason = reason.or(Some("no space".to_owned()));
                began = began.or(Some(names.base + time));
                number = number.or(Some(PHONES[phone].to_owned()));
            } else if let Some(sid) = part.strip_prefix("twilio#") {
                let call = (0..3).find(|call| call_sid(*call) == sid).unwrap();
                completed |= self.twilio[&call];
                twilio.push((names.world.calls[call].time, recording_sid(call)));
                from_twilio = Timestamp::from_second(names.base + names.world.calls[call].time).ok();
                number = number.or(names.world.calls[call].phone.map(|phone| PHONES[phone].to_owned()));
            }
        }
        let start = field(item, members, "start_time").map(|text| text.parse::<Timestamp>().unwrap());
        let start = start.or_else(|| Timestamp::from_second(began?).ok()).or(from_twilio);
        let reported = std::iter::once(item).chain(members.iter().map(String::as_str));
        let first = reported.filter_map(|item| self.first.get(item)).min();
        let listed_at = start.or_else(|| Timestamp::from_second(names.base + first?).ok())?;
        let start_time = start.map(to_millis).unwrap_or_default();
        let playable = s3_key.is_some() || completed;
        twilio.sort();
        let not_completed = || (!twilio.is_empty()).then(|| "Twilio's recording is not completed.".to_owned());
        let row = Row {
            item: item.to_owned(),
            playable,
            reported: !item.contains('#') || item.starts_with("interaction#"),
            dispatch_id: shown,
            interaction_id: field(item, members, "interaction_id"),
            status: field(item, members, "status"),
            start_time,
            phone: field(item, members, "phone").or(number.map(|number| format!("+{number}"))),
            s3_key,
            reason: if playable { None } else { reason.or_else(not_completed) },
            twilio: twilio.into_iter().map(|(_, sid)| sid).collect(),
        };
        Some((format!("{}#{item}", to_millis(listed_at)), row))
    }
}

fn row_of(call: Call) -> Row {
    let start_time = call.start_time.map(to_millis).unwrap_or_default();
    Row {
        item: call.item.clone(),
        playable: call.is_playable(),
        reported: call.is_reported(),
        dispatch_id: call.dispatch_id,
        interaction_id: call.interaction_id,
        status: call.status,
        start_time,
        phone: call.phone,
        s3_key: call.s3_key,
        twilio: call.twilio.into_iter().map(|recording| recording.sid).collect(),
        reason: call.recording_error,
    }
}

/// The whole list, page by page.
async fn listed(calls: &Calls, missing: bool, order: ListOrder, limit: usize) -> Vec<Row> {
    let filter = ListFilter {
        missing,
        ..ListFilter::default()
    };
    let (mut rows, mut start) = (Vec::new(), ListStart::Offset(0));
    loop {
        let page = calls.list(&filter, order, start, limit).await.unwrap();
        rows.extend(page.calls.into_iter().map(row_of));
        match page.next {
            Some(next) => start = ListStart::After(next),
            None => return rows,
        }
    }
}

/// Counts all days of the ledger that are due.
pub(crate) async fn count_ledger(calls: &Calls, now: Timestamp) {
    for due in calls.due_days(now).await.unwrap() {
        calls.count_day(&due, now, |_| {}).await.unwrap();
    }
    while let Some(due) = calls.next_day_to_close(now).await.unwrap() {
        calls.count_day(&due, now, |_| {}).await.unwrap();
    }
    calls.finish_ledger_round(now).await.unwrap();
}

struct Case {
    stack: TestStack,
    calls: Calls,
    index: index_recording::State,
    reconcile: reconcile_recordings::State,
    model: Model,
    names: Names,
}

impl Case {
    async fn new(world: World) -> Self {
        let stack = TestStack::with(|settings| settings.aws_only = true).await;
        let environment = &stack.stack.environment;
        // Three days ago, around midnight, so that the report covers it.
        let midnight = day(Timestamp::now().as_second() - 3 * 86_400);
        let base = TimeZone::UTC.to_timestamp(midnight.at(0, 0, 0, 0)).unwrap().as_second() - 350;
        Self {
            calls: stack.calls(),
            index: index_recording::State::from_env(environment).await.unwrap(),
            reconcile: reconcile_recordings::State::from_env(environment).await.unwrap(),
            model: Model::default(),
            names: Names { world, base },
            stack,
        }
    }

    /// Applies a change to the world.
    fn change(&mut self, change: &Change) {
        match change {
            Change::File(file, there) => {
                let (.., key) = self.names.key(*file);
                match there {
                    true => self.stack.put_object(&key, b"sound"),
                    false => self.stack.remove_object(&key),
                }
                self.model.files.insert(key, *there);
            }
            Change::Twilio(call, completed) if *call < self.names.world.calls.len() => {
                let known = self.model.twilio.entry(*call).or_default();
                *known |= completed;
                self.stack.stack.twilio.add(at_twilio(&self.names, *call, *known));
                if let Some(phone) = self.names.world.calls[*call].phone {
                    self.stack
                        .stack
                        .twilio
                        .add_call(call_sid(*call), format!("+{}", PHONES[phone]));
                }
            }
            _ => {}
        }
    }

    /// Reports a change to the index.
    async fn report(&mut self, change: &Change, sequence: usize) {
        let (names, model) = (&self.names, &mut self.model);
        match change {
            Change::Reported {
                dispatch,
                interaction,
                field,
                value,
                at,
            } => {
                let dispatch = dispatch.map(|index| names.dispatch(index).2);
                let interaction = interaction.and_then(|index| names.interaction(index));
                let Some(target) = dispatch
                    .clone()
                    .or(interaction.map(|index| format!("interaction#i-{index}")))
                else {
                    return;
                };
                let place = interaction.map(|index| names.world.interactions[index]);
                let (field, value) = match (field, place) {
                    // A later report may have another number or time, so that the interaction is paired with another dispatch.
                    (0, Some((phone, _))) => {
                        let phone = |value: u8| PHONES[(phone + usize::from(value / 2)) % 2];
                        (Field::Phone, value.map(|value| format!("+{}", phone(value)).into()))
                    }
                    (1, Some((_, time))) => {
                        let start = |value: u8| names.base + time + 150 * i64::from(value);
                        let start = |value: u8| to_millis(Timestamp::from_second(start(value)).unwrap());
                        (Field::StartTime, value.map(|value| start(value).into()))
                    }
                    _ => (Field::Status, value.map(|value| Value::from(format!("STATUS_{value}")))),
                };
                let interaction_id = interaction.map(|index| format!("i-{index}"));
                if let Some(id) = &interaction_id {
                    model.report(&target, "interaction_id", *at, id.as_str().into());
                    if let Some(dispatch) = &dispatch {
                        let known = model.of.entry(id.clone()).or_insert((*at, dispatch.clone()));
                        let quoted = |text: &String| Value::from(text.as_str()).to_string();
                        if (*at, quoted(dispatch)) > (known.0, quoted(&known.1)) {
                            *known = (*at, dispatch.clone());
                        }
                    }
                }
                model.report(&target, field.name(), *at, value.clone().unwrap_or(Value::Null));
                model.dispatches.extend(dispatch.clone());
                let reported = Interaction {
                    interaction_id,
                    dispatch_id: dispatch.as_deref().and_then(DispatchId::parse),
                    fields: [(field, value)].into(),
                    at: Timestamp::from_second(names.base + at).unwrap(),
                };
                self.calls.record_interaction(&reported).await.unwrap();
            }
            Change::File(file, there) => {
                let (.., key) = names.key(*file);
                model.seen.insert(key.clone());
                let event = json!({
                    "detail-type": if *there { "Object Created" } else { "Object Deleted" },
                    "detail": {"bucket": {"name": account::BUCKET}, "object": {"key": key, "sequencer": format!("{sequence:016X}")}},
                });
                index_recording::index(&self.index, &event.to_string()).await.unwrap();
            }
            Change::Failed(failure) if *failure < names.world.failures.len() => {
                model.failures.insert(*failure);
                let (phone, time) = names.world.failures[*failure];
                let failed = FailedEgress {
                    egress_id: format!("EG_{failure}"),
                    key: None,
                    phone: Some(PHONES[phone].into()),
                    started: Timestamp::from_second(names.base + time).ok(),
                    reason: "no space".into(),
                    at: Timestamp::from_second(names.base).unwrap(),
                };
                assert!(self.calls.record_failed_egress(&failed, None).await.unwrap());
            }
            Change::Twilio(call, completed) if *call < names.world.calls.len() => {
                let reported = &names.world.calls[*call];
                let dispatch = reported.dispatch.map(|index| names.dispatch(index).2);
                if let Some(dispatch) = &dispatch {
                    model.linked.insert(*call);
                    model.dispatches.insert(dispatch.clone());
                }
                let recording = TwilioRecording {
                    status: RecordingStatus::new(if *completed { "completed" } else { "in-progress" }),
                    sid: recording_sid(*call),
                    account_sid: Some(demo::ACCOUNT_SID.into()),
                    duration: completed.then_some(30),
                    start_time: Timestamp::from_second(names.base + reported.time).ok(),
                    error_code: None,
                };
                let phone = reported.phone.map(|phone| PHONES[phone]);
                let dispatch = dispatch.as_deref().and_then(DispatchId::parse);
                let sid = call_sid(*call);
                let reported = self
                    .calls
                    .record_twilio_recording(&sid, &recording, phone, dispatch.as_ref());
                reported.await.unwrap();
            }
            _ => {}
        }
    }

    async fn reconcile(&self) -> Value {
        let deadline = SystemTime::now() + Duration::from_secs(900);
        assert!(
            reconcile_recordings::handle(&self.reconcile, deadline)
                .await
                .unwrap()
                .finished
        );
        let report: Option<Value> = self
            .calls
            .reconciler_state(shared::calls::ReconcilerState::Report)
            .await
            .unwrap();
        report.unwrap()
    }
}

fn at_twilio(names: &Names, call: usize, completed: bool) -> twilio::Recording {
    let start = Timestamp::from_second(names.base + names.world.calls[call].time).unwrap();
    let like = demo::twilio_recordings(demo::DOCUMENTED_TIME)
        .into_iter()
        .next()
        .unwrap();
    twilio::Recording {
        media: twilio::Media::Generated { bytes: 400 },
        sid: recording_sid(call),
        call_sid: call_sid(call),
        status: if completed { "completed" } else { "in-progress" }.into(),
        duration: completed.then_some(30),
        error_code: None,
        date_created: start,
        date_updated: start,
        start_time: start,
        ..like
    }
}

#[test]
fn after_any_history_the_index_equals_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(8),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/api/index.proptest-regressions"
        )))),
        max_shrink_iters: 300,
        ..Config::default()
    });
    let result = runner.run(&(world(), steps(), 1..7_usize), |(world, steps, limit)| {
        runtime.block_on(async {
            let mut case = Case::new(world).await;
            let mut arrivals = Vec::new();
            for (number, (change, delay, times)) in steps.iter().enumerate() {
                let lossy = matches!(change, Change::File(..) | Change::Twilio(..));
                let times = if lossy { *times } else { (*times).max(1) };
                arrivals.extend((0..times).map(|copy| (number + delay * (copy + 1), number)));
            }
            arrivals.sort_unstable();
            let mut arrivals = arrivals.into_iter().peekable();
            for (number, (change, ..)) in steps.iter().enumerate() {
                case.change(change);
                while let Some((_, reported)) = arrivals.next_if(|(when, _)| *when <= number) {
                    case.report(&steps[reported].0, reported).await;
                }
            }
            for (_, reported) in arrivals {
                case.report(&steps[reported].0, reported).await;
            }
            case.reconcile().await;
            let report = case.reconcile().await;

            let rows = case.model.rows(&case.names);
            let mut days: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            for (order, row) in &rows {
                let counts = days.entry(order[..10].to_owned()).or_default();
                match row.playable {
                    true => counts.0 += 1,
                    false => counts.1 += 1,
                }
            }
            let rows = rows.into_iter().map(|(_, row)| row);
            let (playable, missing): (Vec<Row>, Vec<Row>) = rows.partition(|row| row.playable);
            for (missing, mut expected) in [(false, playable.clone()), (true, missing.clone())] {
                let newest = listed(&case.calls, missing, ListOrder::Newest, limit).await;
                prop_assert_eq!(&newest, &expected);
                let total = case.calls.total(missing).await.unwrap();
                prop_assert_eq!(total.rows, Some(expected.len() as u64), "before the ledger is counted");
                let filter = ListFilter {
                    missing,
                    ..ListFilter::default()
                };
                for order in [ListOrder::Newest, ListOrder::Oldest] {
                    for offset in 0..=expected.len() {
                        let page = case
                            .calls
                            .list(&filter, order, ListStart::Offset(offset as u64), limit)
                            .await
                            .unwrap();
                        let page: Vec<Row> = page.calls.into_iter().map(row_of).collect();
                        prop_assert_eq!(&page[..], &expected[offset..expected.len().min(offset + limit)]);
                    }
                    expected.reverse();
                }
                expected.reverse();
                let oldest = listed(&case.calls, missing, ListOrder::Oldest, limit).await;
                prop_assert_eq!(oldest, expected);
            }
            for rounds in 1..=2 {
                count_ledger(&case.calls, Timestamp::now()).await;
                for (missing, expected) in [(false, playable.len()), (true, missing.len())] {
                    let total = case.calls.total(missing).await.unwrap();
                    prop_assert_eq!(
                        total.rows,
                        Some(expected as u64),
                        "after {} rounds of the ledger",
                        rounds
                    );
                }
            }
            let (first, last) = (day(case.names.base - 86_400), day(case.names.base + 2 * 86_400));
            let ledger = case.calls.ledger_days(first, last).await.unwrap();
            let ledger: BTreeMap<String, (u64, u64)> = ledger
                .iter()
                .map(|day| (day.day.to_string(), (day.playable, day.missing)))
                .filter(|(_, counts)| *counts != (0, 0))
                .collect();
            prop_assert_eq!(ledger, days, "the ledger");
            let alone = playable.iter().filter(|row| !row.reported).count();
            prop_assert_eq!(&report["playable"], &json!(playable.len()));
            prop_assert_eq!(&report["calls_without_recording"]["total"], &json!(missing.len()));
            prop_assert_eq!(&report["recordings_without_call"]["total"], &json!(alone));
            prop_assert_eq!(&report["problems"], &json!([]));
            let reported: BTreeMap<String, String> = report["calls_without_recording"]["entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| {
                    (
                        entry["start_time"].to_string() + &entry["dispatch_id"].to_string(),
                        entry["reason"].as_str().unwrap().to_owned(),
                    )
                })
                .collect();
            for row in &missing {
                let id = match row.dispatch_id.as_str() {
                    "" => Value::Null,
                    id => id.into(),
                };
                let reason = row
                    .reason
                    .clone()
                    .unwrap_or_else(|| "Nothing is known of a recording.".into());
                let start = match row.start_time.as_str() {
                    "" => Value::Null,
                    start => start.into(),
                };
                let reported = reported.get(&(start.to_string() + &id.to_string()));
                prop_assert!(reported == Some(&reason) || id.is_null(), "{:?} {:?}", reported, row);
            }
            Ok(())
        })
    });
    result.unwrap();
}

/// Returns the items of the first half of the keys and reports the other keys as unprocessed.
async fn half_of_the_keys(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut wanted: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    let table = wanted["RequestItems"][account::CALLS_TABLE].clone();
    let keys = table["Keys"].as_array().unwrap();
    let (now, later) = keys.split_at(keys.len().div_ceil(2));
    let (now, later) = (now.to_vec(), later.to_vec());
    wanted["RequestItems"][account::CALLS_TABLE]["Keys"] = now.into();
    let body = wanted.to_string();
    parts.headers.insert("content-length", body.len().into());
    let (mut parts, body) = next
        .run(Request::from_parts(parts, Body::from(body)))
        .await
        .into_parts();
    let mut answer: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    if !later.is_empty() {
        answer["UnprocessedKeys"] =
            json!({ account::CALLS_TABLE: {"Keys": later, "ConsistentRead": table["ConsistentRead"]} });
    }
    let answer = answer.to_string();
    parts.headers.remove("x-amz-crc32");
    parts.headers.insert("content-length", answer.len().into());
    Response::from_parts(parts, Body::from(answer))
}

/// A DynamoDB that fails or throttles requests, and loses the responses of successful ones.
async fn inject_faults(State(requests): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    let transaction = target.ends_with("TransactWriteItems");
    if target.ends_with("BatchGetItem") {
        return half_of_the_keys(request, next).await;
    }
    if !transaction && !target.ends_with("PutItem") {
        return next.run(request).await;
    }
    let fail = |status: StatusCode, body: Value| {
        (
            status,
            [("content-type", "application/x-amz-json-1.0")],
            Body::from(body.to_string()),
        )
            .into_response()
    };
    match requests.fetch_add(1, Ordering::Relaxed) % 7 {
        1 if transaction => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": "Transaction cancelled",
                "CancellationReasons": [{"Code": "ConditionalCheckFailed"}, {"Code": "None"}]}),
        ),
        3 if transaction => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": "Transaction cancelled",
                "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}]}),
        ),
        // Another transaction holds the item.
        1 => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException", "message": "ongoing"}),
        ),
        4 => fail(
            StatusCode::BAD_REQUEST,
            json!({"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slower"}),
        ),
        6 => {
            next.run(request).await;
            fail(
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({"__type": "InternalServerError", "message": "lost"}),
            )
        }
        _ => next.run(request).await,
    }
}

/// The environment of functions whose DynamoDB has faults.
async fn with_faults(stack: &TestStack) -> Env {
    let router: Router = stack.stack.aws.router();
    let bad = serve(router.layer(from_fn_with_state(Arc::new(AtomicUsize::new(0)), inject_faults))).await;
    let through = |(name, value): (&str, &str)| match name {
        "AWS_ENDPOINT_URL" => (name.to_owned(), bad.clone()),
        _ => (name.to_owned(), value.to_owned()),
    };
    stack.stack.environment.iter().map(through).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_on_a_table_with_faults_list_each_call_once() {
    const WRITERS: usize = 16;
    const CALLS: usize = 12;
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let environment = with_faults(&stack).await;
    let start: Timestamp = "2025-08-08T11:44:00Z".parse().unwrap();
    let writer = |writer: usize| {
        let calls = Calls::from_env(
            &environment,
            &shared::clients::aws::Aws::from_env(&environment).unwrap(),
        )
        .unwrap();
        tokio::spawn(async move {
            for step in 0..2 * CALLS {
                // All writers change the same calls, each in a different order: record, move to another minute, and delete.
                let call = (step + writer * 5) % CALLS;
                let id = format!("call-{call}");
                let time = start + SignedDuration::from_secs(40 * (call as i64 % 7 + (writer + step) as i64 % 3));
                let reported = Interaction {
                    interaction_id: None,
                    dispatch_id: DispatchId::parse(&id),
                    fields: [(Field::StartTime, Some(to_millis(time).into()))].into(),
                    at: start + SignedDuration::from_millis((step * WRITERS + writer) as i64),
                };
                calls.record_interaction(&reported).await.unwrap();
                let recording = TwilioRecording {
                    status: RecordingStatus::new(match (call + step).is_multiple_of(5) {
                        true => "deleted",
                        false => "completed",
                    }),
                    sid: recording_sid(call),
                    ..TwilioRecording::default()
                };
                let sid = call_sid(call);
                calls
                    .record_twilio_recording(&sid, &recording, None, DispatchId::parse(&id).as_ref())
                    .await
                    .unwrap();
            }
        })
    };
    for writer in (0..WRITERS).map(writer).collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let calls = stack.calls();
    let mut all = 0;
    for missing in [false, true] {
        let rows = listed(&calls, missing, ListOrder::Newest, 100).await;
        assert_eq!(calls.total(missing).await.unwrap().rows, Some(rows.len() as u64));
        let filter = ListFilter {
            missing,
            ..ListFilter::default()
        };
        for offset in 0..rows.len() {
            let page = calls
                .list(&filter, ListOrder::Newest, ListStart::Offset(offset as u64), 1)
                .await
                .unwrap();
            assert_eq!(
                page.calls.into_iter().map(row_of).collect::<Vec<_>>(),
                rows[offset..=offset]
            );
        }
        all += rows.len();
    }
    assert_eq!(all, CALLS);
    // The marks of the closed days went through the same faults, and the ledger must still equal the lists.
    let playable = listed(&calls, false, ListOrder::Newest, 100).await.len() as u64;
    let now = Timestamp::now();
    count_ledger(&calls, now).await;
    let days = calls.ledger_days("2025-08-08".parse().unwrap(), "2025-08-08".parse().unwrap());
    let days = days.await.unwrap();
    assert_eq!((days[0].playable, days[0].missing), (playable, CALLS as u64 - playable));
    assert_eq!(calls.total(false).await.unwrap().rows, Some(playable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_pair_each_call_of_a_number_with_its_own_recording() {
    const WRITERS: usize = 16;
    const CALLS: usize = 8;
    let stack = TestStack::with(|settings| settings.aws_only = true).await;
    let environment = with_faults(&stack).await;
    let unix = |call: usize| 1_754_653_479 + 100 * call as i64;
    let id = move |call: usize| format!("dispatch_{}_{}", unix(call), PHONES[0]);
    let key = move |call: usize| {
        format!(
            "egress-recordings/2025/08/08/outbound-{}_{}.mp4",
            PHONES[0],
            unix(call) + 3
        )
    };
    let writer = |writer: usize| {
        let calls = Calls::from_env(
            &environment,
            &shared::clients::aws::Aws::from_env(&environment).unwrap(),
        )
        .unwrap();
        tokio::spawn(async move {
            for step in 0..CALLS {
                let call = (step + 3 * writer) % CALLS;
                // Half of the writers report the dispatch first, the others the recording.
                for what in [writer % 2, (writer + 1) % 2] {
                    if what == 0 {
                        let reported = Interaction {
                            interaction_id: None,
                            dispatch_id: DispatchId::parse(&id(call)),
                            fields: BTreeMap::new(),
                            at: Timestamp::from_second(unix(call)).unwrap(),
                        };
                        calls.record_interaction(&reported).await.unwrap();
                    } else {
                        let info = ObjectInfo {
                            size: 1,
                            etag: None,
                            modified: None,
                        };
                        let found = || async { Ok::<_, CallsError>(Some(info.clone())) };
                        let recording = RecordingKey {
                            name: RecordingName::documented(&key(call)).unwrap(),
                            key: key(call),
                            egress_at: None,
                        };
                        calls.observe(&recording, None, found).await.unwrap();
                    }
                }
            }
        })
    };
    for writer in (0..WRITERS).map(writer).collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let calls = stack.calls();
    let rows = listed(&calls, false, ListOrder::Oldest, 100).await;
    let found: Vec<_> = rows.into_iter().map(|row| (row.dispatch_id, row.s3_key)).collect();
    let expected: Vec<_> = (0..CALLS).map(|call| (id(call), Some(key(call)))).collect();
    assert_eq!(found, expected);
    assert_eq!(calls.total(false).await.unwrap().rows, Some(CALLS as u64));
    assert_eq!(calls.total(true).await.unwrap().rows, Some(0));
}
