//! Which transcripts were ever begun of a recording: their ids contain a hash of the options, so they can't be found by the recording.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{error::LifecycleError, table::Lifecycle};
use crate::clients::dynamodb::{get_number, number};

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

/// What was begun of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BegunTranscripts {
    /// The transcripts.
    pub transcripts: Vec<BegunTranscript>,
    /// When the lease ends of a worker whose transcript was erased meanwhile, and which may store parts until then.
    pub busy_until: Option<Timestamp>,
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
    pub async fn begun_transcripts(&self, audio: &str) -> Result<BegunTranscripts, LifecycleError> {
        let item = self.get(&id_of(audio)).await?.unwrap_or_default();
        let entries = item.get("begun").and_then(|begun| begun.as_ss().ok());
        let transcripts = entries.into_iter().flatten().map(|entry| match entry.split_once(RUN) {
            Some((id, run)) => BegunTranscript {
                id: id.to_owned(),
                run: Some(run.to_owned()),
            },
            None => BegunTranscript {
                id: entry.clone(),
                run: None,
            },
        });
        let busy = get_number(&item, "busy_until").and_then(|at| Timestamp::from_millisecond(at).ok());
        Ok(BegunTranscripts {
            transcripts: transcripts.collect(),
            busy_until: busy,
        })
    }

    /// Stores until when a worker whose transcript is erased now may store parts of it.
    pub async fn note_busy(&self, audio: &str, until: Timestamp) -> Result<(), LifecycleError> {
        let values = [(":until", number(until.as_millisecond()))];
        self.change(&id_of(audio), "SET busy_until = :until", values).await
    }

    /// Forgets the transcripts of a recording, which are erased.
    pub async fn forget_transcripts(&self, audio: &str) -> Result<(), LifecycleError> {
        self.delete(&id_of(audio)).await
    }
}
