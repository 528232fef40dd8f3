//! What was reported, merged so that order and repetition do not matter, and the row that it makes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Call;
use crate::{
    dispatch::{DispatchId, EgressFile},
    time::{to_millis, utc_day},
};

/// A value and when it was reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stamped {
    pub(super) at: Timestamp,
    pub(super) value: Value,
}

impl Stamped {
    /// Of two values reported at the same time the greater text wins, for want of anything better that does not depend on the order of arrival.
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.at, self.value.to_string()) > (other.at, other.value.to_string())
    }
}

fn merge(known: &mut BTreeMap<String, Stamped>, name: &str, reported: &Stamped) {
    match known.get(name) {
        Some(known) if !reported.is_newer_than(known) => {}
        _ => {
            known.insert(name.to_owned(), reported.clone());
        }
    }
}

/// An object of the bucket, as it was last seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Object {
    /// Whether it is there and not empty.
    pub(super) usable: bool,
    pub(super) size: Option<i64>,
    pub(super) etag: Option<String>,
    /// The `sequencer` of the newest S3 event that was followed.
    pub(super) sequencer: Option<String>,
}

/// One of Twilio's recordings of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TwilioRecording {
    /// Twilio's word for its state.
    pub status: String,
    /// Its SID.
    pub sid: String,
    /// SID of the account it belongs to.
    pub account_sid: Option<String>,
    /// Length in seconds.
    pub duration: Option<i64>,
    /// When it began.
    pub start_time: Option<Timestamp>,
    /// Why it is absent: 16101 too short, 16102 silent.
    pub error_code: Option<i64>,
}

impl TwilioRecording {
    /// Whether it can be played.
    pub fn is_completed(&self) -> bool {
        self.status == "completed"
    }

    /// Whether it says more than what is known of it.
    pub fn is_news_to(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| (self.stage(), self) > (known.stage(), known))
    }

    /// Whether it can be played now, and could not by what is known of it.
    pub fn is_completion_to(&self, known: Option<&Self>) -> bool {
        self.is_completed() && self.is_news_to(known) && !known.is_some_and(Self::is_completed)
    }

    /// How far it is in its life, which never goes back.
    fn stage(&self) -> u8 {
        match self.status.as_str() {
            "deleted" => 2,
            "completed" | "absent" | "failed" => 1,
            _ => 0,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TwilioCall {
    /// The other party's number, digits only; empty when it has none, `None` when that is not known.
    pub(super) phone: Option<String>,
    pub(super) recordings: BTreeMap<String, TwilioRecording>,
}

/// What was reported of one thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    /// When something was said of it for the first time, by those who said it: its place in the list as long as nobody says when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reported: Option<Timestamp>,
    /// Of an interaction: the fields of the list, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: BTreeMap<String, Stamped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<Object>,
    /// Why there is no recording, by LiveKit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Stamped>,
    /// Phone number and Unix time of a recording that failed without a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed_at: Option<(String, i64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) twilio: Option<TwilioCall>,
    /// The item that this is said to belong to, whatever the times say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<Stamped>,
    /// Under which names transcripts of it are stored: dispatch ids, or empty for Twilio's recordings, which have names of their own.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) transcripts: BTreeSet<String>,
}

impl Facts {
    pub(super) fn reported_at(&mut self, at: Timestamp) {
        self.reported = Some(self.reported.map_or(at, |first| first.min(at)));
    }

    pub(super) fn report(&mut self, name: &str, reported: &Stamped) {
        merge(&mut self.fields, name, reported);
    }

    pub(super) fn belongs_to(&mut self, owner: &str, at: Timestamp) {
        let said = Stamped {
            at,
            value: owner.into(),
        };
        if self.of.as_ref().is_none_or(|known| said.is_newer_than(known)) {
            self.of = Some(said);
        }
    }

    pub(super) fn fail(&mut self, reason: &str, at: Timestamp) {
        let said = Stamped {
            at,
            value: reason.into(),
        };
        if self.failure.as_ref().is_none_or(|known| said.is_newer_than(known)) {
            self.failure = Some(said);
        }
    }

    pub(super) fn recorded_by_twilio(&mut self, recording: &TwilioRecording, phone: Option<&str>) {
        let call = self.twilio.get_or_insert_default();
        if call.phone.is_none() {
            call.phone = phone.map(str::to_owned);
        }
        if recording.is_news_to(call.recordings.get(&recording.sid)) {
            call.recordings.insert(recording.sid.clone(), recording.clone());
        }
    }
}

/// What an item of the table is about, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dispatch,
    Interaction,
    Object,
    /// A recording by LiveKit that failed without a file.
    Egress,
    Twilio,
}

