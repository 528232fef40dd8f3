//! Lenient parsing of WAV files with wrong sizes in their headers.
//!
//! Recorders that crash, stream or update their headers late write sizes that are zero, too small, too large or placeholders. A chunk's size is
//! used only if the bytes at its end are consistent with it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::{Range, RangeInclusive},
};

use symphonia::core::{
    audio::Channels,
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known::*},
    packet::Packet,
    units::{Duration, Timestamp},
};

use crate::SplitError;

use super::names;

/// Sizes from this value on are placeholders for an unknown size, such as 0x7fffffff and 0xffffffff.
const PLACEHOLDER: u64 = 0x7fff_0000;
const MAX_CHANNELS: RangeInclusive<u16> = 1..=32;
/// The approximate number of frames in a packet.
const PACKET: u64 = 4096;

/// The content of a WAV file.
pub(super) enum Wav {
    /// Samples, or blocks of them.
    Blocks(Blocks),
    /// A nested file of another format, such as MPEG audio.
    Nested(Range<u64>),
}

/// The samples of a WAV file.
pub(super) struct Blocks {
    pub(super) parameters: AudioCodecParameters,
    pub(super) rate: u32,
    /// The number of frames according to the header, if it is known.
    pub(super) promised: Option<u64>,
    data: Range<u64>,
    block_bytes: u64,
    block_frames: u64,
    at: u64,
}

