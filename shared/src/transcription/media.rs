//! Where a recording's audio comes from, and how it is kept on disk instead of in memory.

use std::{
    fs,
    io::{self, Seek},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use reqwest::Url;
use tokio::{fs::File, io::AsyncWriteExt, task::spawn_blocking, time::Instant};

use super::error::TranscribeError;
use crate::clients::{
    bucket::RecordingsBucket,
    twilio::{RecordingSid, Twilio, TwilioError},
};

/// Bytes read from a file at once.
const CHUNK: usize = 64 * 1024;
/// Bytes that tell what a file is.
const MAGIC: usize = 12;

/// Where the audio is.
pub enum Origin<'a> {
    /// With Twilio.
    Twilio {
        /// The client.
        twilio: &'a Twilio,
        /// The recording.
        sid: &'a RecordingSid,
        /// Whether to ask for a channel for each side of the call.
        both_channels: bool,
    },
    /// In the customer's own storage, by Twilio's account of it.
    External {
        /// The client.
        twilio: &'a Twilio,
        /// The address.
        url: Url,
    },
    /// In the recordings bucket.
    Bucket {
        /// The client.
        bucket: &'a RecordingsBucket,
        /// The object's key.
        key: String,
    },
}

/// Audio that is coming in, its beginning known.
pub(super) struct Incoming {
    /// Size in bytes, if it was said.
    pub(super) length: Option<u64>,
    /// What it is, by its first bytes.
    pub(super) format: AudioFormat,
    /// All of it.
    pub(super) bytes: BoxStream<'static, Result<Bytes, TranscribeError>>,
}

/// The format of an audio file, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AudioFormat {
    /// The extension by which the transcription API knows it.
    pub(super) extension: &'static str,
    /// The media type.
    pub(super) media_type: &'static str,
}

impl AudioFormat {
    const fn new(extension: &'static str, media_type: &'static str) -> Self {
        Self { extension, media_type }
    }

    fn of(first: &[u8]) -> Option<Self> {
        Some(match first {
            [b'R', b'I', b'F', b'F', ..] => Self::new("wav", "audio/wav"),
            [b'f', b'L', b'a', b'C', ..] => Self::new("flac", "audio/flac"),
            [b'O', b'g', b'g', b'S', ..] => Self::new("ogg", "audio/ogg"),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Self::new("webm", "audio/webm"),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Self::new("mp4", "audio/mp4"),
            // An ID3 tag, or the sync word of a frame.
            [b'I', b'D', b'3', ..] => Self::new("mp3", "audio/mpeg"),
            [0xff, second, ..] if second & 0xe0 == 0xe0 => Self::new("mp3", "audio/mpeg"),
            _ => return None,
        })
    }
}

impl Origin<'_> {
    /// Opens the audio and reads as much as tells what it is. `recent`: the call ended just now, so that its media may be on its way.
    pub(super) async fn open(&self, recent: bool, deadline: Instant) -> Result<Incoming, TranscribeError> {
        let from_twilio = |error| match error {
            TwilioError::NotFound if recent => TranscribeError::NotYet,
            error => TranscribeError::Twilio(error),
        };
        let (length, bytes) = match self {
            Self::Twilio {
                twilio,
                sid,
                both_channels,
            } => {
                let media = twilio.media(sid, *both_channels, deadline).await.map_err(from_twilio)?;
                (
                    media.length,
                    media.into_stream().map_err(TranscribeError::Twilio).boxed(),
                )
            }
            Self::External { twilio, url } => {
                let media = twilio.external(url.clone(), deadline).await.map_err(from_twilio)?;
                (
                    media.length,
                    media.into_stream().map_err(TranscribeError::Twilio).boxed(),
                )
            }
            Self::Bucket { bucket, key } => {
                let (length, bytes) = bucket.open(key).await.map_err(TranscribeError::Bucket)?;
                (length, bytes.map_err(TranscribeError::Bucket).boxed())
            }
        };
        let (first, rest) = beginning(bytes).await?;
        let format = AudioFormat::of(&first).ok_or(TranscribeError::NotAudio)?;
        let bytes = stream::once(async { Ok(first) }).chain(rest).boxed();
        Ok(Incoming { length, format, bytes })
    }
}

async fn beginning<S>(mut bytes: S) -> Result<(Bytes, S), TranscribeError>
where
    S: Stream<Item = Result<Bytes, TranscribeError>> + Unpin,
{
    let mut first = BytesMut::new();
    while first.len() < MAGIC {
        match bytes.next().await {
            Some(chunk) => first.extend_from_slice(&chunk?),
            None if first.is_empty() => return Err(TranscribeError::Empty),
            None => break,
        }
    }
    Ok((first.freeze(), bytes))
}

/// An audio file on disk, without a name, gone when it is dropped.
pub(super) struct Spooled {
    pub(super) file: fs::File,
    pub(super) length: u64,
    pub(super) format: AudioFormat,
}

impl Spooled {
    /// Keeps audio that is coming in.
    pub(super) async fn keep(mut incoming: Incoming) -> Result<Self, TranscribeError> {
        let mut file = File::from_std(tempfile::tempfile().map_err(TranscribeError::Disk)?);
        let mut length = 0;
        while let Some(chunk) = incoming.bytes.next().await {
            let chunk = chunk?;
            length += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(TranscribeError::Disk)?;
        }
        file.flush().await.map_err(TranscribeError::Disk)?;
        Ok(Self {
            file: file.into_std().await,
            length,
            format: incoming.format,
        })
    }

    /// Another handle, for reading it from the start.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(Self { file, ..*self })
    }

    /// Its bytes from the start. Each stream has a position of its own: an upload that was refused early may still be reading when the next
    /// one begins.
    pub(super) fn stream(
        &self,
    ) -> Result<impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static, TranscribeError> {
        let file = Arc::new(self.file.try_clone().map_err(TranscribeError::Disk)?);
        Ok(stream::try_unfold((file, 0), |(file, at)| async move {
            let source = file.clone();
            let chunk = spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK];
                let read = read_at(&source, &mut chunk, at)?;
                chunk.truncate(read);
                Ok::<_, io::Error>(chunk)
            });
            let chunk = chunk.await.map_err(io::Error::other)??;
            let next = (file, at + chunk.len() as u64);
            Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), next)))
        }))
    }
}

#[cfg(unix)]
fn read_at(file: &fs::File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &fs::File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_told_by_its_first_bytes() {
        let extension = |first: &[u8]| AudioFormat::of(first).map(|format| format.extension);
        assert_eq!(extension(b"ID3\x04"), Some("mp3"));
        assert_eq!(
            extension(&[0xff, 0xe3, 0x18, 0xc4]),
            Some("mp3"),
            "an MPEG-2.5 frame, as telephony has"
        );
        assert_eq!(extension(b"RIFF"), Some("wav"));
        assert_eq!(extension(b"\0\0\0\x20ftypisom"), Some("mp4"));
        for other in [&b"<?xml"[..], b"{\"co", b"", &[0xff], &[0xff, 0x00]] {
            assert_eq!(extension(other), None);
        }
    }
}
