//! Writes reports to the index, with one function for each kind of report.

use std::collections::BTreeMap;

use super::{
    error::CallsError,
    interaction::Interaction,
    item::{Items, entry, is_listable},
    item_id,
    observations::{ObservedObject, TwilioRecording},
    pairing::Update,
    table::Calls,
};
use crate::{
    clients::{
        bucket::{ObjectInfo, RecordingObject, RecordingRef},
        dynamodb::pause,
        livekit::FailedEgress,
    },
    ids::{DispatchId, digits},
    names::{Ignored, RecordingName},
};
use jiff::Timestamp;

/// An object of the bucket that is a recording.
#[derive(Debug, Clone)]
pub struct RecordingKey {
    /// The object's key.
    pub key: String,
    /// The values found in its name.
    pub name: RecordingName,
    /// Phone number (empty if unknown) and Unix time from LiveKit's webhook.
    pub egress_at: Option<(String, i64)>,
}

/// The result of [`Calls::observe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The object is not a recording, for this reason, and is not indexed.
    Ignored(Ignored),
    /// The object's key does not start with the prefix of the recordings.
    OutsidePrefix,
    /// The recording exists.
    Present,
    /// The object does not exist or is empty.
    Absent,
    /// The recording was erased, and stays so.
    Erased,
}

impl Observed {
    fn of(usable: bool) -> Self {
        match usable {
            true => Self::Present,
            false => Self::Absent,
        }
    }
}

impl Calls {
    /// Stores the reported fields of an interaction. The report must have a dispatch id or an interaction id.
    pub async fn record_interaction(&self, reported: &Interaction) -> Result<(), CallsError> {
        let write = |items: &mut Items| {
            reported.apply(items);
            true
        };
        self.update(&reported.ids(), write).await.map(|_| ())
    }

    /// The id under which the audit has the call of a report; `None` if the call was erased, and must not be named again.
    pub async fn subject_of(&self, reported: &Interaction) -> Result<Option<String>, CallsError> {
        let ids = reported.ids();
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        Ok(match self.has_erased(&names).await? {
            true => None,
            false => ids.into_iter().next(),
        })
    }

    /// Stores whether an object of the bucket exists, which `head` asks S3. `sequencer` belongs to the S3 event that triggered the call; an
    /// event that is older than the last processed one changes nothing.
    ///
    /// `head` is called after the item is read, and called again if another writer changes the item meanwhile. What is written is therefore
    /// always newer than what was written before.
    pub async fn observe<E: From<CallsError>, F: Future<Output = Result<Option<ObjectInfo>, E>>>(
        &self,
        recording: &RecordingKey,
        sequencer: Option<&str>,
        head: impl Fn() -> F,
    ) -> Result<Observed, E> {
        let id = item_id::object(&recording.key);
        for tries in 0..8 {
            if tries > 0 {
                pause(tries).await;
            }
            let before = self.load([id.as_str()]).await.map_err(E::from)?;
            let known = before.get(&id).and_then(|item| item.state.own.object.as_ref());
            let processed = known.and_then(|object| object.sequencer.clone());
            if let (Some(new), Some(processed)) = (sequencer, &processed)
                && !is_later(new, processed)
            {
                return Ok(Observed::of(known.is_some_and(|object| object.usable)));
            }
            let found = head().await?.filter(|found| found.size > 0);
            let observed = Observed::of(found.is_some());
            if found.is_none() && before.is_empty() && sequencer.is_none() {
                return Ok(observed);
            }
            let modified = found.as_ref().and_then(|found| found.modified);
            let object = ObservedObject {
                usable: found.is_some(),
                size: found.as_ref().map(|found| found.size),
                archived: found.as_ref().is_some_and(|found| found.is_archived),
                etag: found.and_then(|found| found.etag),
                sequencer: sequencer.map(str::to_owned).or(processed),
                name: Some(recording.name.clone()),
            };
            let rev = before.get(&id).map(|item| item.rev);
            let write = |items: &mut Items| {
                if items.get(&id).map(|item| item.rev) != rev {
                    return false;
                }
                let own = &mut entry(items, &id).state.own;
                own.object = Some(object.clone());
                own.egress_at = recording.egress_at.clone().or(own.egress_at.take());
                // A recording without a known start time is listed at the file's modification time.
                if let (None, Some(at)) = (own.recorded_at(&recording.key).1, modified) {
                    own.reported_at(at);
                }
                true
            };
            match self.update(std::slice::from_ref(&id), write).await.map_err(E::from)? {
                Update::Written => return Ok(observed),
                Update::Erased => return Ok(Observed::Erased),
                Update::Unchanged => {}
            }
        }
        Err(CallsError::busy().into())
    }

