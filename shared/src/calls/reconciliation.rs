//! The reconciler's queries of the index, and the state that it stores there.

use serde::{Serialize, de::DeserializeOwned};

use super::{error::CallsError, item::Items, item_id, model::Call, observations::TwilioRecording, table::Calls};
use crate::{
    clients::{
        bucket::ListedRecording,
        dynamodb::{get_text, text},
    },
    log::json_error,
};

/// A Twilio recording whose stored state is missing or out of date.
#[derive(Debug, Clone)]
pub struct TwilioUpdate {
    /// SID of the call, or of the recording itself if it does not belong to a single call.
    pub call_sid: String,
    /// The recording.
    pub recording: TwilioRecording,
    /// The other party's number, if known; empty if there is none.
    pub phone: Option<String>,
    /// Whether the recording can be played now and could not be played in the stored state.
    pub is_completion: bool,
    /// Whether the stored state of the recording itself is missing or out of date.
    pub is_new: bool,
    /// Whether the reconciler need not check that Twilio has the media.
    pub is_verified: bool,
}

/// The states that the reconciler stores in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcilerState {
    /// Where the next run continues.
    Checkpoint,
    /// The report of the last finished round.
    Report,
    /// The findings for each day.
    Days,
}

impl ReconcilerState {
    fn id(self) -> &'static str {
        match self {
            Self::Checkpoint => "reconciler#checkpoint",
            Self::Report => "reconciler#report",
            Self::Days => "reconciler#days",
        }
    }
}

impl Calls {
    /// The keys of the listed recordings whose items are missing or out of date.
    pub async fn out_of_date(&self, objects: &[ListedRecording]) -> Result<Vec<String>, CallsError> {
        let ids: Vec<String> = objects.iter().map(|object| item_id::object(&object.key)).collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let is_known = |id: &str, object: &ListedRecording| {
            let known = items.get(id).and_then(|item| item.state.own.object.as_ref());
            known.is_some_and(|known| {
                // Some S3-compatible stores list no ETags.
                let same_etag = object.info.etag.is_none() || known.etag == object.info.etag;
                let same_file = known.size == Some(object.info.size) && same_etag;
                let same_place = known.archived == object.info.is_archived;
                known.usable && same_file && same_place && known.name(&object.key) == object.name
            })
        };
        let unknown = ids.iter().zip(objects).filter(|(id, object)| !is_known(id, object));
        Ok(unknown.map(|(_, object)| object.key.clone()).collect())
    }

    /// The Twilio recordings, given with their call SIDs, that need work: the stored state is out of date, the call's number is unknown, or the
    /// media of the completed recording has not been checked.
    pub async fn twilio_updates(
        &self,
        recordings: Vec<(String, TwilioRecording)>,
    ) -> Result<Vec<TwilioUpdate>, CallsError> {
        let ids: Vec<String> = recordings
            .iter()
            .map(|(call_sid, _)| item_id::twilio(call_sid))
            .collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let known = |id: &str, sid: &str| items.get(id)?.state.own.twilio.as_ref()?.recordings.get(sid);
        let unknown = ids.iter().zip(&recordings);
        let unknown = unknown.filter(|(id, (_, recording))| known(id, &recording.sid).is_none());
        let unknown: Vec<String> = unknown
            .flat_map(|(id, (_, recording))| [id.clone(), item_id::recording(&recording.sid)])
            .collect();
        let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
        let erased = self.erased(&unknown).await?;
        let updates = ids.iter().zip(recordings).filter_map(|(id, (call_sid, recording))| {
            let call = items.get(id).and_then(|item| item.state.own.twilio.as_ref());
            let known = known(id, &recording.sid);
            let is_erased =
                || erased.contains(id.as_str()) || erased.contains(item_id::recording(&recording.sid).as_str());
            if known.is_none() && is_erased() {
                return None;
            }
            let phone = call.and_then(|call| call.phone.clone());
            let is_new = recording.is_newer_than(known);
            let is_playable = known.is_none_or(TwilioRecording::is_completed) && recording.is_completed();
            let is_verified = !is_playable || call.is_some_and(|call| call.verified.contains(&recording.sid));
            (is_new || phone.is_none() || !is_verified).then(|| TwilioUpdate {
                is_completion: recording.completes(known),
                is_new,
                is_verified,
                call_sid,
                recording,
                phone,
            })
        });
        Ok(updates.collect())
    }

    /// Pairs the items near a row again. Concurrent writes can miss each other, and this corrects the result.
    pub async fn repair(&self, call: &Call) -> Result<(), CallsError> {
        let exists = |items: &mut Items| items.contains_key(&call.item);
        self.update(std::slice::from_ref(&call.item), exists).await.map(|_| ())
    }

    /// Reads a stored state of the reconciler. A state that can't be parsed, because another version wrote it, counts as absent.
    pub async fn reconciler_state<T: DeserializeOwned>(&self, state: ReconcilerState) -> Result<Option<T>, CallsError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let item = get.key("id", text(state.id())).send().await?.item;
        let json = item.and_then(|item| get_text(&item, "note"));
        Ok(json.and_then(|json| {
            let read = serde_json::from_str(&json);
            read.inspect_err(|error| {
                let error = json_error(error);
                tracing::warn!(?state, error, "an unreadable state of the reconciler is ignored");
            })
            .ok()
        }))
    }

    /// Stores a state of the reconciler. DynamoDB's limit for an item is 400 KB.
    pub async fn save_reconciler_state<T: Serialize>(
        &self,
        state: ReconcilerState,
        value: &T,
    ) -> Result<(), CallsError> {
        let json = serde_json::to_string(value)?;
        let put = self.client.put_item().table_name(&self.table);
        put.item("id", text(state.id()))
            .item("note", text(&json))
            .send()
            .await?;
        Ok(())
    }
}