/// An item of the table: what was reported of one thing; and, unless it belongs to another, the row of the list that it makes together with what
/// belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) id: String,
    /// Grows with each change; 0 for an item that is not in the table.
    pub(super) rev: i64,
    pub(super) state: State,
}

/// What [`Item`] keeps besides what it shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) own: Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    /// What belongs to it: copies, so that one item is all that a row needs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) members: BTreeMap<String, Facts>,
}

/// Where a row is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) class: Class,
    /// Start time, or else that of the first report, and id; begins with the UTC day.
    pub(super) order: String,
}

/// The two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Calls that can be played.
    Playable,
    /// Calls without a recording.
    Missing,
}

impl Class {
    /// The key of a partition in an index of lists.
    pub(super) fn partition(self, of: &str) -> String {
        match self {
            Self::Playable => of.to_owned(),
            Self::Missing => format!("missing#{of}"),
        }
    }
}

impl Place {
    pub(super) fn day(&self) -> &str {
        &self.order[..10]
    }

    /// Start time to the minute, the finest that is counted.
    pub(super) fn minute(&self) -> &str {
        &self.order[..16]
    }
}

pub(super) fn order(start: Timestamp, id: &str) -> String {
    format!("{}#{id}", to_millis(start))
}

/// Times that a list can hold: with years of four digits, and room for the search around them.
pub(super) fn is_listable(time: Timestamp) -> bool {
    (1..=9998).contains(&utc_day(time).year())
}

pub(crate) fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

impl Item {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            rev: 0,
            state: State::default(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        kind(&self.id)
    }

    pub(super) fn is_said_to_belong_to(&self, id: &str) -> bool {
        let said = self.state.own.of.as_ref().and_then(|of| of.value.as_str());
        said == Some(id)
    }

    /// The part of the id that names the thing outside this table.
    pub(super) fn name(&self) -> &str {
        self.id.split_once('#').map_or(self.id.as_str(), |(_, name)| name)
    }

    fn facts(&self) -> impl Iterator<Item = (&str, &Facts)> {
        let members = self.state.members.iter().map(|(id, facts)| (id.as_str(), facts));
        std::iter::once((self.id.as_str(), &self.state.own)).chain(members)
    }

    fn fields(&self) -> BTreeMap<String, Stamped> {
        let mut fields = BTreeMap::new();
        for (_, facts) in self.facts() {
            for (name, reported) in &facts.fields {
                merge(&mut fields, name, reported);
            }
        }
        fields
    }

    /// The number and Unix time by which it is paired with others.
    pub(super) fn near(&self) -> Option<(String, i64)> {
        match self.kind() {
            // Its dispatch stands for it.
            Kind::Interaction if self.state.own.of.is_some() => None,
            Kind::Dispatch | Kind::Interaction => {
                if let Some(pattern) = DispatchId::parse(&self.id).and_then(|id| id.pattern()) {
                    return Some((pattern.phone, pattern.unix));
                }
                let fields = self.fields();
                let text = |name: &str| fields.get(name)?.value.as_str();
                let start: Timestamp = text("start_time")?.parse().ok()?;
                Some((digits(text("phone")?), start.as_second())).filter(|(phone, _)| !phone.is_empty())
            }
            Kind::Object => EgressFile::parse(self.name()).map(|file| (file.phone, file.unix)),
            Kind::Egress => self.state.own.failed_at.clone(),
            Kind::Twilio => {
                let call = self.state.own.twilio.as_ref()?;
                let start = call
                    .recordings
                    .values()
                    .filter_map(|recording| recording.start_time)
                    .min()?;
                let phone = call.phone.clone().filter(|phone| !phone.is_empty());
                Some((phone?, start.as_second()))
            }
        }
    }

    /// A file that was deleted and that belongs to no call.
    fn is_gone(&self) -> bool {
        let own = &self.state.own;
        own.failure.is_none()
            && own.object.as_ref().is_some_and(|object| !object.usable)
            && self.state.members.is_empty()
    }

