//! The audio's way from Twilio to the transcription API, without holding it in memory.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    time::Instant,
};

use crate::{
    retry::{Classify, Retry},
    twilio::{Media, RecordingSid, Twilio, TwilioError},
    whisper::{Audio, MAX_AUDIO_BYTES, Options, Transcription, Whisper, WhisperError},
};

/// Bytes read from the spool file at once.
const CHUNK: usize = 64 * 1024;

/// Why one attempt failed.
#[derive(Debug)]
pub(crate) enum TranscribeError {
    /// Twilio did not give the audio.
    Twilio(TwilioError),
    /// What Twilio gave is no audio.
    NotAudio,
    /// The audio is empty.
    Empty,
    /// The audio could not be kept on disk.
    Disk(io::Error),
    /// The transcription API did not take it.
    Whisper(WhisperError),
}

impl Classify for TranscribeError {
    fn retry(&self) -> Retry {
        match self {
            Self::Twilio(error) => error.retry(),
            Self::Whisper(error) => error.retry(),
            Self::NotAudio | Self::Empty | Self::Disk(_) => Retry::Never,
        }
    }
}

impl TranscribeError {
    /// Whether it was time that ran out, not a try that failed.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Twilio(TwilioError::Timeout) | Self::Whisper(WhisperError::Timeout)
        )
    }

    pub(crate) fn is_transient(&self) -> bool {
        match self {
            // Media can lag behind its metadata.
            Self::Twilio(TwilioError::NotFound) => true,
            Self::Twilio(error) => error.is_transient(),
            Self::Whisper(error) => error.is_transient(),
            Self::NotAudio | Self::Empty | Self::Disk(_) => false,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.retry() {
            Retry::After(after) => after,
            Retry::Never => None,
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Twilio(TwilioError::NotFound) => "media_not_found",
            Self::Twilio(error) => error.code(),
            Self::NotAudio => "media_not_audio",
            Self::Empty => "media_empty",
            Self::Disk(_) => "internal_error",
            Self::Whisper(error) => error.code(),
        }
    }

    pub(crate) fn sentence(&self) -> &'static str {
        match self {
            Self::Twilio(TwilioError::NotFound) => "Twilio does not have the recording's audio, or not yet",
            Self::Twilio(error) => error.sentence(),
            Self::NotAudio => "What Twilio gave for the recording is not audio",
            Self::Empty => "The recording has no audio",
            Self::Disk(_) => "The audio could not be kept for the upload",
            Self::Whisper(error) => error.sentence(),
        }
    }
}

impl fmt::Display for TranscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twilio(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::Whisper(error) => error.fmt(f),
            Self::NotAudio | Self::Empty => f.write_str(self.sentence()),
        }
    }
}

/// Streams the recording's MP3 from Twilio into the upload, once.
pub(crate) async fn transcribe(
    twilio: &Twilio,
    whisper: &Whisper,
    sid: &RecordingSid,
    options: &Options,
    deadline: Instant,
) -> Result<Transcription, TranscribeError> {
    let media = twilio.media(sid, deadline).await.map_err(TranscribeError::Twilio)?;
    let length = media.length;
    // An error of the download would look like one of the upload; it is kept here.
    let broken = Arc::new(Mutex::new(None));
    let (first, rest) = beginning(media).await?;
    let (extension, media_type) = audio_type(&first).ok_or(TranscribeError::NotAudio)?;
    let download = stream::once(async { Ok(first) }).chain(rest);
    let audio = |length, stream| Audio {
        file_name: format!("{sid}.{extension}"),
        media_type,
        length,
        stream,
    };
    let result = match length {
        Some(length) if length > MAX_AUDIO_BYTES => Err(WhisperError::TooLarge),
        Some(length) => {
            whisper
                .transcribe(
                    audio(length, noting(download, broken.clone()).boxed()),
                    options,
                    deadline,
                )
                .await
        }
        None => {
            let (length, file) = spool(download).await?;
            whisper
                .transcribe(audio(length, chunks_of(file).boxed()), options, deadline)
                .await
        }
    };
    result.map_err(
        |error| match broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(twilio) => TranscribeError::Twilio(twilio),
            None => TranscribeError::Whisper(error),
        },
    )
}

/// The first bytes, enough to tell what they are, and the rest.
async fn beginning(
    media: Media,
) -> Result<(Bytes, impl Stream<Item = Result<Bytes, TwilioError>> + Send + 'static), TranscribeError> {
    let mut stream = Box::pin(media.into_stream());
    let mut first = BytesMut::new();
    while first.len() < 4 {
        match stream.next().await {
            Some(chunk) => first.extend_from_slice(&chunk.map_err(TranscribeError::Twilio)?),
            None if first.is_empty() => return Err(TranscribeError::Empty),
            None => break,
        }
    }
    Ok((first.freeze(), stream))
}

/// File extension and media type by the first bytes: WAV, or MP3 with an ID3 tag or a frame's sync word.
fn audio_type(first: &[u8]) -> Option<(&'static str, &'static str)> {
    match first {
        [b'R', b'I', b'F', b'F', ..] => Some(("wav", "audio/wav")),
        [b'I', b'D', b'3', ..] => Some(("mp3", "audio/mpeg")),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => Some(("mp3", "audio/mpeg")),
        _ => None,
    }
}

/// Notes the error that ends the download.
fn noting(
    download: impl Stream<Item = Result<Bytes, TwilioError>> + Send + 'static,
    broken: Arc<Mutex<Option<TwilioError>>>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    download.map(move |chunk| {
        chunk.map_err(|error| {
            *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::other("the download broke")
        })
    })
}

/// Keeps audio of unknown length in a temporary file, since the upload has to say its length first.
async fn spool(download: impl Stream<Item = Result<Bytes, TwilioError>>) -> Result<(u64, File), TranscribeError> {
    let mut file = File::from_std(tempfile::tempfile().map_err(TranscribeError::Disk)?);
    let mut length = 0;
    let mut download = std::pin::pin!(download);
    while let Some(chunk) = download.next().await {
        let chunk = chunk.map_err(TranscribeError::Twilio)?;
        length += chunk.len() as u64;
        if length > MAX_AUDIO_BYTES {
            return Err(TranscribeError::Whisper(WhisperError::TooLarge));
        }
        file.write_all(&chunk).await.map_err(TranscribeError::Disk)?;
    }
    file.flush().await.map_err(TranscribeError::Disk)?;
    file.rewind().await.map_err(TranscribeError::Disk)?;
    Ok((length, file))
}

fn chunks_of(file: File) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    stream::try_unfold(file, |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = file.read_buf(&mut chunk).await?;
        Ok((read > 0).then(|| (chunk.freeze(), file)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_told_by_its_first_bytes() {
        assert_eq!(audio_type(b"ID3\x04"), Some(("mp3", "audio/mpeg")));
        assert_eq!(
            audio_type(&[0xff, 0xe3, 0x18, 0xc4]),
            Some(("mp3", "audio/mpeg")),
            "an MPEG-2.5 frame, as telephony has"
        );
        assert_eq!(audio_type(b"RIFF"), Some(("wav", "audio/wav")));
        for other in [&b"<?xml"[..], b"{\"co", b"", &[0xff], &[0xff, 0x00]] {
            assert_eq!(audio_type(other), None);
        }
    }
}
