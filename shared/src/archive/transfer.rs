//! Streams a recording from Twilio to a multipart upload and to the disk, where it is decoded afterwards. The disk is needed because a decoder
//! seeks; memory holds a few parts, however long the recording is.

use std::{collections::BTreeMap, fs::File, io::Seek, pin::pin};

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest, checksum};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{io::AsyncWriteExt, time::Instant};

use super::error::CopyError;
use crate::clients::{
    bucket::{PART_BYTES, RecordingsBucket, UploadedPart, Uploading},
    twilio::{Media, MediaFormat, RecordingSid, Rest, Twilio, TwilioError},
};
use reqwest::Url;

/// Parts that are sent at the same time. With the part that is being received, they are what memory holds.
const CONCURRENCY: usize = 3;
/// How often a broken download is continued.
const CONTINUATIONS: u32 = 5;

/// Where the media comes from.
pub(super) enum Source<'a> {
    /// From Twilio.
    Twilio {
        twilio: &'a Twilio,
        sid: &'a RecordingSid,
        format: MediaFormat,
        both_channels: bool,
    },
    /// From the customer's own storage.
    External { twilio: &'a Twilio, url: Url },
}

impl Source<'_> {
    /// Opens the media, or the rest of it.
    async fn open(&self, rest: Option<&Rest>, deadline: Instant) -> Result<Media, TwilioError> {
        match self {
            Self::Twilio {
                twilio,
                sid,
                format,
                both_channels,
            } => twilio.media_from(sid, *format, *both_channels, rest, deadline).await,
            Self::External { twilio, url } => twilio.external(url.clone(), deadline).await,
        }
    }
}

/// A recording that was received and uploaded, and whose upload is not completed.
pub(super) struct Transferred {
    pub(super) parts: BTreeMap<i32, UploadedPart>,
    /// The CRC-64/NVME of all bytes.
    pub(super) crc: u64,
    pub(super) size: u64,
    /// The file, from its start.
    pub(super) file: File,
}

/// Receives the recording and sends the parts that S3 does not have yet.
pub(super) async fn transfer(
    source: &Source<'_>,
    bucket: &RecordingsBucket,
    upload: &Uploading,
    known: &BTreeMap<i32, UploadedPart>,
    deadline: Instant,
) -> Result<Transferred, CopyError> {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    let (mut whole, mut size) = (Digest::new(CrcAlgorithm::Crc64Nvme), 0_u64);
    let mut buffer = BytesMut::with_capacity(PART_BYTES);
    let mut parts = BTreeMap::new();
    let mut sending = FuturesUnordered::new();
    let send = |number: i32, bytes: Bytes| async move {
        let crc = checksum(CrcAlgorithm::Crc64Nvme, &bytes);
        let text = crate::clients::bucket::checksum_text(crc);
        let stored = known.get(&number);
        match stored.filter(|part| part.size == bytes.len() as u64 && part.checksum.as_deref() == Some(&text)) {
            Some(part) => Ok((number, part.clone())),
            None => Ok::<_, CopyError>((number, bucket.upload_part(upload, number, bytes, crc).await?)),
        }
    };
    let (mut number, mut continuations) = (0, 0);
    let mut rest: Option<Rest> = None;
    'connections: loop {
        let media = source.open(rest.as_ref(), deadline).await?;
        if !media.has_end {
            let message = "The answer does not say where it ends, so it can't be known to be whole";
            return Err(CopyError::transient("copy_incomplete", message));
        }
        if rest
            .as_ref()
            .is_some_and(|rest| media.validator.as_ref() != Some(&rest.validator))
        {
            let message = "The download broke, and the file is another one now";
            return Err(CopyError::transient("copy_interrupted", message));
        }
        let validator = media.validator.clone();
        // Bytes that are sent again are skipped.
        let mut skipped = size
            .checked_sub(media.begins_at)
            .ok_or_else(|| TwilioError::Unexpected("the response begins after the requested position".to_owned()))?;
        let mut chunks = pin!(media.into_stream());
        loop {
            // Parts are sent while the next one is received.
            let received = tokio::select! {
                received = chunks.next() => received,
                Some(sent) = sending.next(), if !sending.is_empty() => {
                    parts.extend([sent?]);
                    continue;
                }
            };
            let chunk = match received {
                None => break 'connections,
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => match (error, validator) {
                    (error @ TwilioError::Connection(_), Some(validator)) if continuations < CONTINUATIONS => {
                        tracing::info!(%error, size, "the broken download is continued");
                        continuations += 1;
                        rest = Some(Rest { from: size, validator });
                        continue 'connections;
                    }
                    (error, _) => return Err(error.into()),
                },
            };
            let drop = skipped.min(chunk.len() as u64);
            skipped -= drop;
            let mut chunk = chunk.slice(drop as usize..);
            file.write_all(&chunk).await?;
            whole.update(&chunk);
            size += chunk.len() as u64;
            while !chunk.is_empty() {
                let taken = chunk.split_to(chunk.len().min(PART_BYTES - buffer.len()));
                buffer.extend_from_slice(&taken);
                if buffer.len() < PART_BYTES {
                    continue;
                }
                while sending.len() >= CONCURRENCY {
                    parts.extend(sending.next().await.transpose()?);
                }
                number += 1;
                let full = std::mem::replace(&mut buffer, BytesMut::with_capacity(PART_BYTES));
                sending.push(send(number, full.freeze()));
            }
        }
    }
    if size == 0 {
        return Err(CopyError::transient("media_empty", "Twilio sent an empty file"));
    }
    if !buffer.is_empty() {
        sending.push(send(number + 1, buffer.freeze()));
    }
    while let Some(sent) = sending.next().await {
        parts.extend([sent?]);
    }
    file.flush().await?;
    let mut file = file.into_std().await;
    file.rewind()?;
    Ok(Transferred {
        parts,
        crc: whole.finalize(),
        size,
        file,
    })
}