    /// The row that it makes, and where it is listed. `None` when it belongs to another.
    pub(super) fn row(&self) -> Option<(Call, Option<Place>)> {
        if self.state.owner.is_some() {
            return None;
        }
        let fields = self.fields();
        let text = |name: &str| Some(fields.get(name)?.value.as_str()?.to_owned());
        let time = |name: &str| text(name)?.parse::<Timestamp>().ok();
        let pattern = DispatchId::parse(&self.id).and_then(|id| id.pattern());
        let mut call = Call {
            dispatch_id: self.id.clone(),
            interaction_id: text("interaction_id"),
            customer_name: text("customer_name"),
            phone: text("phone"),
            status: text("status"),
            outcome: text("outcome"),
            duration: fields.get("duration").and_then(|field| field.value.as_i64()),
            start_time: time("start_time"),
            end_time: time("end_time"),
            ..Call::default()
        };
        let mut began = pattern.as_ref().map(|pattern| pattern.unix);
        let (mut number, mut failure) = (pattern.map(|pattern| pattern.phone), None);
        for (id, facts) in self.facts() {
            let name = id.split_once('#').map_or(id, |(_, name)| name);
            failure = failure.or(facts.failure.as_ref().and_then(|failure| failure.value.as_str()));
            if let Some(object) = &facts.object {
                let file = EgressFile::parse(name);
                if object.usable {
                    call.s3_key = Some(name.to_owned());
                    call.size = object.size;
                    call.etag.clone_from(&object.etag);
                    began = file.as_ref().map(|file| file.unix).or(began);
                } else {
                    failure = failure.or(Some("The recording was deleted."));
                }
                if let Some(file) = file {
                    let is_unnamed = call.dispatch_id.contains('#');
                    if kind(&self.id) != Kind::Dispatch && (object.usable || is_unnamed) {
                        call.dispatch_id = format!("dispatch_{}_{}", file.unix, file.phone);
                    }
                    began = began.or(Some(file.unix));
                    number = number.or(Some(file.phone));
                }
            }
            if let Some((phone, unix)) = &facts.failed_at {
                began = began.or(Some(*unix));
                number = number.or_else(|| Some(phone.clone()));
            }
            if let Some(twilio) = &facts.twilio {
                if name.starts_with("CA") {
                    call.call_sid.get_or_insert_with(|| name.to_owned());
                }
                call.twilio.extend(twilio.recordings.values().cloned());
                number = number.or_else(|| twilio.phone.clone().filter(|phone| !phone.is_empty()));
            }
        }
        if call.dispatch_id.contains('#') {
            call.dispatch_id.clear();
        }
        // A transcript that was made under another name can't be had by this one.
        let names = ["", call.dispatch_id.as_str()];
        let transcribed = |(_, facts): (&str, &Facts)| names.iter().any(|name| facts.transcripts.contains(*name));
        call.has_transcript = self.facts().any(transcribed);
        call.twilio
            .sort_by_key(|recording| (recording.start_time, recording.sid.clone()));
        let playing = call.twilio.iter().find(|recording| recording.is_completed());
        call.duration = call.duration.or(playing.and_then(|recording| recording.duration));
        let from_twilio = || {
            playing
                .or(call.twilio.first())
                .and_then(|recording| recording.start_time)
        };
        let start = call.start_time;
        let start = start.or_else(|| began.and_then(|unix| Timestamp::from_second(unix).ok()));
        call.start_time = start.or_else(from_twilio).filter(|start| is_listable(*start));
        call.phone = call.phone.or_else(|| number.map(|digits| format!("+{digits}")));
        let class = match call.is_playable() {
            true => Class::Playable,
            false => Class::Missing,
        };
        if class == Class::Missing {
            call.recording_error = failure.map(str::to_owned).or_else(|| call.twilio.first()?.reason());
        }
        let reported = self.facts().filter_map(|(_, facts)| facts.reported).min();
        let listed_at = call.start_time.or(reported.filter(|at| is_listable(*at)));
        let place = listed_at.filter(|_| !self.is_gone()).map(|start| Place {
            class,
            order: order(start, &self.id),
        });
        Some((call, place))
    }
}

impl TwilioRecording {
    fn reason(&self) -> Option<String> {
        Some(match (self.status.as_str(), self.error_code) {
            ("absent", Some(16101)) => "Twilio has no recording: it was too short.".into(),
            ("absent", Some(16102)) => "Twilio has no recording: it was silent.".into(),
            ("absent" | "failed", Some(code)) => format!("Twilio has no recording: error {code}."),
            ("absent" | "failed", None) => "Twilio has no recording and gave no reason.".into(),
            ("deleted", _) => "The recording was deleted at Twilio.".into(),
            _ => "Twilio's recording is not completed.".into(),
        })
    }
}

pub(super) fn kind(id: &str) -> Kind {
    match id.split_once('#') {
        None => Kind::Dispatch,
        Some(("interaction", _)) => Kind::Interaction,
        Some(("object", _)) => Kind::Object,
        Some(("egress", _)) => Kind::Egress,
        Some(_) => Kind::Twilio,
    }
}

/// The first moment after the minute `2025-08-08T11:44`, as the beginning of a [`Place::order`].
pub(super) fn next_minute(minute: &str) -> String {
    let next = format!("{minute}:00Z")
        .parse::<Timestamp>()
        .map(|time| time + SignedDuration::from_mins(1));
    next.map_or_else(|_| "~".to_owned(), |time| to_millis(time)[..16].to_owned())
}
