//! The media of a recording, and file responses with lengths, single ranges and HEAD.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::Cursor,
};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::stream;

use crate::standins::{
    audio,
    tones::{self, wav_header},
};

/// The media of a recording. It is served while the recording is `completed` and not in external storage; otherwise requests return 404.
#[derive(Clone, Debug, Default)]
pub enum Media {
    /// No media: 404.
    #[default]
    None,
    /// Requests always return this HTTP status.
    Status(u16),
    /// An mp3 file, with an additional two-channel file for recordings on two channels. The `.wav` is decoded from it, or is a 404 if that is
    /// not possible. Bytes of other formats are served as well.
    Mp3 {
        /// The file with one channel.
        mono: Bytes,
        /// The file with two channels, if there is one.
        dual: Option<Bytes>,
    },
    /// Mono silence of this many bytes, generated while it is sent: valid 8 kHz 32 kbit/s mp3 frames, or 8 kHz 16-bit wav.
    Generated {
        /// Length of the file, for both extensions.
        bytes: u64,
    },
    /// Synthetic speech on one or two channels, generated while it is sent. There is no mp3 encoder, so it is a wav file for both extensions,
    /// with the content type of wav. If one channel is requested of two, both are mixed.
    Tones(tones::Wav),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Extension {
    Mp3,
    Wav,
}

/// The error for `RequestedChannels=2` of a recording with one channel.
pub(super) struct ChannelsUnavailable;

impl Media {
    /// One mono mp3 file.
    pub fn mp3(mono: impl Into<Bytes>) -> Self {
        Media::Mp3 {
            mono: mono.into(),
            dual: None,
        }
    }

    /// The file with this extension; `None` if there is none. `channels` is the requested number of channels; the default is the recorded
    /// number.
    pub(super) fn file(&self, extension: Extension, channels: Option<u8>) -> Result<Option<File>, ChannelsUnavailable> {
        let two = match self {
            Media::Mp3 { dual, .. } => dual.is_some(),
            Media::Tones(wav) => wav.channels() == 2,
            Media::None | Media::Status(_) | Media::Generated { .. } => false,
        };
        if channels == Some(2) && !two {
            return Err(ChannelsUnavailable);
        }
        Ok(match (self, extension) {
            (Media::None | Media::Status(_), _) => None,
            (Media::Mp3 { mono, dual }, _) => {
                let mp3 = if channels == Some(1) {
                    mono
                } else {
                    dual.as_ref().unwrap_or(mono)
                };
                match extension {
                    Extension::Mp3 => Some(File::whole(mp3.clone(), MP3)),
                    Extension::Wav => wav(mp3).map(|wav| File::whole(wav, WAV)),
                }
            }
            (Media::Generated { bytes }, Extension::Mp3) => Some(File::silent_mp3(*bytes)),
            (Media::Generated { bytes }, Extension::Wav) => Some(File::silent_wav(*bytes)),
            (Media::Tones(wav), _) => {
                let wav = if channels == Some(1) { wav.mixed() } else { wav.clone() };
                Some(File {
                    content_type: WAV,
                    length: wav.length(),
                    content: Content::Tones(wav),
                })
            }
        })
    }
}

const MP3: &str = "audio/mpeg";
const WAV: &str = "audio/x-wav";

/// A file to send.
pub(super) struct File {
    content_type: &'static str,
    length: u64,
    content: Content,
}

enum Content {
    /// `head`, and then `pattern` repeatedly.
    Repeated {
        head: Bytes,
        pattern: Bytes,
    },
    Tones(tones::Wav),
}

/// One silent frame of MPEG-2.5 layer III, 8 kHz, 32 kbit/s, mono: 288 bytes, 72 ms.
const SILENT_FRAME: [u8; 288] = {
    let mut frame = [0; 288];
    [frame[0], frame[1], frame[2], frame[3]] = [0xff, 0xe3, 0x48, 0xc4];
    frame
};

impl File {
    fn whole(head: Bytes, content_type: &'static str) -> Self {
        File {
            content_type,
            length: head.len() as u64,
            content: Content::Repeated {
                head,
                pattern: Bytes::new(),
            },
        }
    }