    /// Stores a dispatch and the recordings that a search of the bucket found near it; `key` is the dispatch's own recording. Known recordings
    /// are not changed: a dispatch that was never reported does not take a recording from another call.
    pub async fn index_search_results(
        &self,
        id: &DispatchId,
        key: &str,
        objects: &[RecordingObject],
    ) -> Result<(), CallsError> {
        let ids: Vec<String> = std::iter::once(id.as_str().to_owned())
            .chain(objects.iter().map(|object| item_id::object(&object.key)))
            .collect();
        let dispatched = id.pattern().map(|pattern| pattern.unix);
        let write = |items: &mut Items| {
            // The caller may have derived such an id from the name of a known file. Storing it as a dispatch would add nothing.
            let is_derived = |object: &RecordingObject| {
                dispatched == Some(object.unix) && items.contains_key(&item_id::object(&object.key))
            };
            let has_owner = items
                .get(&item_id::object(key))
                .is_some_and(|item| item.state.owner.is_some());
            if !items.contains_key(id.as_str()) && (has_owner || objects.iter().any(is_derived)) {
                return false;
            }
            entry(items, id.as_str());
            for object in objects {
                let own = &mut entry(items, &item_id::object(&object.key)).state.own;
                own.object.get_or_insert_with(|| ObservedObject {
                    usable: true,
                    size: Some(object.size),
                    etag: object.etag.clone(),
                    archived: object.is_archived,
                    sequencer: None,
                    name: None,
                });
            }
            true
        };
        self.update(&ids, write).await.map(|_| ())
    }

    /// Stores that LiveKit made no recording. Returns `false` and stores nothing if number and time are not known. `name` has the values found
    /// in the file's name.
    pub async fn record_failed_egress(
        &self,
        failed: &FailedEgress,
        name: Option<&RecordingName>,
    ) -> Result<bool, CallsError> {
        let phone = name
            .and_then(|name| name.phone.clone())
            .or_else(|| failed.phone.clone());
        let started = failed
            .started
            .filter(|time| is_listable(*time))
            .map(Timestamp::as_second);
        let place = phone.zip(name.and_then(|name| name.unix).or(started));
        let id = match (&failed.key, &place) {
            (Some(key), Some(_)) if name.is_some() => item_id::object(key),
            (_, Some(_)) => item_id::egress(&failed.egress_id),
            (_, None) => return Ok(false),
        };
        let write = |items: &mut Items| {
            let own = &mut entry(items, &id).state.own;
            own.fail(&failed.reason, failed.at);
            own.egress_at = place.clone().or(own.egress_at.take());
            true
        };
        let updated = self.update(std::slice::from_ref(&id), write).await?;
        Ok(updated != Update::Unchanged)
    }

    /// Stores a Twilio recording. `call_sid` is the recording's own SID if it does not belong to a single call. `phone` is the other party's
    /// number, if known (empty: there is none); `dispatch` is the call it belongs to, if known.
    pub async fn record_twilio_recording(
        &self,
        call_sid: &str,
        recording: &TwilioRecording,
        phone: Option<&str>,
        dispatch: Option<&DispatchId>,
    ) -> Result<(), CallsError> {
        self.store_twilio_recording(call_sid, recording, phone, dispatch, false)
            .await
    }

    /// The same for a recording that the reconciler found. With `is_verified` the reconciler has checked that Twilio has the media.
    pub async fn record_found_twilio_recording(
        &self,
        call_sid: &str,
        recording: &TwilioRecording,
        phone: Option<&str>,
        is_verified: bool,
    ) -> Result<(), CallsError> {
        self.store_twilio_recording(call_sid, recording, phone, None, is_verified)
            .await
    }

