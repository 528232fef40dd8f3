//! From a file to its demuxer and its audio track.

use std::{
    fs::File,
    io::{self, Read, Seek},
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
    mp4, mpeg, names, ogg,
    source::Bytes,
    wav::{self, Blocks, Wav},
};

/// Reads packets.
pub(super) enum Demuxer<'a> {
    Container {
        reader: Box<dyn FormatReader + 'a>,
        /// Where its bytes are in the file.
        range: Range<u64>,
    },
    Wav(Box<Blocks>, Bytes<'a>),
}

/// How timestamps are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The container states when each packet is played; it may leave pauses between them.
    Stated,
    /// The same, but a pause is a piece that is missing: Ogg has no others.
    Gapless,
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
        None if has_magic(file)? => probe(recording, 0..length, recording.extension),
        None => {
            let range = mpeg::without_tags(file)?;
            match mpeg::first_frame(file, range.start)? {
                Some(frame) => probe(recording, frame..range.end, Some("mp3")),
                None => probe(recording, range, recording.extension),
            }
        }
    }
}

fn probe<'a>(recording: &Recording<'a>, range: Range<u64>, extension: Option<&str>) -> Result<Demuxer<'a>, SplitError> {
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let bytes = Bytes::new(recording.file, range.clone(), recording.cancelled);
    let stream = MediaSourceStream::new(Box::new(bytes), Default::default());
    let reader = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| match error {
            Error::IoError(error) if error.raw_os_error().is_some() => SplitError::Io(error),
            Error::IoError(error) if error.kind() == io::ErrorKind::QuotaExceeded => SplitError::Implausible,
            other => {
                eprintln!("PROBE {other:?}");
                names::file(recording.file)
            }
        })?;
    Ok(Demuxer::Container { reader, range })
}

/// Whether the file says that it is of a format that its demuxer finds by itself.
fn has_magic(file: &File) -> io::Result<bool> {
    let mut head = [0; 12];
    let mut reader = file;
    reader.rewind()?;
    if let Err(error) = reader.read_exact(&mut head) {
        return if error.kind() == io::ErrorKind::UnexpectedEof {
            Ok(false)
        } else {
            Err(error)
        };
    }
    let movie = [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip"];
    let known = matches!(&head[..4], b"OggS" | b"fLaC" | [0x1a, 0x45, 0xdf, 0xa3]);
    Ok(known || movie.iter().any(|kind| head[4..8] == **kind))
}

impl Demuxer<'_> {
    /// Bytes between the file's tags.
    pub(super) fn length(&self) -> u64 {
        let range = match self {
            Self::Container { range, .. } => range.clone(),
            Self::Wav(blocks, _) => blocks.range(),
        };
        range.end - range.start
    }

    pub(super) fn next_packet(&mut self) -> symphonia::core::errors::Result<Option<Packet>> {
        match self {
            Self::Container { reader, .. } => reader.next_packet(),
            Self::Wav(blocks, bytes) => Ok(blocks.next_packet(bytes)?),
        }
    }

    /// The first audio track.
    pub(super) fn track(&self, file: &File) -> Result<Track, SplitError> {
        let (reader, range) = match self {
            Self::Container { reader, range } => (reader, range),
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
        let clock = match format {
            FORMAT_ID_OGG => Clock::Gapless,
            format if is_elementary(format) => Clock::Counted,
            _ => Clock::Stated,
        };
        let frames = track.num_frames.or(track.duration.map(|duration| duration.get()));
        let media = reader.media_info();
        let end = match (frames, media.duration, media.time_base, track.time_base) {
            // Without a tag it is only guessed from the first frames.
            _ if clock == Clock::Counted && !mpeg::has_length_tag(file, range.start)? => None,
            (Some(frames), ..) => Some(frames as f64),
            _ if format == FORMAT_ID_OGG => ogg::last_granule(file, track.id)?.map(|granule| granule as f64),
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
