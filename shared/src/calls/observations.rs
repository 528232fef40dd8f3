//! The reported values of one thing, merged so that the order and repetition of reports do not matter.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    clients::twilio::{Recording, RecordingStatus},
    names::{Direction, RecordingName},
};

/// A value and the time it was reported for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Timestamped {
    pub(super) at: Timestamp,
    pub(super) value: Value,
}

impl Timestamped {
    /// For two values with the same time the greater string wins, so that the result does not depend on the order of arrival.
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.at, self.value.to_string()) > (other.at, other.value.to_string())
    }
}

/// Keeps the newer of the known and the reported value of a field.
pub(super) fn merge(known: &mut BTreeMap<String, Timestamped>, name: &str, reported: &Timestamped) {
    match known.get(name) {
        Some(known) if !reported.is_newer_than(known) => {}
        _ => {
            known.insert(name.to_owned(), reported.clone());
        }
    }
}

/// The last observed state of an object of the bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ObservedObject {
    /// Whether the object exists and is not empty.
    pub(super) usable: bool,
    pub(super) size: Option<i64>,
    pub(super) etag: Option<String>,
    /// Whether it must be restored from an archive before it can be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) archived: bool,
    /// The `sequencer` of the newest S3 event that was processed.
    pub(super) sequencer: Option<String>,
    /// The values that the deployment's patterns found in the name. Absent in items of version 0.1, which knew only the documented form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<RecordingName>,
}

impl ObservedObject {
    /// The values in the name of the object with this key.
    pub(super) fn name(&self, key: &str) -> RecordingName {
        let documented = || RecordingName::documented(key).unwrap_or_default();
        self.name.clone().unwrap_or_else(documented)
    }
}

/// The copy of a Twilio recording in the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TwilioCopy {
    /// Its S3 key.
    pub key: String,
    /// Its ETag, without quotes.
    pub etag: Option<String>,
    /// Its size in bytes.
    pub size: i64,
    /// Its media type.
    pub content_type: String,
    /// Its number of channels.
    pub channels: u32,
    /// Its length in seconds.
    pub duration: i64,
    /// When the recording was created at Twilio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Whether it must be restored from an archive of S3 Glacier before it can be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_glacier: bool,
    /// Whether S3 has another object under its key now than the one that was verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overwritten: bool,
}

/// Why a Twilio recording could not be copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CopyFailure {
    /// A stable code for programs.
    pub code: String,
    /// The reason, as a sentence.
    pub reason: String,
}

/// The result of copying a Twilio recording.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyResult {
    /// The bucket has a copy.
    Copied(TwilioCopy),
    /// It can't be copied, or every attempt failed.
    Failed(CopyFailure),
}

/// One of Twilio's recordings of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TwilioRecording {
    /// Twilio's status of the recording.
    pub status: RecordingStatus,
    /// The recording's SID.
    pub sid: String,
    /// SID of the account that owns the recording.
    pub account_sid: Option<String>,
    /// Length in seconds.
    pub duration: Option<i64>,
    /// When the recording began.
    pub start_time: Option<Timestamp>,
    /// Why Twilio has no recording: 16101 too short, 16102 silent.
    pub error_code: Option<i64>,
    /// Its copy in the bucket. Reports do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyResult>,
}

impl From<&Recording> for TwilioRecording {
    fn from(recording: &Recording) -> Self {
        Self {
            sid: recording.sid.clone(),
            account_sid: recording.account_sid.clone(),
            status: recording.status.clone(),
            duration: recording.duration.and_then(|seconds| seconds.try_into().ok()),
            start_time: recording.start_time.or(recording.date_created),
            error_code: recording.error_code,
            copy: None,
        }
    }
}

impl TwilioRecording {
    /// Its copy in the bucket.
    pub fn copied(&self) -> Option<&TwilioCopy> {
        match &self.copy {
            Some(CopyResult::Copied(copy)) => Some(copy),
            _ => None,
        }
    }

    /// Its copy in the bucket, if that can be read now.
    pub fn readable_copy(&self) -> Option<&TwilioCopy> {
        self.copied().filter(|copy| !copy.in_glacier)
    }

