//! Opens a file: selects the demuxer and the audio track.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek},
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

use crate::{AudioFile, SplitError};

use super::{
    mkv, mp4, mpeg, names, ogg,
    source::{Bytes, Piece},
    wav::{self, Blocks, Wav},
};

/// A truncated MP4 may lack at most this many times its length.
const MAX_MISSING: u64 = 1000;

/// Reads packets.
pub(super) enum Demuxer<'a> {
    Container(Container<'a>),
    Wav(Box<Blocks>, Bytes<'a>),
}

/// A file that symphonia reads.
pub(super) struct Container<'a> {
    reader: Box<dyn FormatReader + 'a>,
    /// The range of its bytes in the file.
    start: u64,
    length: u64,
    /// Whether damaged pieces were omitted.
    repaired: bool,
    /// Whether its missing end is replaced by zeros.
    truncated: bool,
    /// The ends of the streams of an Ogg file.
    ends: VecDeque<(u32, u64)>,
}

/// The meaning of timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The container has a timestamp for each packet, possibly with pauses between packets.
    Stated,
    /// The same, but a pause means missing packets, as always in Ogg files and in repaired files.
    Gapless,
    /// Packets follow each other without pauses. The demuxer counts their timestamps with the sample rate of the first packet.
    Counted,
}

/// The audio track of a file, or of one stream of a chained file.
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) parameters: AudioCodecParameters,
    pub(super) time_base: Option<TimeBase>,
    /// Whether the file contains the length of the encoder's padding at the end.
    pub(super) padded: bool,
    pub(super) clock: Clock,
    /// Whether zeros at the end replace missing bytes.
    pub(super) truncated: bool,
    /// Bytes of a frame that are not in its packet.
    pub(super) frame_header: u64,
    /// The timestamp of the recording's first sample, if the container has it.
    pub(super) origin: Option<i64>,
    /// The timestamp of its end, if the container has it.
    pub(super) end: Option<f64>,
}

/// Opens the file.
pub(super) fn open<'a>(recording: &AudioFile<'a>) -> Result<Demuxer<'a>, SplitError> {
    let (file, cancelled) = (recording.file, recording.cancelled);
    let length = file.metadata()?.len();
    let whole = |range| Bytes::new(file, vec![Piece::File(range)], cancelled);
    match wav::open(file)? {
        Some(Wav::Blocks(blocks)) => {
            let bytes = whole(blocks.range());
            return Ok(Demuxer::Wav(Box::new(blocks), bytes));
        }
        Some(Wav::Nested(range)) => return probe(recording, range.start, whole(range), Some("mp3")),
        None => {}
    }
    if let Some(blocks) = wav::open_au(file)? {
        let bytes = whole(blocks.range());
        return Ok(Demuxer::Wav(Box::new(blocks), bytes));
    }
    match magic(file)? {
        Magic::Ogg => {
            let pages = ogg::valid_pages(file, cancelled)?;
            let bytes = Bytes::new(file, pages.pieces, cancelled).streamed();
            let mut container = container(recording, 0, bytes, Some("ogg"))?;
            container.ends = pages.ends;
            Ok(Demuxer::Container(container))
        }
        Magic::Matroska => {
            let repaired = mkv::repair(file, cancelled)?.ok_or(SplitError::Unsupported)?;
            let bytes = Bytes::new(file, repaired.pieces, cancelled);
            let mut container = container(recording, 0, bytes, Some("mkv"))?;
            container.repaired = repaired.damaged;
            Ok(Demuxer::Container(container))
        }
        Magic::Movie => {
            let missing = mp4::missing(file).unwrap_or(0).min(length.saturating_mul(MAX_MISSING));
            let pieces = vec![Piece::File(0..length), Piece::Zeros(missing)];
            let mut container = container(recording, 0, Bytes::new(file, pieces, cancelled), Some("mp4"))?;
            container.truncated = missing > 0;
            Ok(Demuxer::Container(container))
        }
        Magic::Other => probe(recording, 0, whole(0..length), recording.extension),
        Magic::None => {
            let range = mpeg::without_tags(file)?;
            match mpeg::first_frame(file, range.start)? {
                Some(frame) => probe(recording, frame, whole(frame..range.end), Some("mp3")),
                // In most files some demuxer would detect its pattern by chance.
                None => match names::magic(file)? {
                    Some(name) => Err(SplitError::UnsupportedCodec(name.into())),
                    None => probe(recording, range.start, whole(range), recording.extension),
                },
            }
        }
    }
}

