//! Decoding, one packet at a time: however long the audio, only a packet of it is in memory.

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

/// A decoded file. `format` is the container found in the bytes (`mp3`, `wave`, `isomp4`, `flac`, `ogg`, `matroska`).
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) format: &'static str,
    pub(crate) rate: u32,
    pub(crate) channels: usize,
    pub(crate) frames: u64,
}

impl Decoded {
    /// The true length: what was decoded, not what a header claims.
    pub(crate) fn seconds(&self) -> f64 {
        self.frames as f64 / f64::from(self.rate)
    }
}

/// The bytes are not audio that can be decoded.
#[derive(Debug)]
pub(crate) struct Undecodable;

/// Decodes the first audio track; `sink` gets the sample rate, the number of channels and the interleaved samples (-1 to 1) of each packet.
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
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|_| Undecodable)?;
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
    // A file that is cut off ends in an error; what came before it counts, as with ffmpeg.
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(buffer) => {
                let (rate, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
                if decoded.rate != 0 && (rate, channels) != (decoded.rate, decoded.channels) {
                    return Err(Undecodable);
                }
                (decoded.rate, decoded.channels) = (rate, channels);
                decoded.frames += buffer.frames() as u64;
                good_packets += 1;
                buffer.copy_to_vec_interleaved(&mut samples);
                sink(rate, channels, &samples);
            }
            Err(Error::DecodeError(_) | Error::IoError(_)) => bad_packets += 1,
            Err(_) => return Err(Undecodable),
        }
    }
    if decoded.rate == 0 || bad_packets > good_packets {
        return Err(Undecodable);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clips::CLIPS;

    #[test]
    fn clips_last_as_long_as_their_rows_say() {
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
