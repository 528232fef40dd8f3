//! What the reconciler asks of the index, and keeps in it.

use serde::{Serialize, de::DeserializeOwned};

use super::{error::CallsError, item::Items, item_id, model::Call, observations::TwilioRecording, table::Calls};
use crate::clients::{
    bucket::RecordingObject,
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
}

/// What the reconciler keeps in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcilerState {
    /// Where it goes on.
    Checkpoint,
    /// What it found.
    Report,
}

impl ReconcilerState {
    fn id(self) -> &'static str {
        match self {
            Self::Checkpoint => "reconciler#checkpoint",
            Self::Report => "reconciler#report",
        }
    }
}

impl Calls {
    /// Those of a page of the bucket's recordings that are not in the table as they are in the bucket.
    pub async fn out_of_date(&self, objects: &[RecordingObject]) -> Result<Vec<String>, CallsError> {
        let ids: Vec<String> = objects.iter().map(|object| item_id::object(&object.key)).collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let is_known = |id: &str, object: &RecordingObject| {
            let known = items.get(id).and_then(|item| item.state.own.object.as_ref());
            known.is_some_and(|known| known.usable && known.size == Some(object.size) && known.etag == object.etag)
        };
        let unknown = ids.iter().zip(objects).filter(|(id, object)| !is_known(id, object));
        Ok(unknown.map(|(_, object)| object.key.clone()).collect())
    }

    /// Those of Twilio's recordings, with their calls, of which the table does not know all, or not whether their call has a number.
    pub async fn twilio_updates(
        &self,
        recordings: Vec<(String, TwilioRecording)>,
    ) -> Result<Vec<TwilioUpdate>, CallsError> {
        let ids: Vec<String> = recordings
            .iter()
            .map(|(call_sid, _)| item_id::twilio(call_sid))
            .collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let news = ids.iter().zip(recordings).filter_map(|(id, (call_sid, recording))| {
            let call = items.get(id).and_then(|item| item.state.own.twilio.as_ref());
            let known = call.and_then(|call| call.recordings.get(&recording.sid));
            let phone = call.and_then(|call| call.phone.clone());
            (recording.is_newer_than(known) || phone.is_none()).then(|| TwilioUpdate {
                is_completion: recording.completes(known),
                call_sid,
                recording,
                phone,
            })
        });
        Ok(news.collect())
    }

    /// Pairs anew what lies near a row, for what arrived at the same moment and did not see each other.
    pub async fn repair(&self, call: &Call) -> Result<(), CallsError> {
        let there = |items: &mut Items| items.contains_key(&call.item);
        self.update(std::slice::from_ref(&call.item), there).await.map(|_| ())
    }

    /// Reads a note. One that another version of the program wrote, and that can't be read any more, counts as none.
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

    /// Writes a note, of at most some 400 kB.
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