/// Parses the headers; `None` if the file is not WAV.
pub(super) fn open(file: &File) -> Result<Option<Wav>, SplitError> {
    let mut chunks = Chunks::new(file)?;
    let Some(head) = chunks.bytes::<12>(0)? else {
        return Ok(None);
    };
    if !matches!(&head[..4], b"RIFF" | b"RF64" | b"BW64") || &head[8..] != b"WAVE" {
        return Ok(None);
    }
    let (mut format, mut large) = (None, None);
    let mut at = 12;
    while let Some((id, size)) = chunks.header(at)? {
        let body = at + 8;
        match &id {
            b"fmt " => format = Some(chunks.prefix(body, size.min(64))?),
            b"ds64" => {
                large = chunks
                    .bytes::<16>(body)?
                    .map(|[.., a, b, c, d, e, f, g, h]| u64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            b"data" => {
                let format = Format::parse(&format.ok_or(SplitError::Unsupported)?)?;
                let size = if size == u64::from(u32::MAX) {
                    large.unwrap_or(size)
                } else {
                    size
                };
                return format.wav(chunks.data(body, size)?, size).map(Some);
            }
            _ => {}
        }
        at = chunks.after(body, size)?;
    }
    Err(SplitError::Unsupported)
}

/// Parses the header of a Sun audio file, another format in telephony; `None` if the file is not one.
pub(super) fn open_au(file: &File) -> Result<Option<Blocks>, SplitError> {
    let mut chunks = Chunks::new(file)?;
    let Some(head) = chunks.bytes::<24>(0)?.filter(|head| head.starts_with(b".snd")) else {
        return Ok(None);
    };
    let mut fields = head[4..]
        .chunks_exact(4)
        .map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
    let mut field = || fields.next().unwrap_or(0);
    let (start, size, encoding, rate, channels) = (u64::from(field()), u64::from(field()), field(), field(), field());
    let (codec, sample) = match encoding {
        1 => (CODEC_ID_PCM_MULAW, 1),
        2 => (CODEC_ID_PCM_S8, 1),
        3 => (CODEC_ID_PCM_S16BE, 2),
        4 => (CODEC_ID_PCM_S24BE, 3),
        5 => (CODEC_ID_PCM_S32BE, 4),
        6 => (CODEC_ID_PCM_F32BE, 4),
        7 => (CODEC_ID_PCM_F64BE, 8),
        27 => (CODEC_ID_PCM_ALAW, 1),
        encoding => return Err(SplitError::UnsupportedCodec(format!("Sun audio encoding {encoding}"))),
    };
    let channels = u16::try_from(channels).unwrap_or(0);
    if !MAX_CHANNELS.contains(&channels) || !super::RATES.contains(&rate) {
        return Err(SplitError::Unsupported);
    }
    let end = start.saturating_add(size);
    let placeholder = size == 0 || size >= PLACEHOLDER;
    let data = start.min(chunks.length)..if placeholder {
        chunks.length
    } else {
        end.min(chunks.length)
    };
    Ok(Some(Blocks::new(
        codec,
        channels,
        rate,
        sample * u64::from(channels),
        1,
        data,
        size,
    )))
}

struct Chunks<'a> {
    file: &'a File,
    length: u64,
}

impl<'a> Chunks<'a> {
    fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self {
            file,
            length: file.metadata()?.len(),
        })
    }

    /// Up to `size` bytes from `at`.
    fn prefix(&mut self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(at))?;
        self.file.take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.prefix(at, N as u64)?.try_into().ok())
    }

    fn header(&mut self, at: u64) -> io::Result<Option<([u8; 4], u64)>> {
        let header = self.bytes::<8>(at)?;
        Ok(header.map(|[a, b, c, d, size @ ..]| ([a, b, c, d], u64::from(u32::from_le_bytes(size)))))
    }

    /// Whether a chunk or an appended tag starts here. Samples can look like a chunk name, but then the size is hardly ever plausible.
    fn starts_chunk(&mut self, at: u64) -> io::Result<bool> {
        let Some((name, size)) = self.header(at)? else {
            return Ok(false);
        };
        let fits = || name.iter().all(|byte| (0x20..0x7f).contains(byte)) && size <= self.length - at - 8;
        Ok(matches!(
            &name,
            b"LIST" | b"id3 " | b"bext" | b"cue " | [b'I', b'D', b'3', _] | [b'T', b'A', b'G', _]
        ) || fits())
    }

    /// The start of the chunk after one of `size` bytes at `body`. Chunks of odd size should be padded, but not every writer does that.
    fn after(&mut self, body: u64, size: u64) -> io::Result<u64> {
        let end = body + size;
        let padded = end + size % 2;
        if end > self.length {
            return self.find_data(body);
        }
        let unpadded = padded != end && !self.starts_chunk(padded)? && self.starts_chunk(end)?;
        Ok(if unpadded { end } else { padded })
    }

    /// Searches for the data chunk if a chunk before it is longer than the file.
    fn find_data(&mut self, from: u64) -> io::Result<u64> {
        let bytes = self.prefix(from, 1 << 20)?;
        let found = bytes.windows(4).position(|name| name == b"data");
        Ok(found.map_or(self.length, |offset| from + offset as u64))
    }

    /// The samples of a data chunk of `size` bytes.
    fn data(&mut self, start: u64, size: u64) -> io::Result<Range<u64>> {
        let end = start.saturating_add(size);
        // A recorder that crashed before it could update the header leaves a size of zero or one that is too small.
        let believed = size < PLACEHOLDER || size > u64::from(u32::MAX);
        let believed = believed && end < self.length && {
            let rest = self.length - end;
            rest < 8 || self.starts_chunk(end)? || self.starts_chunk(end + 1)?
        };
        Ok(start..if believed { end } else { self.length })
    }
}

struct Format {
    tag: u16,
    channels: u16,
    rate: u32,
    block: u16,
    bits: u16,
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Self, SplitError> {
        let short = |at: usize| chunk.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let wide = |at: usize| Some(u32::from(short(at)?) | u32::from(short(at + 2)?) << 16);
        let read = || {
            let tag = short(0)?;
            Some(Self {
                // The extensible format has the format tag in its last field.
                tag: if tag == 0xfffe { short(24)? } else { tag },
                channels: short(2)?,
                rate: wide(4)?,
                block: short(12)?,
                bits: short(14).unwrap_or(0),
            })
        };
        read()
            .filter(|format| MAX_CHANNELS.contains(&format.channels) && super::RATES.contains(&format.rate))
            .ok_or(SplitError::Unsupported)
    }