    /// Why it could not be copied.
    pub fn copy_failure(&self) -> Option<&CopyFailure> {
        match &self.copy {
            Some(CopyResult::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    /// Whether it can be played, at Twilio or from the bucket.
    pub fn is_playable(&self) -> bool {
        self.is_completed() || self.copied().is_some()
    }

    /// Whether Twilio says that the recording can be played.
    pub fn is_completed(&self) -> bool {
        self.status.is_completed()
    }

    /// Whether this state is later than the known one.
    pub fn is_newer_than(&self, known: Option<&Self>) -> bool {
        let place = |it: &Self| {
            let copy = None;
            (it.status.stage(), Self { copy, ..it.clone() })
        };
        known.is_none_or(|known| place(self) > place(known))
    }

    /// Whether the recording can be played now and could not be played in the known state.
    pub fn completes(&self, known: Option<&Self>) -> bool {
        self.is_completed() && self.is_newer_than(known) && !known.is_some_and(Self::is_completed)
    }

    /// Why the recording can't be played.
    pub(super) fn missing_reason(&self) -> String {
        self.status.missing_reason(self.error_code)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TwilioCall {
    /// The other party's number, digits only; empty if the other party has no number, `None` if the number is not known.
    pub(super) phone: Option<String>,
    pub(super) recordings: BTreeMap<String, TwilioRecording>,
    /// SIDs of the completed recordings whose media the reconciler found at Twilio.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) verified: BTreeSet<String>,
    /// The results of copying the recordings, by SID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) copies: BTreeMap<String, CopyResult>,
}

impl TwilioCall {
    /// The recordings with their copies.
    pub(super) fn with_copies(&self) -> impl Iterator<Item = TwilioRecording> {
        self.recordings.values().map(|recording| TwilioRecording {
            copy: self.copies.get(&recording.sid).cloned(),
            ..recording.clone()
        })
    }
}

/// The reported values of one thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Observations {
    /// The earliest time of a report about it. The list sorts by this time as long as the start time is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reported: Option<Timestamp>,
    /// The list's fields of an interaction or a dispatch, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: BTreeMap<String, Timestamped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<ObservedObject>,
    /// Why LiveKit made no recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Timestamped>,
    /// Phone number (empty if unknown) and Unix time of a LiveKit recording, from LiveKit's webhook.
    #[serde(alias = "failed_at", skip_serializing_if = "Option::is_none")]
    pub(super) egress_at: Option<(String, i64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) twilio: Option<TwilioCall>,
    /// The item that a report declared as the owner. It overrides pairing by time.
    #[serde(alias = "of", skip_serializing_if = "Option::is_none")]
    pub(super) declared_owner: Option<Timestamped>,
    /// By version 0.1: empty for a Twilio call one of whose recordings has a transcript; dispatch ids, which say nothing certain of a recording.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) transcripts: BTreeSet<String>,
    /// What transcripts are stored of: ETags of the object, or SIDs of Twilio recordings.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) transcribed: BTreeSet<String>,
    /// Why it must not be erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<Hold>,
    /// Until when it is kept, in place of the deployment's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retain_until: Option<Timestamp>,
}

/// A legal hold: nothing of the call is erased until it is lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// The id of the API key that set it.
    pub by: Option<String>,
    /// When it was set.
    #[serde(with = "crate::time::millis")]
    pub at: Timestamp,
}

impl Observations {
    /// Phone number and Unix time of the recording with this key, or of the failed recording. LiveKit's webhook supplies what the name does not
    /// contain.
    pub(super) fn recorded_at(&self, key: &str) -> (Option<String>, Option<i64>) {
        let name = match &self.object {
            Some(object) => object.name(key),
            None => RecordingName::documented(key).unwrap_or_default(),
        };
        let egress = self.egress_at.as_ref();
        let number = egress.map(|(phone, _)| phone.clone()).filter(|phone| !phone.is_empty());
        (name.phone.or(number), name.unix.or(egress.map(|(_, unix)| *unix)))
    }

    /// Whether the customer made the call.
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
