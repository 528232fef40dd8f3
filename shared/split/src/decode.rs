//! Any recording file to samples, one packet at a time.

use std::{
    fs::File,
    io::{ErrorKind, Seek},
    ops::{ControlFlow, Range},
};

use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
    packet::Packet,
    units::TimeBase,
};

use super::{SplitError, mp4};

/// Sample rates that a recording can have, in Hz.
const RATES: Range<u32> = 1_000..400_000;
/// Faults of the container in a row after which the rest is given up.
const MAX_FAULTS: u32 = 100;
/// A jump of the timestamps longer than this is a fault of the file, not a pause, in seconds.
const MAX_JUMP: i64 = 3600;

/// Samples in order, interleaved, -1 to 1.
pub(super) struct Block<'a> {
    pub(super) rate: u32,
    pub(super) channels: usize,
    pub(super) samples: &'a [f32],
}

/// Receives the blocks in order; `Break` ends the decoding.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Block<'_>) -> Result<ControlFlow<()>, SplitError>;

/// What was read.
pub(super) struct Decoded {
    pub(super) rate: u32,
    pub(super) channels: usize,
    /// Samples per channel.
    pub(super) frames: u64,
    /// Packets that could not be decoded. Their time is kept, as silence.
    pub(super) corrupt: u64,
}

impl Decoded {
    pub(super) fn seconds(&self) -> f64 {
        self.frames as f64 / f64::from(self.rate)
    }
}

/// Decodes the first audio track from its start to its end.
pub(super) fn decode(mut file: File, extension: Option<&str>, sink: Sink<'_>) -> Result<Decoded, SplitError> {
    if file.metadata()?.len() == 0 {
        return Err(SplitError::Empty);
    }
    let edit = mp4::media_start(&mut file);
    file.rewind()?;
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let reader = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(unsupported)?;
    let track = reader.default_track(TrackType::Audio).ok_or(SplitError::Unsupported)?;
    let parameters = track.codec_params.as_ref().and_then(|codec| codec.audio());
    // What belongs to the recording is decided in `frames_of`: the demuxer takes the guessed length of an MP3 with variable
    // bit rate for its end.
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(
            parameters.ok_or(SplitError::Unsupported)?,
            &AudioDecoderOptions::default().gapless(false),
        )
        .map_err(unsupported)?;
    Decoding {
        track: track.id,
        time_base: track.time_base,
        padded: track.padding.is_some(),
        origin: edit,
        faults: 0,
        good: 0,
        decoded: Decoded {
            rate: 0,
            channels: 0,
            frames: 0,
            corrupt: 0,
        },
        reader,
        decoder,
    }
    .run(sink)
}

fn unsupported(error: Error) -> SplitError {
    match error {
        Error::IoError(error) if error.raw_os_error().is_some() => SplitError::Io(error),
        _ => SplitError::Unsupported,
    }
}

struct Decoding {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    time_base: Option<TimeBase>,
    /// Whether the file says how much its encoder added at the end.
    padded: bool,
    /// The timestamp of the recording's first sample; known with the first packet.
    origin: Option<i64>,
    faults: u32,
    good: u64,
    decoded: Decoded,
}

