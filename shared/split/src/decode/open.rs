//! From a file to its demuxer and its audio track.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use symphonia::core::{
    codecs::{
        CodecParameters,
        audio::{AudioCodecParameters, well_known::CODEC_ID_OPUS},
    },
    errors::Error,
    formats::{FormatId, FormatOptions, FormatReader, TrackType, probe::Hint, well_known::*},
    io::MediaSourceStream,
    meta::MetadataOptions,
    packet::Packet,
    units::TimeBase,
};

use crate::{Recording, SplitError};

use super::{
    mp4, names,
    source::Bytes,
    wav::{self, Blocks, Wav},
};

/// Reads packets.
pub(super) enum Demuxer<'a> {
    Container(Box<dyn FormatReader + 'a>),
    Wav(Box<Blocks>, Bytes<'a>),
}

/// How timestamps are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The container states when each packet is played.
    Stated,
    /// Packets follow each other; their timestamps are counted by the demuxer, at the rate that the file began with.
    Counted,
}

/// The audio track of a file, or of one link of a chained file.
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) parameters: AudioCodecParameters,
    pub(super) time_base: Option<TimeBase>,
    /// Whether the file says how much its encoder added at the end.
    pub(super) padded: bool,
    pub(super) clock: Clock,
    /// Bytes of a frame that are not in its packet.
    pub(super) frame_header: u64,
    /// The timestamp of the recording's first sample where the container states it.
    pub(super) origin: Option<i64>,
    /// The timestamp of its end where the container states it.
    pub(super) end: Option<f64>,
}

/// Opens the file.
pub(super) fn open<'a>(recording: &Recording<'a>) -> Result<Demuxer<'a>, SplitError> {
    let file = recording.file;
    let length = file.metadata()?.len();
    match wav::open(file)? {
        Some(Wav::Blocks(blocks)) => {
            let bytes = Bytes::new(file, blocks.range(), recording.cancelled);
            Ok(Demuxer::Wav(Box::new(blocks), bytes))
        }
        Some(Wav::Nested(range)) => probe(recording, range, Some("mp3")),
        None => probe(recording, first_byte(file)?..length, recording.extension),
    }
}

fn probe<'a>(recording: &Recording<'a>, range: Range<u64>, extension: Option<&str>) -> Result<Demuxer<'a>, SplitError> {
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let bytes = Bytes::new(recording.file, range, recording.cancelled);
    let stream = MediaSourceStream::new(Box::new(bytes), Default::default());
    let reader = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| match error {
            Error::IoError(error) if error.raw_os_error().is_some() => SplitError::Io(error),
            Error::IoError(error) if error.kind() == io::ErrorKind::QuotaExceeded => SplitError::Implausible,
            _ => names::file(recording.file),
        })?;
    Ok(Demuxer::Container(reader))
}

/// Where the zeros end that some recorders leave before the first frame.
fn first_byte(mut file: &File) -> io::Result<u64> {
    file.rewind()?;
    let (mut at, mut buffer) = (0, [0; 8192]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(0);
        }
        if let Some(offset) = buffer[..read].iter().position(|byte| *byte != 0) {
            // An MP4 starts with the zeros of its first box's size.
            let start = at + offset as u64;
            return Ok(if start < 4 { 0 } else { start });
        }
        at += read as u64;
    }
}

impl Demuxer<'_> {
    pub(super) fn next_packet(&mut self) -> symphonia::core::errors::Result<Option<Packet>> {
        match self {
            Self::Container(reader) => reader.next_packet(),
            Self::Wav(blocks, bytes) => Ok(blocks.next_packet(bytes)?),
        }
    }

    /// The first audio track.
    pub(super) fn track(&self, file: &File) -> Result<Track, SplitError> {
        let reader = match self {
            Self::Container(reader) => reader,
            Self::Wav(blocks, _) => {
                return Ok(Track {
                    id: 0,
                    parameters: blocks.parameters.clone(),
                    time_base: TimeBase::try_from_recip(blocks.rate),
                    padded: true,
                    clock: Clock::Stated,
                    frame_header: 0,
                    origin: Some(0),
                    end: blocks.promised.map(|frames| frames as f64),
                });
            }
        };
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or_else(|| names::file(file))?;
        let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
            return Err(names::file(file));
        };
        let format = reader.format_info().format;
        let clock = if is_elementary(format) {
            Clock::Counted
        } else {
            Clock::Stated
        };
        let frames = track.num_frames.or(track.duration.map(|duration| duration.get()));
        let media = reader.media_info();
        let end = match (frames, media.duration, media.time_base, track.time_base) {
            // Without a tag it is only guessed from the first frames.
            _ if clock == Clock::Counted && !has_length_tag(file)? => None,
            (Some(frames), ..) => Some(frames as f64),
            (None, Some(duration), Some(base), Some(own)) => Some(duration.get() as f64 * seconds(base) / seconds(own)),
            _ => None,
        };
        Ok(Track {
            id: track.id,
            parameters: parameters.clone(),
            time_base: track.time_base,
            padded: track.padding.is_some() || parameters.codec == CODEC_ID_OPUS,
            clock,
            frame_header: if format == FORMAT_ID_ADTS { 7 } else { 0 },
            origin: if format == FORMAT_ID_ISOMP4 {
                mp4::media_start(file)
            } else {
                None
            },
            end: end.filter(|end| *end > 0.0),
        })
    }
}

/// Seconds of one tick.
pub(super) fn seconds(base: TimeBase) -> f64 {
    f64::from(base.numer.get()) / f64::from(base.denom.get())
}

fn is_elementary(format: FormatId) -> bool {
    [FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3, FORMAT_ID_ADTS].contains(&format)
}

/// Whether the first MPEG frame says how many follow.
fn has_length_tag(mut file: &File) -> io::Result<bool> {
    let (start, _) = audio_bytes(file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut head = Vec::new();
    file.take(4096).read_to_end(&mut head)?;
    Ok(head.windows(4).any(|tag| matches!(tag, b"Xing" | b"Info" | b"VBRI")))
}

/// Where the frames of an MPEG file start and end: between its tags.
pub(super) fn audio_bytes(mut file: &File) -> io::Result<(u64, u64)> {
    let length = file.metadata()?.len();
    let mut start = first_byte(file)?;
    let mut end = length;
    let mut tag = [0; 10];
    file.seek(SeekFrom::Start(start))?;
    while file.read_exact(&mut tag).is_ok() && tag.starts_with(b"ID3") {
        let size = tag[6..].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
        start = (start + 10 + size).min(length);
        file.seek(SeekFrom::Start(start))?;
    }
    let mut footer = [0; 128];
    if end >= start + 128 {
        file.seek(SeekFrom::Start(end - 128))?;
        file.read_exact(&mut footer)?;
        if footer.starts_with(b"TAG") {
            end -= 128;
        }
    }
    let mut footer = [0; 32];
    if end >= start + 32 {
        file.seek(SeekFrom::Start(end - 32))?;
        file.read_exact(&mut footer)?;
        if let [
            b'A',
            b'P',
            b'E',
            b'T',
            b'A',
            b'G',
            b'E',
            b'X',
            _,
            _,
            _,
            _,
            a,
            b,
            c,
            d,
            ..,
        ] = footer
        {
            // The size covers the footer; a header of the same length may stand before it.
            end = end
                .saturating_sub(u64::from(u32::from_le_bytes([a, b, c, d])) + 32)
                .max(start);
        }
    }
    Ok((start, end))
}
