//! Which transcripts were ever begun of a recording: their ids contain a hash of the options, so they can't be found by the recording.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem};

use super::{error::LifecycleError, table::Lifecycle};
use crate::clients::dynamodb::text;

/// Separates the id of a transcript from a run, of which there may be parts.
const RUN: char = '|';

/// The id of the item of the recording that a transcript is of: `transcripts#`, and what the transcript's id begins with.
fn id_of(audio: &str) -> String {
    format!("transcripts#{audio}")
}

/// A transcript that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunTranscript {
    /// The id of its item in the transcripts table.
    pub id: String,
    /// A run of it, whose parts may be stored.
    pub run: Option<String>,
}

impl Lifecycle {
    /// Stores that a transcript is begun of the recording whose transcripts' ids begin with `audio`.
    pub async fn note_transcript(&self, audio: &str, transcript: &BegunTranscript) -> Result<(), LifecycleError> {
        let entry = match &transcript.run {
            Some(run) => format!("{}{RUN}{run}", transcript.id),
            None => transcript.id.clone(),
        };
        let values = [(":begun", AttributeValue::Ss(vec![entry]))];
        self.change(&id_of(audio), "ADD begun :begun", values).await
    }

    /// The transcripts that were begun of a recording.
    pub async fn begun_transcripts(&self, audio: &str) -> Result<Vec<BegunTranscript>, LifecycleError> {
        let item = self.get(&id_of(audio)).await?.unwrap_or_default();
        let Some(AttributeValue::Ss(entries)) = item.get("begun") else {
            return Ok(Vec::new());
        };
        let entries = entries.iter().map(|entry| match entry.split_once(RUN) {
            Some((id, run)) => BegunTranscript {
                id: id.to_owned(),
                run: Some(run.to_owned()),
            },
            None => BegunTranscript {
                id: entry.clone(),
                run: None,
            },
        });
        Ok(entries.collect())
    }

    /// Forgets the transcripts of a recording, which are erased.
    pub async fn forget_transcripts(&self, audio: &str) -> Result<(), LifecycleError> {
        self.delete(&id_of(audio)).await
    }

    /// Parts of a transaction that erases a call: they delete its own time, and the states of its Twilio recordings.
    pub fn deletions<'a>(
        &self,
        item: &str,
        sids: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<TransactWriteItem>, LifecycleError> {
        let recordings = sids.map(|sid| format!("recording#{sid}"));
        let ids = recordings.chain([format!("retain#{item}")]);
        let delete = |id: String| {
            let delete = Delete::builder().table_name(&self.table).key("id", text(&id)).build();
            let delete = delete.map_err(|error| LifecycleError(error.to_string()))?;
            Ok(TransactWriteItem::builder().delete(delete).build())
        };
        ids.map(delete).collect()
    }
}