    async fn store_twilio_recording(
        &self,
        call_sid: &str,
        recording: &TwilioRecording,
        phone: Option<&str>,
        dispatch: Option<&DispatchId>,
        is_verified: bool,
    ) -> Result<(), CallsError> {
        let id = item_id::twilio(call_sid);
        let phone = phone.map(digits);
        let mut recording = recording.clone();
        // Before the recording is indexed, so that every indexed recording is found by its SID.
        if !self
            .has_erased(&[id.as_str(), &item_id::recording(&recording.sid)])
            .await?
        {
            self.lifecycle.put_call_of(&recording.sid, call_sid).await?;
        }
        recording.start_time = recording.start_time.filter(|time| is_listable(*time));
        let write = |items: &mut Items| {
            let own = &mut entry(items, &id).state.own;
            own.record_twilio_recording(&recording, phone.as_deref());
            if let (true, Some(call)) = (is_verified, &mut own.twilio) {
                call.verified.insert(recording.sid.clone());
            }
            if let Some(dispatch) = dispatch {
                own.belongs_to(dispatch.as_str(), Timestamp::UNIX_EPOCH);
            }
            true
        };
        self.update(std::slice::from_ref(&id), write).await.map(|_| ())
    }

    /// The other party's number and the stored Twilio recordings of one call.
    pub async fn twilio_call(
        &self,
        call_sid: &str,
    ) -> Result<Option<(Option<String>, BTreeMap<String, TwilioRecording>)>, CallsError> {
        let id = item_id::twilio(call_sid);
        let mut items = self.load([id.as_str()]).await?;
        let twilio = items.remove(&id).and_then(|item| item.state.own.twilio);
        Ok(twilio.map(|call| {
            let recordings = call.with_copies().map(|recording| (recording.sid.clone(), recording));
            let recordings = recordings.collect();
            (call.phone, recordings)
        }))
    }

    /// The name of the customer of a call that Twilio recorded, if an interaction with it is known.
    pub async fn customer_of_twilio_call(&self, call_sid: &str) -> Result<Option<String>, CallsError> {
        let call = self.call_of_twilio(call_sid).await?;
        Ok(call.and_then(|call| call.customer_name))
    }

    /// Stores that there is a transcript of this object as it was written then. An object that is not in the table stays out of it.
    pub async fn mark_object_transcribed(&self, recording: &RecordingRef) -> Result<(), CallsError> {
        if let Some(sid) = &recording.recording_sid {
            let call = self.lifecycle.copy_state(sid).await?.call_sid;
            return self
                .mark_twilio_transcribed(call.as_deref().unwrap_or(sid.as_str()), sid.as_str())
                .await;
        }
        let id = item_id::object(&recording.key);
        let etag = recording.etag.as_deref().unwrap_or_default();
        let write = |items: &mut Items| items.contains_key(&id) && set_transcribed(items, &id, etag);
        self.update(std::slice::from_ref(&id), write).await.map(|_| ())
    }

    /// Stores that there is a transcript of this recording of a call by Twilio, whether or not Twilio has reported the recording yet.
    pub async fn mark_twilio_transcribed(&self, call_sid: &str, recording_sid: &str) -> Result<(), CallsError> {
        let id = item_id::twilio(call_sid);
        let write = |items: &mut Items| set_transcribed(items, &id, recording_sid);
        self.update(std::slice::from_ref(&id), write).await.map(|_| ())
    }
}

/// Whether it was not stored yet.
fn set_transcribed(items: &mut Items, id: &str, version: &str) -> bool {
    entry(items, id).state.own.transcribed.insert(version.to_owned())
}

/// Whether one `sequencer` of S3 events for the same key is later than another. Sequencers are hexadecimal; for comparison, S3 requires the
/// shorter one to be padded with zeros on the right.
fn is_later(sequencer: &str, than: &str) -> bool {
    let length = sequencer.len().max(than.len());
    let padded = |text: &str| format!("{:0<length$}", text.to_ascii_uppercase());
    padded(sequencer) > padded(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequencers_compare_as_if_padded_with_zeros() {
        assert!(is_later("0055AED6DCD90281E6", "0055AED6DCD90281E5"));
        assert!(is_later("0055AED6DCD90281E500", "0055AED6DCD90281E4FF"));
        assert!(!is_later("0055AED6DCD90281E5", "0055AED6DCD90281E5"));
        assert!(!is_later("0055AED6DCD90281E5", "0055aed6dcd90281e500"));
        assert!(is_later("0055aed6dcd90281e501", "0055AED6DCD90281E5"));
    }
}
