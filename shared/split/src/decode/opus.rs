//! Decodes Opus packets.

use ropus::{Channels, DecodeMode, Decoder, OpusMSDecoder};

use crate::SplitError;

/// Opus can be decoded at this rate directly. Speech recognition needs no higher rate, so no resampling is necessary.
pub(super) const RATE: u32 = 16_000;
/// The rate of timestamps and header fields.
pub(super) const CLOCK: u32 = 48_000;
/// The number of frames of the longest packet, 120 ms.
const MAX_FRAMES: usize = RATE as usize * 120 / 1000;

pub(super) struct Opus {
    decoder: Streams,
    channels: usize,
    /// Samples at [`CLOCK`] to skip at the start.
    pub(super) pre_skip: u16,
    /// The index of each channel in the channel order of Vorbis, which Opus uses for more than two channels.
    order: &'static [usize],
    output: Vec<i16>,
}

enum Streams {
    One(Box<Decoder>),
    /// The decoder, and the gain, which the decoder does not apply.
    Several(Box<OpusMSDecoder>, f32),
}

impl Opus {
    /// `head` is the OpusHead packet of an Ogg or Matroska file, or the MP4 demuxer's data from the `dOps` box. `channels` is the number of
    /// channels in the container.
    pub(super) fn new(head: &[u8], channels: usize) -> Result<Self, SplitError> {
        let head = Head::parse(head).unwrap_or(Head {
            channels: channels.clamp(1, 2),
            pre_skip: 0,
            gain: 0,
            mapping: None,
        });
        let rate = RATE as i32;
        let decoder = match &head.mapping {
            None => {
                let channels = if head.channels == 1 {
                    Channels::Mono
                } else {
                    Channels::Stereo
                };
                let mut decoder = Decoder::new(RATE, channels).map_err(|_| SplitError::Unsupported)?;
                decoder
                    .set_gain(head.gain.into())
                    .map_err(|_| SplitError::Unsupported)?;
                Streams::One(Box::new(decoder))
            }
            Some((streams, coupled, mapping)) => {
                let (streams, coupled) = (i32::from(*streams), i32::from(*coupled));
                let decoder = OpusMSDecoder::new(rate, head.channels as i32, streams, coupled, mapping);
                let gain = 10_f32.powf(f32::from(head.gain) / (20.0 * 256.0));
                Streams::Several(Box::new(decoder.map_err(|_| SplitError::Unsupported)?), gain)
            }
        };
        Ok(Self {
            decoder,
            channels: head.channels,
            pre_skip: head.pre_skip,
            order: order(head.channels),
            output: vec![0; MAX_FRAMES * head.channels],
        })
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Appends the packet's interleaved samples; `None` if it is damaged.
    pub(super) fn decode(&mut self, packet: &[u8], samples: &mut Vec<f32>) -> Option<()> {
        if packet.is_empty() {
            return None;
        }
        let output = &mut self.output[..];
        let (frames, gain) = match &mut self.decoder {
            Streams::One(decoder) => (decoder.decode(packet, output, DecodeMode::Normal).ok()?, 1.0),
            Streams::Several(decoder, gain) => {
                let length = i32::try_from(packet.len()).ok()?;
                let frames = decoder.decode(Some(packet), length, output, MAX_FRAMES as i32, false);
                (usize::try_from(frames.ok()?).ok()?, *gain)
            }
        };
        for frame in output.chunks_exact(self.channels).take(frames) {
            let ordered = (0..self.channels).map(|channel| frame[self.order.get(channel).copied().unwrap_or(channel)]);
            samples.extend(ordered.map(|sample| f32::from(sample) / 32768.0 * gain));
        }
        Some(())
    }
}

struct Head {
    channels: usize,
    pre_skip: u16,
    /// In 1/256 dB.
    gain: i16,
    /// Streams, coupled streams, and the decoded channel for each channel of the file.
    mapping: Option<(u8, u8, Vec<u8>)>,
}

impl Head {
    fn parse(head: &[u8]) -> Option<Self> {
        let [version, channels, p, q, _, _, _, _, g, h, family, rest @ ..] = head.strip_prefix(b"OpusHead")? else {
            return None;
        };
        // The MP4 box has version 0 and is big-endian; the packet has version 1 and is little-endian.
        let number = |bytes: [u8; 2]| match version {
            0 => u16::from_be_bytes(bytes),
            _ => u16::from_le_bytes(bytes),
        };
        let channels = usize::from(*channels);
        let mapping = match rest {
            [streams, coupled, mapping @ ..] if *family > 0 => {
                Some((*streams, *coupled, mapping.get(..channels)?.to_vec()))
            }
            _ if channels > 2 => return None,
            _ => None,
        };
        (channels > 0).then_some(Self {
            channels,
            pre_skip: number([*p, *q]),
            gain: number([*g, *h]) as i16,
            mapping,
        })
    }
}

/// Maps the channel order of Vorbis to front left, front right, center, low frequencies, and the others.
fn order(channels: usize) -> &'static [usize] {
    match channels {
        3 => &[0, 2, 1],
        5 => &[0, 2, 1, 3, 4],
        6 => &[0, 2, 1, 5, 3, 4],
        7 => &[0, 2, 1, 6, 5, 3, 4],
        8 => &[0, 2, 1, 7, 5, 6, 3, 4],
        _ => &[],
    }
}
