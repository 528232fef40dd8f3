//! What the reconciler reads from the index, and keeps in it.

use serde::{Serialize, de::DeserializeOwned};

use super::{error::CallsError, item::Items, item_id, model::Call, observations::TwilioRecording, table::Calls};
use crate::clients::{
    bucket::ListedRecording,
    dynamodb::{get_text, text},
};

/// A recording of Twilio's that the table does not know as it is.
#[derive(Debug, Clone)]
pub struct TwilioUpdate {
    /// The call, or the recording itself when it is of no single call.
    pub call_sid: String,
    /// The recording.
    pub recording: TwilioRecording,
    /// The other party's number, if it is known; empty when there is none.
    pub phone: Option<String>,
    /// Whether it can be played now, and could not before.
    pub is_completion: bool,
    /// Whether the recording itself is not in the table as it is.
    pub is_new: bool,
    /// Whether there is no need to see whether its media is there.
    pub is_verified: bool,
}

/// What the reconciler keeps in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcilerState {
    /// Where it goes on.
    Checkpoint,
    /// What it found.
    Report,
    /// What it found on each day.
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
    /// The keys of those of the bucket's recordings that are not in the table as they are in the bucket.
    pub async fn out_of_date(&self, objects: &[ListedRecording]) -> Result<Vec<String>, CallsError> {
        let ids: Vec<String> = objects.iter().map(|object| item_id::object(&object.key)).collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let is_known = |id: &str, object: &ListedRecording| {
            let known = items.get(id).and_then(|item| item.state.own.object.as_ref());
            known.is_some_and(|known| {
                // Some stores list no ETags.
                let same_etag = object.info.etag.is_none() || known.etag == object.info.etag;
                let same_file = known.size == Some(object.info.size) && same_etag;
                known.usable && same_file && known.name(&object.key) == object.name
            })
        };
        let unknown = ids.iter().zip(objects).filter(|(id, object)| !is_known(id, object));
        Ok(unknown.map(|(_, object)| object.key.clone()).collect())
    }

    /// Those of Twilio's recordings, with their calls, of which the table does not know all: what they are now, whether their call has a number,
    /// and whether their media was there after they were completed.
    pub async fn twilio_updates(
        &self,
        recordings: Vec<(String, TwilioRecording)>,
    ) -> Result<Vec<TwilioUpdate>, CallsError> {
        let ids: Vec<String> = recordings
            .iter()
            .map(|(call_sid, _)| item_id::twilio(call_sid))
            .collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let updates = ids.iter().zip(recordings).filter_map(|(id, (call_sid, recording))| {
            let call = items.get(id).and_then(|item| item.state.own.twilio.as_ref());
            let known = call.and_then(|call| call.recordings.get(&recording.sid));
            let phone = call.and_then(|call| call.phone.clone());
            let is_new = recording.is_newer_than(known);
            let is_playing = known.is_none_or(TwilioRecording::is_completed) && recording.is_completed();
            let is_verified = !is_playing || call.is_some_and(|call| call.verified.contains(&recording.sid));
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

    /// Pairs anew what lies near a row, for what arrived at the same moment and did not see each other.
    pub async fn repair(&self, call: &Call) -> Result<(), CallsError> {
        let there = |items: &mut Items| items.contains_key(&call.item);
        self.update(std::slice::from_ref(&call.item), there).await.map(|_| ())
    }

    /// Reads what the reconciler keeps. What another version of the program wrote, and can't be read any more, counts as none.
    pub async fn reconciler_state<T: DeserializeOwned>(&self, state: ReconcilerState) -> Result<Option<T>, CallsError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let item = get.key("id", text(state.id())).send().await?.item;
        let json = item.and_then(|item| get_text(&item, "note"));
        Ok(json.and_then(|json| {
            let read = serde_json::from_str(&json);
            read.inspect_err(|error| tracing::warn!(?state, %error, "an unreadable state of the reconciler is ignored"))
                .ok()
        }))
    }

    /// Writes what the reconciler keeps, of at most some 400 kB.
    pub async fn save_reconciler_state<T: Serialize>(
        &self,
        state: ReconcilerState,
        value: &T,
    ) -> Result<(), CallsError> {
        let json = serde_json::to_string(value).map_err(CallsError::bug)?;
        let put = self.client.put_item().table_name(&self.table);
        put.item("id", text(state.id()))
            .item("note", text(&json))
            .send()
            .await?;
        Ok(())
    }
}
