//! Decodes audio packet by packet, so that memory use does not depend on its length.

use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_OPUS,
};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

/// A decoded file. `format` is the detected container (`mp3`, `wave`, `isomp4`, `flac`, `ogg`, `matroska`).
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) format: &'static str,
    pub(crate) rate: u32,
    pub(crate) channels: usize,
    pub(crate) frames: u64,
}

impl Decoded {
    /// The length of the decoded audio, which may differ from the length in a header.
    pub(crate) fn seconds(&self) -> f64 {
        self.frames as f64 / f64::from(self.rate)
    }
}

/// The file can't be decoded.
#[derive(Debug)]
pub(crate) struct Undecodable;

/// Decodes the first audio track. `sink` is called with the sample rate, the number of channels and the interleaved samples (-1 to 1) of each
/// packet.
pub(crate) fn decode(
    source: impl MediaSource + 'static,
    mut sink: impl FnMut(u32, usize, &[f32]),
) -> Result<Decoded, Undecodable> {
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|_| Undecodable)?;
    let track = reader.default_track(TrackType::Audio).ok_or(Undecodable)?;
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|codec| codec.audio())
        .ok_or(Undecodable)?;
    let mut decoder = Decoder::new(parameters)?;
    let track = track.id;

    let mut decoded = Decoded {
        format: reader.format_info().short_name,
        rate: 0,
        channels: 0,
        frames: 0,
    };
    let mut bad_packets = 0_u64;
    let mut good_packets = 0_u64;
    let mut samples = Vec::new();
    // A truncated file ends with an error; the audio before it is used, as in ffmpeg.
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet, &mut samples) {
            Some((rate, channels)) => {
                if decoded.rate != 0 && (rate, channels) != (decoded.rate, decoded.channels) {
                    return Err(Undecodable);
                }
                (decoded.rate, decoded.channels) = (rate, channels);
                decoded.frames += (samples.len() / channels) as u64;
                good_packets += 1;
                sink(rate, channels, &samples);
            }
            None => bad_packets += 1,
        }
    }
    if decoded.rate == 0 || bad_packets > good_packets {
        return Err(Undecodable);
    }
    Ok(decoded)
}

/// The rate at which Opus is decoded.
const OPUS_RATE: u32 = 16_000;
/// Frames of the longest Opus packet, 120 ms.
const OPUS_FRAMES: usize = OPUS_RATE as usize * 120 / 1000;

enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<ropus::Decoder>, usize),
}

impl Decoder {
    fn new(parameters: &AudioCodecParameters) -> Result<Self, Undecodable> {
        if parameters.codec == CODEC_ID_OPUS {
            let (channels, count) = match parameters.channels.as_ref().map_or(1, |channels| channels.count()) {
                1 => (ropus::Channels::Mono, 1),
                _ => (ropus::Channels::Stereo, 2),
            };
            let decoder = ropus::Decoder::new(OPUS_RATE, channels).map_err(|_| Undecodable)?;
            return Ok(Self::Opus(Box::new(decoder), count));
        }
        let codecs = symphonia::default::get_codecs();
        let decoder = codecs.make_audio_decoder(parameters, &AudioDecoderOptions::default());
        decoder.map(Self::Symphonia).map_err(|_| Undecodable)
    }

    /// The packet's interleaved samples with their rate and channels; `None` when it is damaged.
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Option<(u32, usize)> {
        match self {
            Self::Symphonia(decoder) => {
                let buffer = decoder.decode(packet).ok()?;
                buffer.copy_to_vec_interleaved(samples);
                Some((buffer.spec().rate(), buffer.spec().channels().count()))
            }
            Self::Opus(decoder, channels) => {
                let mut decoded = vec![0_i16; OPUS_FRAMES * *channels];
                let frames = decoder
                    .decode(&packet.data, &mut decoded, ropus::DecodeMode::Normal)
                    .ok()?;
                samples.clear();
                samples.extend(
                    decoded[..frames * *channels]
                        .iter()
                        .map(|sample| f32::from(*sample) / 32768.0),
                );
                Some((OPUS_RATE, *channels))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clips::CLIPS;

    #[test]
    fn clips_have_the_lengths_in_the_table() {
        for clip in &CLIPS {
            let seconds = |bytes: &'static [u8]| decode(std::io::Cursor::new(bytes), |_, _, _| {}).unwrap().seconds();
            let files = [
                (Some(clip.mp3), clip.mp3_seconds),
                (clip.dual_mp3, clip.mp3_seconds),
                (clip.mp4, clip.mp4_seconds),
            ];
            for (file, expected) in files {
                let Some(seconds) = file.map(seconds) else { continue };
                assert!((seconds - f64::from(expected)).abs() < 0.5, "{} {seconds}", clip.name);
            }
        }
    }
}