    fn wav(&self, data: Range<u64>, size: u64) -> Result<Wav, SplitError> {
        let channels = u64::from(self.channels);
        let block = u64::from(self.block);
        // Some writers set only the block's size, or a sample size that is smaller than the sample's space in the block.
        let stated = u64::from(self.bits).div_ceil(8);
        let sample = match block / channels {
            size if block % channels == 0 && (stated.max(1)..=4).contains(&size) => size,
            _ => stated,
        };
        let (codec, block_bytes, block_frames) = match (self.tag, self.bits, sample) {
            (1, _, 1) => (CODEC_ID_PCM_U8, channels, 1),
            (1, _, 2) => (CODEC_ID_PCM_S16LE, 2 * channels, 1),
            (1, _, 3) => (CODEC_ID_PCM_S24LE, 3 * channels, 1),
            (1, _, 4) => (CODEC_ID_PCM_S32LE, 4 * channels, 1),
            (3, 64, _) => (CODEC_ID_PCM_F64LE, 8 * channels, 1),
            (3, ..) => (CODEC_ID_PCM_F32LE, 4 * channels, 1),
            (6, ..) => (CODEC_ID_PCM_ALAW, channels, 1),
            (7, ..) => (CODEC_ID_PCM_MULAW, channels, 1),
            (2, ..) => adpcm(CODEC_ID_ADPCM_MS, block, channels, 7, 2)?,
            (0x11, ..) => adpcm(CODEC_ID_ADPCM_IMA_WAV, block, channels, 4, 1)?,
            (0x50 | 0x55, ..) => return Ok(Wav::Nested(data)),
            (tag, ..) => return Err(SplitError::UnsupportedCodec(names::wav(tag))),
        };
        let blocks = Blocks::new(codec, self.channels, self.rate, block_bytes, block_frames, data, size);
        Ok(Wav::Blocks(blocks))
    }
}

/// Blocks of 4-bit samples after a header for each channel, which contains some samples itself.
fn adpcm(
    codec: AudioCodecId,
    block: u64,
    channels: u64,
    header: u64,
    first: u64,
) -> Result<(AudioCodecId, u64, u64), SplitError> {
    let samples = block.checked_sub(header * channels).ok_or(SplitError::Unsupported)?;
    Ok((codec, block, samples * 2 / channels + first))
}

impl Blocks {
    /// `size` is the number of bytes according to the header.
    fn new(
        codec: AudioCodecId,
        channels: u16,
        rate: u32,
        block_bytes: u64,
        block_frames: u64,
        data: Range<u64>,
        size: u64,
    ) -> Self {
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(codec)
            .with_sample_rate(rate)
            .with_channels(Channels::Discrete(channels))
            .with_frames_per_block(block_frames)
            .with_max_frames_per_packet(PACKET.max(block_frames));
        let placeholder = size == 0 || (PLACEHOLDER..=u64::from(u32::MAX)).contains(&size);
        Self {
            parameters,
            rate,
            promised: Some(size / block_bytes * block_frames).filter(|_| !placeholder),
            at: data.start,
            data,
            block_bytes,
            block_frames,
        }
    }

    /// The next packet of complete blocks. A truncated last block is padded, and the padding must be trimmed.
    pub(super) fn next_packet(&mut self, mut source: impl Read) -> io::Result<Option<Packet>> {
        let rest = self.data.end.saturating_sub(self.at);
        // A part of a single sample can't be decoded.
        if rest == 0 || self.block_frames == 1 && rest < self.block_bytes {
            return Ok(None);
        }
        // Each block is a separate packet, so that a damaged block does not affect others.
        let blocks = if self.block_frames > 1 {
            1
        } else {
            PACKET.min(rest / self.block_bytes)
        };
        let size = blocks * self.block_bytes;
        let mut bytes = vec![0; size as usize];
        let mut filled = 0;
        while filled < bytes.len().min(rest as usize) {
            match source.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(None);
        }
        let start = (self.at - self.data.start) / self.block_bytes * self.block_frames;
        let missing = (size - filled as u64) * self.block_frames / self.block_bytes;
        self.at += size;
        let frames = Duration::new(blocks * self.block_frames - missing);
        let mut packet = Packet::new(0, Timestamp::new(start as i64), frames, bytes);
        packet.trim_end = Duration::new(missing);
        Ok(Some(packet))
    }

    /// The range of its bytes in the file.
    pub(super) fn range(&self) -> Range<u64> {
        self.data.clone()
    }
}