fn probe<'a>(
    recording: &AudioFile<'a>,
    start: u64,
    bytes: Bytes<'a>,
    extension: Option<&str>,
) -> Result<Demuxer<'a>, SplitError> {
    container(recording, start, bytes, extension).map(Demuxer::Container)
}

fn container<'a>(
    recording: &AudioFile<'a>,
    start: u64,
    bytes: Bytes<'a>,
    extension: Option<&str>,
) -> Result<Container<'a>, SplitError> {
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let length = bytes.length();
    let stream = MediaSourceStream::new(Box::new(bytes), Default::default());
    let reader = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| match error {
            Error::IoError(error) if error.raw_os_error().is_some() => SplitError::Io(error),
            Error::IoError(error) if error.kind() == io::ErrorKind::QuotaExceeded => SplitError::Implausible,
            _ => names::file(recording.file),
        })?;
    Ok(Container {
        reader,
        start,
        length,
        repaired: false,
        truncated: false,
        ends: VecDeque::new(),
    })
}

/// The detected kind of a file.
enum Magic {
    Ogg,
    Matroska,
    Movie,
    /// Another format, which its demuxer detects.
    Other,
    None,
}

fn magic(mut file: &File) -> io::Result<Magic> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take(8).read_to_end(&mut head)?;
    let movie = [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip"];
    Ok(match &head[..] {
        [b'O', b'g', b'g', b'S', ..] => Magic::Ogg,
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Magic::Matroska,
        [b'f', b'L', b'a', b'C', ..] => Magic::Other,
        [_, _, _, _, kind @ ..] if movie.iter().any(|name| kind == *name) => Magic::Movie,
        _ => Magic::None,
    })
}

impl Demuxer<'_> {
    /// The number of bytes between the file's tags.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Container(container) => container.length,
            Self::Wav(_, bytes) => bytes.length(),
        }
    }

    /// Whether damaged pieces of the file were omitted, so that [`Demuxer::length`] is less than the file's length.
    pub(super) fn is_repaired(&self) -> bool {
        matches!(self, Self::Container(container) if container.repaired)
    }

    pub(super) fn next_packet(&mut self) -> symphonia::core::errors::Result<Option<Packet>> {
        match self {
            Self::Container(container) => container.reader.next_packet(),
            Self::Wav(blocks, bytes) => Ok(blocks.next_packet(bytes)?),
        }
    }

    /// The first audio track.
    pub(super) fn track(&mut self, file: &File) -> Result<Track, SplitError> {
        let Container {
            reader,
            start,
            repaired,
            truncated,
            ends,
            ..
        } = match self {
            Self::Container(container) => container,
            Self::Wav(blocks, _) => {
                return Ok(Track {
                    id: 0,
                    parameters: blocks.parameters.clone(),
                    time_base: TimeBase::try_from_recip(blocks.rate),
                    padded: true,
                    clock: Clock::Stated,
                    truncated: false,
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
            _ if *repaired => Clock::Gapless,
            format if is_elementary(format) => Clock::Counted,
            _ => Clock::Stated,
        };
        let frames = track.num_frames.or(track.duration.map(|duration| duration.get()));
        let media = reader.media_info();
        let end = match (frames, media.duration, media.time_base, track.time_base) {
            // Without a length tag it is only an estimate from the first frames.
            _ if clock == Clock::Counted && !mpeg::has_length_tag(file, *start)? => None,
            (Some(frames), ..) => Some(frames as f64),
            _ if format == FORMAT_ID_OGG => {
                let stream = ends.iter().position(|(serial, _)| *serial == track.id);
                // The entries before it are other tracks, or streams that were already read.
                let end = stream.and_then(|stream| ends.drain(..=stream).next_back());
                end.map(|(_, granule)| granule as f64)
            }
            (None, Some(duration), Some(base), Some(own)) => Some(duration.get() as f64 * seconds(base) / seconds(own)),
            _ => None,
        };
        Ok(Track {
            id: track.id,
            parameters: parameters.clone(),
            time_base: track.time_base,
            padded: track.padding.is_some() || parameters.codec == CODEC_ID_OPUS,
            clock,
            truncated: *truncated,
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

/// The length of a tick in seconds.
pub(super) fn seconds(base: TimeBase) -> f64 {
    f64::from(base.numer.get()) / f64::from(base.denom.get())
}

fn is_elementary(format: FormatId) -> bool {
    [FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3, FORMAT_ID_ADTS].contains(&format)
}