    fn silent_mp3(length: u64) -> Self {
        File {
            content_type: MP3,
            length,
            content: Content::Repeated {
                head: Bytes::new(),
                pattern: SILENT_FRAME.repeat(128).into(),
            },
        }
    }

    fn silent_wav(length: u64) -> Self {
        let data = length.saturating_sub(44).min(u64::from(u32::MAX) - 36);
        File {
            content_type: WAV,
            length,
            content: Content::Repeated {
                head: wav_header(8000, 1, data as u32),
                pattern: vec![0; 32 * 1024].into(),
            },
        }
    }

    /// The next available bytes from `at`.
    fn chunk(&self, at: u64) -> Bytes {
        match &self.content {
            Content::Repeated { head, .. } if at < head.len() as u64 => head.slice(at as usize..),
            Content::Repeated { head, pattern } => {
                pattern.slice(((at - head.len() as u64) % pattern.len() as u64) as usize..)
            }
            Content::Tones(wav) => wav.chunk(at),
        }
    }

    fn etag(&self) -> String {
        let mut hash = DefaultHasher::new();
        self.length.hash(&mut hash);
        // The header, and the audio behind it.
        for at in [0, 44].into_iter().filter(|at| *at < self.length) {
            self.chunk(at).hash(&mut hash);
        }
        format!("\"{:x}\"", hash.finish())
    }

    /// The response: 200, or 206 or 416 for a `Range` with one part. Other ranges are ignored, as HTTP allows.
    pub(super) fn respond(self, method: &Method, headers: &HeaderMap) -> Response<Body> {
        let length = self.length;
        let etag = self.etag();
        let is_this = |known: &HeaderValue| known.as_bytes() == etag.as_bytes();
        let wanted = headers
            .get(header::RANGE)
            .filter(|_| headers.get(header::IF_RANGE).is_none_or(is_this))
            .and_then(|range| range.to_str().ok());
        let range =
            wanted.map(|range| http_range_header::parse_range_header(range).and_then(|parsed| parsed.validate(length)));
        let response = Response::builder()
            .header(header::CONTENT_TYPE, self.content_type)
            .header(header::ETAG, &etag)
            .header(header::ACCEPT_RANGES, "bytes");
        let (response, start, end) = match range {
            Some(Ok(ranges)) if ranges.len() == 1 => {
                let (first, last) = (*ranges[0].start(), *ranges[0].end());
                let content_range = format!("bytes {first}-{last}/{length}");
                (
                    response
                        .status(StatusCode::PARTIAL_CONTENT)
                        .header(header::CONTENT_RANGE, content_range),
                    first,
                    last + 1,
                )
            }
            Some(Err(_)) => {
                let content_range = format!("bytes */{length}");
                (
                    response
                        .status(StatusCode::RANGE_NOT_SATISFIABLE)
                        .header(header::CONTENT_RANGE, content_range),
                    0,
                    0,
                )
            }
            _ => (response, 0, length),
        };
        let response = response.header(header::CONTENT_LENGTH, end - start);
        let body = if method == Method::HEAD {
            Body::empty()
        } else {
            self.body(start, end)
        };
        response.body(body).expect("all header values are ASCII")
    }

    fn body(self, start: u64, end: u64) -> Body {
        Body::from_stream(stream::unfold((self, start), move |(file, at)| async move {
            let left = end.checked_sub(at).filter(|&left| left > 0)?;
            let mut chunk = file.chunk(at);
            chunk.truncate(left.min(64 * 1024) as usize);
            let next = at + chunk.len() as u64;
            Some((Ok::<_, std::convert::Infallible>(chunk), (file, next)))
        }))
    }
}

/// Decodes to 16-bit PCM, like Twilio's `.wav`.
fn wav(mp3: &Bytes) -> Option<Bytes> {
    let mut pcm = Vec::new();
    let decoded = audio::decode(Cursor::new(mp3.clone()), |_, _, samples| {
        pcm.extend(
            samples
                .iter()
                .flat_map(|sample| ((sample * 32767.0) as i16).to_le_bytes()),
        );
    })
    .ok()?;
    let mut file = BytesMut::from(&wav_header(decoded.rate, decoded.channels as u16, pcm.len() as u32)[..]);
    file.extend_from_slice(&pcm);
    Some(file.freeze())
}
