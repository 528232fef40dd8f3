//! A recording file to parts for the transcription API: decoded, at 16 kHz, without its long silences, cut in pauses.
//!
//! No network and no clock; blocking, for `spawn_blocking`. The file is read in a stream: whatever its length, memory holds one part's samples
//! per channel. The same file and plan give the same parts, byte for byte.

mod cut;
mod decode;
mod flac;
mod mp4;
mod resample;
#[cfg(test)]
mod tests;

use std::{fs::File, io, ops::ControlFlow, time::Duration};

use bytes::Bytes;

use cut::Cutter;
use decode::{Block, Want, decode};
use resample::Resampler;

/// Samples per second of what is sent.
const RATE: u32 = 16_000;

/// The most audio of one part: even as noise it is under the API's 25 MB.
pub const LONGEST: Duration = Duration::from_secs(780);
/// The least that can be asked for.
const SHORTEST: Duration = Duration::from_secs(2);

/// What to make of a file.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Audio in one part at most; taken as 2 s when less and [`LONGEST`] when more.
    pub longest: Duration,
    /// What becomes of several channels.
    pub channels: Channels,
}

/// What becomes of several channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// They are mixed into one.
    Mixed,
    /// Each has its own parts. Two that carry the same signal count as one.
    Separate,
}

/// A piece of one channel.
#[derive(Clone, Debug)]
pub struct Part {
    /// Counts the channel's parts from 0 in the order of their start.
    pub index: u32,
    /// The channel in the file, from 0; 0 when they are mixed.
    pub channel: u8,
    /// Where it starts in the recording, in seconds.
    pub start: f64,
    /// Where it ends in the recording, in seconds.
    pub end: f64,
    /// A FLAC file, 16 kHz, mono, 16 bits.
    pub audio: Bytes,
    /// How long [`Part::audio`] is, in seconds. Less than from start to end when silence was left out.
    pub seconds: f64,
    /// Which audio is from when.
    pub spans: Spans,
}

impl Part {
    /// See [`Spans::recording_time`].
    pub fn recording_time(&self, sent: f64) -> f64 {
        self.spans.recording_time(sent)
    }
}

/// How the time of a part's audio maps to the time of the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

/// A stretch of the recording that is in a part without a break. In samples at 16 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    sent: u64,
    recorded: u64,
    length: u64,
}

impl Spans {
    /// The second of the recording that is heard at second `sent` of the part's audio. In the short silence that stands for a long one it is the
    /// nearer edge of that; before and after the audio it is its start and end. Never runs backwards.
    pub fn recording_time(&self, sent: f64) -> f64 {
        let sent = sent * f64::from(RATE);
        let within = |span: &Span| span.recorded as f64 + (sent - span.sent as f64).clamp(0.0, span.length as f64);
        let distance = |span: &Span| {
            (span.sent as f64 - sent)
                .max(sent - (span.sent + span.length) as f64)
                .max(0.0)
        };
        let next = self.0.partition_point(|span| ((span.sent + span.length) as f64) < sent);
        let candidates = [next.checked_sub(1), Some(next)];
        candidates
            .into_iter()
            .flatten()
            .filter_map(|index| self.0.get(index))
            .min_by(|one, other| distance(one).total_cmp(&distance(other)))
            .map_or(0.0, |span| within(span) / f64::from(RATE))
    }
}

/// What a file was split into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Length of the recording; up to where it was read when the receiver stopped early.
    pub seconds: f64,
    /// Audio in all parts.
    pub sent_seconds: f64,
    /// Channels in the file.
    pub channels: u8,
    /// Whether all channels carry the same signal. Looked into for [`Channels::Separate`] only.
    pub identical_channels: bool,
    /// How many parts there are, over all channels.
    pub parts: u32,
    /// Packets that could not be decoded and are silent instead.
    pub corrupt_packets: u64,
}

/// Why a file could not be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The file has no audio in it.
    #[error("The recording has no audio")]
    Empty,
    /// The file is of no known format, or broken beyond use.
    #[error("The recording is not audio that can be decoded: MP3, WAV, MP4 with AAC-LC, FLAC or Ogg Vorbis")]
    Unsupported,
    /// The file could not be read.
    #[error("The recording could not be read from disk: {0}")]
    Io(#[from] io::Error),
    /// A part could not be encoded, which no samples should bring about.
    #[error("A part of the recording could not be encoded as FLAC")]
    Encoding,
}

