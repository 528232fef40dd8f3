//! Decodes packets to samples.

use symphonia::core::{
    codecs::audio::{
        AudioDecoder, AudioDecoderOptions,
        well_known::{CODEC_ID_AAC, CODEC_ID_MP1, CODEC_ID_OPUS, CODEC_ID_PCM_S16LE},
    },
    packet::Packet,
};

use crate::SplitError;

use super::{
    adapt::Format,
    names,
    open::Track,
    opus::{self, Opus},
};

/// The decoder of a track.
pub(super) enum Codec {
    Opus(Box<Opus>),
    /// 16-bit samples, the most common format of telephone recordings. This is several times as fast as the general decoder.
    Pcm16(Format),
    Other(Box<dyn AudioDecoder>),
}

impl Codec {
    pub(super) fn new(track: &Track) -> Result<Self, SplitError> {
        let parameters = &track.parameters;
        let codecs = symphonia::default::get_codecs();
        let unsupported = || match parameters.codec {
            // A damaged Opus header, or random bytes that the MPEG demuxer detects as MP1.
            CODEC_ID_OPUS | CODEC_ID_MP1 => SplitError::Unsupported,
            codec if codec != CODEC_ID_AAC && codecs.get_audio_decoder(codec).is_some() => SplitError::Unsupported,
            _ => SplitError::UnsupportedCodec(names::track(parameters)),
        };
        if parameters.codec == CODEC_ID_OPUS {
            let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
            let head = parameters.extra_data.as_deref().unwrap_or_default();
            return Ok(Self::Opus(Box::new(
                Opus::new(head, channels).map_err(|_| unsupported())?,
            )));
        }
        if let (CODEC_ID_PCM_S16LE, Some(rate), Some(channels)) =
            (parameters.codec, parameters.sample_rate, &parameters.channels)
        {
            return Ok(Self::Pcm16(Format {
                rate,
                channels: channels.count(),
            }));
        }
        // `Decoding::trim` removes padding, because the MP3 demuxer would trim at an estimated length.
        codecs
            .make_audio_decoder(parameters, &AudioDecoderOptions::default().gapless(false))
            .map(Self::Other)
            .map_err(|_| unsupported())
    }

    /// Decodes the packet to interleaved samples; `None` if it is damaged.
    pub(super) fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Option<Format> {
        samples.clear();
        match self {
            Self::Opus(decoder) => {
                decoder.decode(&packet.data, samples)?;
                Some(Format {
                    rate: opus::RATE,
                    channels: decoder.channels(),
                })
            }
            Self::Pcm16(format) => {
                let values = packet
                    .data
                    .chunks_exact(2)
                    .map(|two| i16::from_le_bytes([two[0], two[1]]));
                samples.extend(values.map(|value| f32::from(value) / 32768.0));
                samples.truncate(samples.len() / format.channels * format.channels);
                Some(*format)
            }
            Self::Other(decoder) => {
                let buffer = decoder.decode(packet).ok()?;
                let format = Format {
                    rate: buffer.spec().rate(),
                    channels: buffer.spec().channels().count(),
                };
                buffer.copy_to_vec_interleaved(samples);
                Some(format)
            }
        }
    }

    /// Whether any bytes are valid samples.
    pub(super) fn is_pcm(&self) -> bool {
        match self {
            Self::Opus(_) => false,
            Self::Pcm16(_) => true,
            Self::Other(decoder) => decoder.codec_info().short_name.contains("pcm"),
        }
    }

    /// The encoder's delay before the recording in seconds.
    pub(super) fn pre_skip(&self) -> f64 {
        match self {
            Self::Opus(decoder) => f64::from(decoder.pre_skip) / f64::from(opus::CLOCK),
            _ => 0.0,
        }
    }
}