impl Decoding {
    fn run(mut self, sink: Sink<'_>) -> Result<Decoded, SplitError> {
        let mut samples = Vec::new();
        let mut next = self.next()?;
        while let Some(packet) = next {
            next = self.next()?;
            let last = next.is_none();
            self.origin.get_or_insert(packet.pts.get().max(0));
            let Ok(buffer) = self.decoder.decode(&packet) else {
                self.decoded.corrupt += 1;
                continue;
            };
            let (rate, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
            if self.decoded.rate == 0 && RATES.contains(&rate) && channels > 0 {
                (self.decoded.rate, self.decoded.channels) = (rate, channels);
            }
            if (rate, channels) != (self.decoded.rate, self.decoded.channels) {
                self.decoded.corrupt += 1;
                continue;
            }
            buffer.copy_to_vec_interleaved(&mut samples);
            let frames = buffer.frames();
            self.good += 1;
            let frames = self.frames_of(&packet, frames, last);
            if self.silence(&packet, sink)?.is_break() {
                break;
            }
            self.decoded.frames += frames.len() as u64;
            let block = Block {
                rate,
                channels,
                samples: &samples[frames.start * channels..frames.end * channels],
            };
            if !frames.is_empty() && sink(block)?.is_break() {
                break;
            }
        }
        match self.decoded {
            Decoded {
                frames: 0, corrupt: 0, ..
            } => Err(SplitError::Empty),
            Decoded { frames: 0, .. } => Err(SplitError::Unsupported),
            Decoded { corrupt, .. } if corrupt > self.good => Err(SplitError::Unsupported),
            decoded => Ok(decoded),
        }
    }

    /// The track's next packet; `None` at the end, which is also where a truncated file breaks off.
    fn next(&mut self) -> Result<Option<Packet>, SplitError> {
        loop {
            match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => {
                    self.faults = 0;
                    return Ok(Some(packet));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(Error::IoError(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(Error::IoError(error)) if error.raw_os_error().is_some() => return Err(SplitError::Io(error)),
                Err(Error::DecodeError(_)) if self.faults < MAX_FAULTS => {
                    self.faults += 1;
                    self.decoded.corrupt += 1;
                }
                Err(_) => return Ok(None),
            }
        }
    }

    /// Units of the track's clock as samples.
    fn frames(&self, ticks: i64) -> i64 {
        let rate = i128::from(self.decoded.rate);
        let frames = match self.time_base {
            Some(base) => i128::from(ticks) * i128::from(base.numer.get()) * rate / i128::from(base.denom.get()),
            None => i128::from(ticks),
        };
        i64::try_from(frames).unwrap_or(i64::MAX)
    }

    /// Where the packet starts in the recording, in samples; negative before its start.
    fn start_of(&self, packet: &Packet) -> i64 {
        self.frames(packet.pts.get().saturating_sub(self.origin.unwrap_or(0)))
    }

    /// Which of the packet's samples belong to the recording; the others are the encoder's delay and padding.
    fn frames_of(&self, packet: &Packet, frames: usize, last: bool) -> Range<usize> {
        let lead = (-self.start_of(packet)).max(self.frames(packet.trim_start.get() as i64));
        let start = usize::try_from(lead).unwrap_or(0).min(frames);
        let padding = usize::try_from(self.frames(packet.trim_end.get() as i64)).unwrap_or(0);
        let end = if last && self.padded && padding < frames {
            frames - padding
        } else {
            frames
        };
        start..end.max(start)
    }

    /// How many samples are missing before the packet: a pause in the container's clock, or packets that could not be decoded.
    fn missing(&self, packet: &Packet) -> u64 {
        let missing = self.plausible(self.start_of(packet) - self.decoded.frames as i64);
        // Clocks of containers are coarse: some milliseconds are not a pause.
        if missing < u64::from(self.decoded.rate / 50) {
            0
        } else {
            missing
        }
    }

    /// Samples that the clock moved on, unless it jumped.
    fn plausible(&self, step: i64) -> u64 {
        let most = i64::from(self.decoded.rate) * MAX_JUMP;
        u64::try_from(step).ok().filter(|_| step <= most).unwrap_or(0)
    }

    /// Silence for what is missing before the packet.
    fn silence(&mut self, packet: &Packet, sink: Sink<'_>) -> Result<ControlFlow<()>, SplitError> {
        let Decoded { rate, channels, .. } = self.decoded;
        let mut missing = self.missing(packet);
        if missing == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        self.decoded.frames += missing;
        let second = vec![0.0; rate as usize * channels];
        while missing > 0 {
            let frames = missing.min(u64::from(rate));
            missing -= frames;
            let block = Block {
                rate,
                channels,
                samples: &second[..frames as usize * channels],
            };
            if sink(block)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
