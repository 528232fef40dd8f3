//! Opens the audio of a recording, and stores it on disk instead of in memory.

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
use tokio::{fs::File, io::AsyncWriteExt, time::Instant};
use tracing::Span;

use super::error::TranscribeError;
use crate::{
    clients::{
        bucket::{RecordingRef, RecordingsBucket},
        twilio::{RecordingSid, Twilio, TwilioError},
    },
    panics::blocking,
};

/// The number of bytes that are read from a file in one step.
const CHUNK: usize = 64 * 1024;
/// The number of bytes from which the format of a file is detected.
const MAGIC: usize = 12;

/// Where the audio is stored.
pub enum Origin<'a> {
    /// At Twilio.
    Twilio {
        /// The client.
        twilio: &'a Twilio,
        /// The recording.
        sid: &'a RecordingSid,
        /// Whether to request a separate channel for each side of the call.
        both_channels: bool,
    },
    /// In the customer's external storage, at the URL that Twilio returned.
    External {
        /// The client.
        twilio: &'a Twilio,
        /// The URL of the audio.
        url: Url,
    },
    /// In the recordings bucket.
    Bucket {
        /// The client.
        bucket: &'a RecordingsBucket,
        /// The object, which must still have this ETag.
        recording: RecordingRef,
    },
}

/// An open download of audio, whose format is known.
pub(super) struct Incoming {
    /// The format, detected from the first bytes.
    pub(super) format: AudioFormat,
    /// All bytes, including the first ones.
    pub(super) bytes: BoxStream<'static, Result<Bytes, TranscribeError>>,
}

/// The format of an audio file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AudioFormat {
    /// The extension by which the transcription API recognizes the format.
    pub(super) extension: &'static str,
    /// The media type.
    pub(super) media_type: &'static str,
}

impl AudioFormat {
    const UNKNOWN: Self = Self::new("bin", "application/octet-stream");

    const fn new(extension: &'static str, media_type: &'static str) -> Self {
        Self { extension, media_type }
    }

