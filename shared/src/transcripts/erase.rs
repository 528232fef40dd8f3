//! Erases everything that is stored of the transcripts of a recording.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use jiff::Timestamp;

use super::{
    error::TranscriptsError,
    model::{AudioId, TranscriptId, Variant},
    table::Transcripts,
};
use crate::clients::dynamodb::{Item, batch_get, get_number, get_text, pause, text};

/// Parts of one channel that are looked for at once. More than this many in a row are never missing between two others.
const PARTS: u32 = 50;

/// What was erased of a recording's transcripts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasedTranscripts {
    /// Transcripts, finished or not.
    pub transcripts: u64,
    /// A worker holds the lease on one of them until this time, and may store parts until then.
    pub busy_until: Option<Timestamp>,
}

impl Transcripts {
    /// Erases the transcripts of this recording with all their parts and texts, and its waveform. `older` are ids that may be used as well.
    pub async fn erase(
        &self,
        audio: &AudioId,
        variants: &[Variant],
        older: &[TranscriptId],
    ) -> Result<ErasedTranscripts, TranscriptsError> {
        let key = audio.as_key();
        let lifecycle = self.lifecycle()?;
        let mut runs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let begun = lifecycle.begun_transcripts(&key).await?;
        for transcript in begun.transcripts {
            runs.entry(transcript.id).or_default().extend(transcript.run);
        }
        let known = variants.iter().map(|variant| TranscriptId::new(audio, variant));
        for id in known.chain(older.iter().cloned()) {
            runs.entry(id.as_str().to_owned()).or_default();
        }
        let ids: Vec<String> = runs.keys().cloned().collect();
        let now = Timestamp::now();
        let mut erased = ErasedTranscripts {
            transcripts: 0,
            busy_until: begun.busy_until.filter(|until| *until > now),
        };
        let mut deleted = vec![audio.waveform_item()];
        for item in self.items(&ids).await? {
            let id = get_text(&item, "id").unwrap_or_default();
            let transcript = TranscriptId::from_key(id.clone());
            erased.transcripts += 1;
            let (version, count) = (get_number(&item, "text_version"), get_number(&item, "text_items"));
            for n in 0..count.unwrap_or_default() {
                deleted.push(transcript.text_item(version.unwrap_or_default(), n));
            }
            if let Some(run) = get_text(&item, "run") {
                runs.entry(id.clone()).or_default().insert(run);
            }
            let until = get_number(&item, "lease_until").and_then(|at| Timestamp::from_millisecond(at).ok());
            let until = until.filter(|until| *until > now);
            if let Some(until) = until.filter(|_| get_text(&item, "state").as_deref() == Some("in_progress")) {
                // It is known to the next attempt as well, which no longer finds the transcript.
                lifecycle.note_busy(&key, until).await?;
                erased.busy_until = erased.busy_until.max(Some(until));
            }
            // First the transcript: without it, a worker that holds the lease stores no text.
            self.delete_items(&[id]).await?;
        }
        for (id, runs) in &runs {
            for run in runs {
                deleted.extend(self.parts_of(id, run).await?);
            }
        }
        self.delete_items(&deleted).await?;
        if erased.busy_until.is_none() {
            lifecycle.forget_transcripts(&key).await?;
        }
        Ok(erased)
    }

    /// The keys of the stored parts of a run.
    async fn parts_of(&self, id: &str, run: &str) -> Result<Vec<String>, TranscriptsError> {
        let mut found = Vec::new();
        for window in 0.. {
            let indexes = window * PARTS..(window + 1) * PARTS;
            let keys = indexes.flat_map(|index| [0, 1].map(|channel| format!("{id}#part#{run}#{channel}#{index}")));
            let stored = self.items(&keys.collect::<Vec<_>>()).await?;
            if stored.is_empty() {
                break;
            }
            found.extend(stored.iter().filter_map(|item| get_text(item, "id")));
        }
        Ok(found)
    }

    /// The existing items with these keys, without their text.
    async fn items(&self, ids: &[String]) -> Result<Vec<Item>, TranscriptsError> {
        let ids = ids.iter().map(String::as_str);
        let found = batch_get(&self.client, &self.table, ids, |keys| {
            keys.projection_expression("id, #state, lease_until, run, text_version, text_items")
                .expression_attribute_names("#state", "state")
        });
        Ok(found.await?)
    }

    async fn delete_items(&self, ids: &[String]) -> Result<(), TranscriptsError> {
        for ids in ids.chunks(25) {
            let mut writes = Vec::new();
            for id in ids {
                let delete = DeleteRequest::builder().key("id", text(id)).build();
                let delete = delete.map_err(|error| TranscriptsError(error.to_string()))?;
                writes.push(WriteRequest::builder().delete_request(delete).build());
            }
            let mut rest = Some(HashMap::from([(self.table.clone(), writes)]));
            let mut tries = 0;
            while let Some(requests) = rest.take().filter(|rest| !rest.is_empty()) {
                if tries > 0 {
                    pause(tries).await;
                }
                tries += 1;
                let answer = self
                    .client
                    .batch_write_item()
                    .set_request_items(Some(requests))
                    .send()
                    .await?;
                rest = answer.unprocessed_items;
            }
        }
        Ok(())
    }
}
