//! Reads the transcripts table.

use aws_sdk_dynamodb::{Client, primitives::Blob, types::AttributeValue};
use jiff::Timestamp;

use super::{
    encoding::{pack, state_from, unpack},
    error::TranscriptsError,
    model::{AudioId, Peaks, TranscriptId, TranscriptState, Variant},
};
use crate::{
    clients::{
        aws::Aws,
        dynamodb::{Item, get_number, get_text, number, text},
    },
    config::{ConfigError, Env},
    lifecycle::{BegunTranscript, Lifecycle},
};

/// The transcripts table.
pub struct Transcripts {
    pub(super) client: Client,
    pub(super) table: String,
    /// The table with the transcripts that were begun; `None` in functions that begin none.
    lifecycle: Option<Lifecycle>,
}

impl Transcripts {
    /// Reads `TRANSCRIPTS_TABLE` and `LIFECYCLE_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            client: aws.dynamodb(),
            table: env.required("TRANSCRIPTS_TABLE")?.to_owned(),
            lifecycle: match env.optional("LIFECYCLE_TABLE") {
                Some(_) => Some(Lifecycle::from_env(env, aws)?),
                None => None,
            },
        })
    }

    pub(super) fn lifecycle(&self) -> Result<&Lifecycle, TranscriptsError> {
        let lifecycle = self.lifecycle.as_ref();
        lifecycle.ok_or_else(|| TranscriptsError("LIFECYCLE_TABLE is not set".to_owned()))
    }

    /// Stores that a transcript is begun, before anything is stored of it.
    pub(super) async fn note_begun(&self, id: &TranscriptId, run: Option<&str>) -> Result<(), TranscriptsError> {
        let begun = BegunTranscript {
            id: id.as_str().to_owned(),
            run: run.map(str::to_owned),
        };
        Ok(self.lifecycle()?.note_transcript(id.audio(), &begun).await?)
    }

    /// The state of `id`.
    pub async fn get(&self, id: &TranscriptId) -> Result<TranscriptState, TranscriptsError> {
        let query = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", text(id.as_str()))
            .consistent_read(true);
        self.state_from(query.send().await?.item).await
    }

    /// The state of the first of these variants that is not absent.
    pub async fn first(&self, audio: &AudioId, variants: &[Variant]) -> Result<TranscriptState, TranscriptsError> {
        for variant in variants {
            let state = self.get(&TranscriptId::new(audio, variant)).await?;
            if state != TranscriptState::Absent {
                return Ok(state);
            }
        }
        Ok(TranscriptState::Absent)
    }

    /// Parses the state of an item, and loads its additional text items if it has any.
    pub(super) async fn state_from(&self, item: Option<Item>) -> Result<TranscriptState, TranscriptsError> {
        let Some(mut item) = item else {
            return Ok(TranscriptState::Absent);
        };
        if let Some(count) = get_number(&item, "text_items") {
            let (id, version) = (get_text(&item, "id"), get_number(&item, "text_version"));
            let id = TranscriptId::from_key(id.unwrap_or_default());
            let rest = (0..count).map(|n| self.bytes(id.text_item(version.unwrap_or_default(), n)));
            let mut speech = Vec::new();
            for piece in futures_util::future::try_join_all(rest).await? {
                let piece =
                    piece.ok_or_else(|| TranscriptsError("a text item of a completed transcript is missing".into()))?;
                speech.extend_from_slice(&piece);
            }
            item.insert("speech".into(), AttributeValue::B(Blob::new(speech)));
        }
        state_from(&item)
    }

    /// The stored waveform of a recording.
    pub async fn waveform(&self, audio: &AudioId) -> Result<Option<Peaks>, TranscriptsError> {
        let packed = self.bytes(audio.waveform_item()).await?;
        packed.map(|packed| unpack(&packed)).transpose()
    }

    /// Stores the waveform of a recording.
    pub async fn put_waveform(&self, audio: &AudioId, peaks: &Peaks) -> Result<(), TranscriptsError> {
        self.put_bytes(audio.waveform_item(), &pack(peaks)?, None).await
    }

    /// The compressed bytes of a part, text or waveform item.
    pub(super) async fn bytes(&self, id: String) -> Result<Option<Vec<u8>>, TranscriptsError> {
        let query = self.client.get_item().table_name(&self.table).key("id", text(&id));
        let item = query.consistent_read(true).send().await?.item.unwrap_or_default();
        Ok(match item.get("speech") {
            Some(AttributeValue::B(bytes)) => Some(bytes.clone().into_inner()),
            _ => None,
        })
    }

    /// Writes compressed bytes to a part or text item.
    pub(super) async fn put_bytes(
        &self,
        id: String,
        bytes: &[u8],
        expires: Option<Timestamp>,
    ) -> Result<(), TranscriptsError> {
        let write = self.client.put_item().table_name(&self.table);
        let mut item = Item::from([
            ("id".to_owned(), text(&id)),
            ("speech".to_owned(), AttributeValue::B(Blob::new(bytes))),
        ]);
        if let Some(expires) = expires {
            item.insert("expires_at_unix".into(), number(expires.as_second()));
        }
        write.set_item(Some(item)).send().await?;
        Ok(())
    }
}