/// Reads the file from front to back and hands out its parts as they are cut, in order for each channel, until `emit` breaks.
///
/// [`Channels::Separate`] reads it twice where channels may be identical: up to the first half second that tells them apart.
/// A file that breaks off gives what is there. A recording of nothing but silence has no parts.
pub fn split(
    file: File,
    extension: Option<&str>,
    plan: &Plan,
    emit: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Summary, SplitError> {
    run(file, extension, plan, true, emit)
}

/// What [`split`] would make of the file, without making it: nothing is encoded.
pub fn look(file: File, extension: Option<&str>, plan: &Plan) -> Result<Summary, SplitError> {
    run(file, extension, plan, false, &mut |_| ControlFlow::Continue(()))
}

fn run(
    file: File,
    extension: Option<&str>,
    plan: &Plan,
    encoding: bool,
    emit: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Summary, SplitError> {
    let identical = match plan.channels {
        Channels::Mixed => false,
        Channels::Separate => has_identical_channels(file.try_clone()?, extension)?,
    };
    let separate = plan.channels == Channels::Separate;
    let longest = (plan.longest.clamp(SHORTEST, LONGEST).as_secs_f64() * f64::from(RATE)) as usize;
    let mut lanes: Vec<Lane> = Vec::new();
    let mut failure = None;
    let mut total = Emitted {
        emit,
        seconds: 0.0,
        parts: 0,
        stopped: false,
    };
    let decoded = decode(file, extension, &mut |block| {
        let pushed = (|| {
            if lanes.is_empty() {
                let count = if separate && !identical { block.channels } else { 1 };
                lanes = (0..count)
                    .map(|channel| Lane::new(channel, block.rate, longest, encoding))
                    .collect::<Result<_, _>>()?;
            }
            for lane in &mut lanes {
                lane.push(&block, separate)?;
                if total.hand_out(lane).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })();
        match pushed {
            Ok(ControlFlow::Continue(())) => Want::Samples,
            Ok(ControlFlow::Break(())) => {
                total.stopped = true;
                Want::Nothing
            }
            Err(error) => {
                failure = Some(error);
                Want::Nothing
            }
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    for lane in &mut lanes {
        if !total.stopped {
            lane.finish()?;
            total.stopped = total.hand_out(lane).is_break();
        }
    }
    Ok(Summary {
        seconds: decoded.seconds(),
        sent_seconds: total.seconds,
        channels: count(decoded.channels),
        identical_channels: identical,
        parts: total.parts,
        corrupt_packets: decoded.corrupt,
    })
}

fn count(channels: usize) -> u8 {
    u8::try_from(channels).unwrap_or(u8::MAX)
}

/// A channel's way from the file's samples to parts.
struct Lane {
    channel: usize,
    resampler: Resampler,
    cutter: Cutter,
    mono: Vec<f32>,
    resampled: Vec<i16>,
}

impl Lane {
    fn new(channel: usize, rate: u32, longest: usize, encoding: bool) -> Result<Self, SplitError> {
        Ok(Self {
            channel,
            resampler: Resampler::new(rate)?,
            cutter: Cutter::new(count(channel), longest, encoding),
            mono: Vec::new(),
            resampled: Vec::new(),
        })
    }

    fn push(&mut self, block: &Block<'_>, separate: bool) -> Result<(), SplitError> {
        let frames = block.samples.chunks_exact(block.channels);
        self.mono.clear();
        if separate {
            self.mono.extend(frames.map(|frame| frame[self.channel]));
        } else {
            let share = 1.0 / block.channels as f32;
            self.mono.extend(frames.map(|frame| frame.iter().sum::<f32>() * share));
        }
        self.resampled.clear();
        self.resampler.push(&self.mono, &mut self.resampled)?;
        self.cutter.push(&self.resampled)
    }

    fn finish(&mut self) -> Result<(), SplitError> {
        self.resampled.clear();
        self.resampler.finish(&mut self.resampled)?;
        self.cutter.push(&self.resampled)?;
        self.cutter.finish()
    }
}

/// Hands parts out and counts them.
struct Emitted<'a> {
    emit: &'a mut dyn FnMut(Part) -> ControlFlow<()>,
    seconds: f64,
    parts: u32,
    stopped: bool,
}

impl Emitted<'_> {
    fn hand_out(&mut self, lane: &mut Lane) -> ControlFlow<()> {
        for part in lane.cutter.parts() {
            self.seconds += part.seconds;
            self.parts += 1;
            (self.emit)(part)?;
        }
        ControlFlow::Continue(())
    }
}

/// Channels carry the same signal while their difference stays this much (17 dB) below them in every half second that is not silent:
/// more than codecs add, less than a word by another speaker.
const SAME: f64 = 0.02;
/// Mean square of -55 dBFS.
const AUDIBLE: f64 = 3.162e-6;

/// Whether there are several channels and all carry the same signal. Reads up to where they differ.
fn has_identical_channels(file: File, extension: Option<&str>) -> Result<bool, SplitError> {
    let mut identical = false;
    let mut differ = Differ::default();
    decode(file, extension, &mut |block| {
        identical = block.channels > 1 && differ.same(&block);
        match identical {
            true => Want::Samples,
            false => Want::Nothing,
        }
    })?;
    Ok(identical && differ.window_is_same())
}

/// Compares every channel with the first, half a second at a time.
#[derive(Default)]
struct Differ {
    frames: u32,
    /// For each channel after the first: the sum of squares of its difference, of both.
    sums: Vec<(f64, f64)>,
}

impl Differ {
    fn same(&mut self, block: &Block<'_>) -> bool {
        self.sums.resize(block.channels - 1, (0.0, 0.0));
        for frame in block.samples.chunks_exact(block.channels) {
            let (first, others) = (frame[0], &frame[1..]);
            for (other, sums) in others.iter().zip(&mut self.sums) {
                sums.0 += f64::from((first - other) * (first - other));
                sums.1 += f64::from(first * first + other * other);
            }
            self.frames += 1;
            if self.frames >= block.rate / 2 {
                if !self.window_is_same() {
                    return false;
                }
                self.frames = 0;
                self.sums.fill((0.0, 0.0));
            }
        }
        true
    }

    fn window_is_same(&self) -> bool {
        let audible = AUDIBLE * f64::from(self.frames);
        self.sums
            .iter()
            .all(|(difference, both)| *both < audible || *difference <= both * SAME)
    }
}