    /// `None` for text, which is an error's body. Everything else may be audio, perhaps behind zeros or a tag: the decoder decides.
    fn of(first: &[u8]) -> Option<Self> {
        Some(match first {
            [b'R', b'I', b'F', b'F' | b'X', ..] | [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..] => {
                Self::new("wav", "audio/wav")
            }
            [b'f', b'L', b'a', b'C', ..] => Self::new("flac", "audio/flac"),
            [b'O', b'g', b'g', b'S', ..] => Self::new("ogg", "audio/ogg"),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Self::new("webm", "audio/webm"),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Self::new("mp4", "audio/mp4"),
            // A tag, or the sync word of a frame.
            [b'I', b'D', b'3', ..] | [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', ..] => {
                Self::new("mp3", "audio/mpeg")
            }
            [0xff, second, ..] if second & 0xf6 == 0xf0 => Self::new("aac", "audio/aac"),
            [0xff, second, ..] if second & 0xe0 == 0xe0 => Self::new("mp3", "audio/mpeg"),
            [b'.', b's', b'n', b'd', ..] => Self::new("au", "audio/basic"),
            _ if first.starts_with(b"#!AMR") || first.starts_with(b"FORM") || first.starts_with(b"MAC ") => {
                Self::UNKNOWN
            }
            _ if first.len() < 4
                || first
                    .iter()
                    .all(|byte| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~')) =>
            {
                return None;
            }
            _ => Self::UNKNOWN,
        })
    }

    /// Whether the transcription API takes files under this extension.
    pub(super) fn is_accepted(self) -> bool {
        matches!(self.extension, "mp3" | "mp4" | "wav" | "webm" | "ogg" | "flac")
    }
}

impl Origin<'_> {
    /// Opens the audio and detects its format. With `recent` the call has just ended, so its media may not be available yet.
    pub(super) async fn open(&self, recent: bool, deadline: Instant) -> Result<Incoming, TranscribeError> {
        let from_twilio = |error| match error {
            TwilioError::NotFound if recent => TranscribeError::NotYet,
            error => TranscribeError::Twilio(error),
        };
        let bytes = match self {
            Self::Twilio {
                twilio,
                sid,
                both_channels,
            } => {
                let media = twilio.media(sid, *both_channels, deadline).await.map_err(from_twilio)?;
                media.into_stream().map_err(TranscribeError::Twilio).boxed()
            }
            Self::External { twilio, url } => {
                let media = twilio.external(url.clone(), deadline).await.map_err(from_twilio)?;
                media.into_stream().map_err(TranscribeError::Twilio).boxed()
            }
            Self::Bucket { bucket, recording } => {
                let (_, bytes) = bucket.open(recording).await.map_err(TranscribeError::Bucket)?;
                bytes.map_err(TranscribeError::Bucket).boxed()
            }
        };
        let (first, rest) = beginning(bytes).await?;
        let format = AudioFormat::of(&first).ok_or(TranscribeError::NotAudio)?;
        let bytes = stream::once(async { Ok(first) }).chain(rest).boxed();
        Ok(Incoming { format, bytes })
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

/// An audio file on disk, without a name, which is deleted when this value is dropped.
pub(super) struct Spooled {
    pub(super) file: fs::File,
    pub(super) length: u64,
    pub(super) format: AudioFormat,
}

impl Spooled {
    /// Stores a download on disk.
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

    /// Whether the size in the header of a WAV is not the file's. Decoders that believe it stop early.
    pub(super) fn has_wrong_header(&self) -> Result<bool, TranscribeError> {
        let mut header = [0; 8];
        let read = read_at(&self.file, &mut header, 0).map_err(TranscribeError::Disk)?;
        let [b'R', b'I', b'F', b'F', size @ ..] = header else {
            return Ok(false);
        };
        let stated = u64::from(u32::from_le_bytes(size)) + 8;
        Ok(read == header.len() && stated.abs_diff(self.length) > 1)
    }

    /// Another handle, for reading it from the start.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(Self { file, ..*self })
    }

    /// The file's bytes from the start. Each stream has its own position, because an upload that was rejected early may still be reading when
    /// the next one begins.
    pub(super) fn stream(
        &self,
    ) -> Result<impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static, TranscribeError> {
        let file = Arc::new(self.file.try_clone().map_err(TranscribeError::Disk)?);
        // The task of the connection reads the stream, outside of the request's span.
        let span = Span::current();
        Ok(stream::try_unfold((file, 0), move |(file, at)| {
            let source = file.clone();
            let read = move || {
                let mut chunk = vec![0; CHUNK];
                let read = read_at(&source, &mut chunk, at)?;
                chunk.truncate(read);
                Ok::<_, io::Error>(chunk)
            };
            let chunk = span.in_scope(|| blocking(read));
            async move {
                let chunk = chunk.await??;
                let next = (file, at + chunk.len() as u64);
                Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), next)))
            }
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
    fn audio_is_recognized_by_its_first_bytes() {
        let extension = |first: &[u8]| AudioFormat::of(first).map(|format| format.extension);
        assert_eq!(extension(b"ID3\x04"), Some("mp3"));
        assert_eq!(
            extension(&[0xff, 0xe3, 0x18, 0xc4]),
            Some("mp3"),
            "an MPEG-2.5 frame, as telephony has"
        );
        assert_eq!(extension(b"RIFF"), Some("wav"));
        assert_eq!(extension(b"\0\0\0\x20ftypisom"), Some("mp4"));
        for wav in [&b"RF64"[..], b"BW64", b"RIFX"] {
            assert_eq!(extension(wav), Some("wav"));
        }
        assert_eq!(extension(b".snd\0\0\0\x18"), Some("au"));
        assert_eq!(extension(&[0xff, 0xf1, 0x50, 0x80]), Some("aac"));
        assert_eq!(extension(&[0; 12]), Some("bin"), "zeros before the first frame");
        assert_eq!(extension(b"#!AMR\n"), Some("bin"), "a codec that the decoder names");
        for other in [&b"<?xml"[..], b"{\"co", b"", &[0xff], &[0xff, 0x00]] {
            assert_eq!(extension(other), None);
        }
    }
}
