//! What was reported of one thing, merged so that order and repetition do not matter.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clients::twilio::RecordingStatus,
    names::{Direction, RecordingName},
};

/// A value and when it was reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Timestamped {
    pub(super) at: Timestamp,
    pub(super) value: Value,
}

impl Timestamped {
    /// Of two values reported at the same time the greater text wins, for want of anything better that does not depend on the order of arrival.
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.at, self.value.to_string()) > (other.at, other.value.to_string())
    }
}

/// Keeps the newer of two reports of a field.
pub(super) fn merge(known: &mut BTreeMap<String, Timestamped>, name: &str, reported: &Timestamped) {
    match known.get(name) {
        Some(known) if !reported.is_newer_than(known) => {}
        _ => {
            known.insert(name.to_owned(), reported.clone());
        }
    }
}

/// An object of the bucket, as it was last seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ObservedObject {
    /// Whether it is there and not empty.
    pub(super) usable: bool,
    pub(super) size: Option<i64>,
    pub(super) etag: Option<String>,
    /// The `sequencer` of the newest S3 event that was followed.
    pub(super) sequencer: Option<String>,
    /// What its name says by the deployment's patterns. Absent in items of version 0.1, whose names are of the documented form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<RecordingName>,
}

impl ObservedObject {
    /// What the name of the object with this key says.
    pub(super) fn name(&self, key: &str) -> RecordingName {
        let documented = || RecordingName::documented(key).unwrap_or_default();
        self.name.clone().unwrap_or_else(documented)
    }
}

/// One of Twilio's recordings of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TwilioRecording {
    /// Twilio's word for its state.
    pub status: RecordingStatus,
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
        self.status.is_completed()
    }

    /// Whether it says more than what is known of it already.
    pub fn is_newer_than(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| (self.status.stage(), self) > (known.status.stage(), known))
    }

    /// Whether it can be played now, and could not by what is known of it.
    pub fn completes(&self, known: Option<&Self>) -> bool {
        self.is_completed() && self.is_newer_than(known) && !known.is_some_and(Self::is_completed)
    }

    /// Why it can't be played.
    pub(super) fn missing_reason(&self) -> String {
        self.status.missing_reason(self.error_code)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TwilioCall {
    /// The other party's number, digits only; empty when it has none, `None` when that is not known.
    pub(super) phone: Option<String>,
    pub(super) recordings: BTreeMap<String, TwilioRecording>,
    /// SIDs of the recordings whose media was at Twilio after they were completed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) verified: BTreeSet<String>,
}

/// What was reported of one thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Observations {
    /// When something was said of it for the first time, by those who said it: its place in the list as long as nobody says when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reported: Option<Timestamp>,
    /// Of an interaction: the fields of the list, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: BTreeMap<String, Timestamped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<ObservedObject>,
    /// Why there is no recording, by LiveKit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Timestamped>,
    /// Phone number (empty when unknown) and Unix time of a LiveKit recording, by its webhook.
    #[serde(alias = "failed_at", skip_serializing_if = "Option::is_none")]
    pub(super) egress_at: Option<(String, i64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) twilio: Option<TwilioCall>,
    /// The item that this was declared to belong to, whatever the times say.
    #[serde(alias = "of", skip_serializing_if = "Option::is_none")]
    pub(super) declared_owner: Option<Timestamped>,
    /// By version 0.1: empty for a Twilio call one of whose recordings has a transcript; dispatch ids, which say nothing certain of a recording.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) transcripts: BTreeSet<String>,
    /// What transcripts are stored of: ETags of the object, or SIDs of Twilio recordings.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) transcribed: BTreeSet<String>,
}

impl Observations {
    /// Phone number and Unix time of the recording with this key, or of the failed one: what the name does not say, LiveKit's webhook does.
    pub(super) fn recorded_at(&self, key: &str) -> (Option<String>, Option<i64>) {
        let name = match &self.object {
            Some(object) => object.name(key),
            None => RecordingName::documented(key).unwrap_or_default(),
        };
        let egress = self.egress_at.as_ref();
        let number = egress.map(|(phone, _)| phone.clone()).filter(|phone| !phone.is_empty());
        (name.phone.or(number), name.unix.or(egress.map(|(_, unix)| *unix)))
    }

    /// Whether the recording is one of a call by the customer.
    pub(super) fn is_inbound(&self, key: &str) -> bool {
        let direction = self.object.as_ref().and_then(|object| object.name(key).direction);
        direction == Some(Direction::Inbound)
    }

    /// Whether a transcript of what can be played now is stored.
    pub(super) fn has_transcript(&self) -> bool {
        let of_object = |object: &ObservedObject| {
            object.usable && self.transcribed.contains(object.etag.as_deref().unwrap_or_default())
        };
        let of_twilio = |call: &TwilioCall| {
            self.transcripts.contains("") || call.recordings.keys().any(|sid| self.transcribed.contains(sid))
        };
        self.object.as_ref().is_some_and(of_object) || self.twilio.as_ref().is_some_and(of_twilio)
    }

    pub(super) fn reported_at(&mut self, at: Timestamp) {
        self.reported = Some(self.reported.map_or(at, |first| first.min(at)));
    }

    pub(super) fn report(&mut self, name: &str, reported: &Timestamped) {
        merge(&mut self.fields, name, reported);
    }

    pub(super) fn belongs_to(&mut self, owner: &str, at: Timestamp) {
        let declared = Timestamped {
            at,
            value: owner.into(),
        };
        if self
            .declared_owner
            .as_ref()
            .is_none_or(|known| declared.is_newer_than(known))
        {
            self.declared_owner = Some(declared);
        }
    }

    pub(super) fn fail(&mut self, reason: &str, at: Timestamp) {
        let declared = Timestamped {
            at,
            value: reason.into(),
        };
        if self.failure.as_ref().is_none_or(|known| declared.is_newer_than(known)) {
            self.failure = Some(declared);
        }
    }

    pub(super) fn record_twilio_recording(&mut self, recording: &TwilioRecording, phone: Option<&str>) {
        let call = self.twilio.get_or_insert_default();
        if call.phone.is_none() {
            call.phone = phone.map(str::to_owned);
        }
        if recording.is_newer_than(call.recordings.get(&recording.sid)) {
            call.recordings.insert(recording.sid.clone(), recording.clone());
        }
    }
}
