//! The copies of Twilio's recordings in the index.

use super::{
    error::CallsError,
    item::{Items, entry},
    item_id,
    model::Call,
    observations::{CopyResult, TwilioCopy, TwilioRecording},
    table::Calls,
};
use crate::{
    clients::{bucket::ObjectInfo, twilio::RecordingSid},
    lifecycle::CopyState,
};

/// A Twilio recording in the index.
#[derive(Debug, Clone)]
pub struct IndexedRecording {
    /// The SID of its call, or its own if it does not belong to a single call.
    pub call_sid: String,
    /// The recording with its copy.
    pub recording: TwilioRecording,
    /// The call that it belongs to.
    pub call: Call,
    /// The state of its copy.
    pub copying: CopyState,
}

impl Calls {
    /// A Twilio recording and its call; `None` if the recording is not in the index.
    pub async fn twilio_recording(&self, sid: &RecordingSid) -> Result<Option<IndexedRecording>, CallsError> {
        let copying = self.lifecycle.copy_state(sid).await?;
        let Some(call_sid) = copying.call_sid.clone() else {
            return Ok(None);
        };
        let Some(call) = self.call_of_twilio(&call_sid).await? else {
            return Ok(None);
        };
        let found = call.twilio.iter().find(|recording| recording.sid == sid.as_str());
        Ok(found.cloned().map(|recording| IndexedRecording {
            call_sid,
            recording,
            call,
            copying,
        }))
    }

    /// Whether a Twilio recording was erased, or its call, whose other recordings may come to light later.
    pub async fn is_erased_recording(&self, sid: &RecordingSid, call_sid: Option<&str>) -> Result<bool, CallsError> {
        let recording = item_id::recording(sid.as_str());
        let call = call_sid.map(item_id::twilio);
        let ids: Vec<&str> = std::iter::once(recording.as_str()).chain(call.as_deref()).collect();
        self.has_erased(&ids).await
    }

    /// The call that Twilio knows by this SID.
    pub async fn call_of_twilio(&self, call_sid: &str) -> Result<Option<Call>, CallsError> {
        let mut id = item_id::twilio(call_sid);
        // An item belongs to a call, which may belong to a dispatch.
        for _ in 0..3 {
            let Some(item) = self.load([id.as_str()]).await?.remove(&id) else {
                return Ok(None);
            };
            match item.state.owner.clone() {
                Some(owner) => id = owner,
                None => {
                    return Ok(item.row().map(|(call, _)| Call {
                        item: item.id.clone(),
                        ..call
                    }));
                }
            }
        }
        Ok(None)
    }

    /// Stores the result of copying a recording. A failure does not replace a copy.
    pub async fn record_copy(
        &self,
        call_sid: &str,
        recording: &TwilioRecording,
        result: &CopyResult,
    ) -> Result<(), CallsError> {
        let id = item_id::twilio(call_sid);
        if self
            .has_erased(&[id.as_str(), &item_id::recording(&recording.sid)])
            .await?
        {
            return Ok(());
        }
        self.lifecycle.put_call_of(&recording.sid, call_sid).await?;
        let write = |items: &mut Items| {
            let own = &mut entry(items, &id).state.own;
            own.record_twilio_recording(recording, None);
            let copies = &mut own.twilio.get_or_insert_default().copies;
            let is_copied = matches!(copies.get(&recording.sid), Some(CopyResult::Copied(_)));
            if !(is_copied && matches!(result, CopyResult::Failed(_))) {
                copies.insert(recording.sid.clone(), result.clone());
            }
            true
        };
        self.update(std::slice::from_ref(&id), write).await.map(|_| ())
    }

    /// Stores what S3 says now of a copy: it was overwritten, deleted, or moved to or from an archive. A copy that the index does not have stays
    /// out of it.
    pub async fn observe_copy(
        &self,
        call_sid: &str,
        sid: &RecordingSid,
        key: &str,
        found: Option<&ObjectInfo>,
    ) -> Result<(), CallsError> {
        let id = item_id::twilio(call_sid);
        let write = |items: &mut Items| {
            let Some(call) = items.get_mut(&id).and_then(|item| item.state.own.twilio.as_mut()) else {
                return false;
            };
            let Some(CopyResult::Copied(copy)) = call.copies.get_mut(sid.as_str()) else {
                return false;
            };
            if copy.key != key {
                return false;
            }
            match found {
                Some(found) => {
                    *copy = TwilioCopy {
                        overwritten: copy.overwritten || copy.etag != found.etag,
                        etag: found.etag.clone(),
                        size: found.size,
                        in_glacier: found.is_archived,
                        ..copy.clone()
                    };
                }
                None => {
                    call.copies.remove(sid.as_str());
                }
            }
            true
        };
        self.update(std::slice::from_ref(&id), write).await.map(|_| ())
    }
}
