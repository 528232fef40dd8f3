//! The pipeline from a file to its parts: decode, resample, cut and encode each channel.

use std::{ops::ControlFlow, time::Duration};

use super::{
    Analysis, AudioFile, Channels, MAX_RATE, Part, Plan, SplitError,
    cut::Cutter,
    decode::{Block, decode},
    identical::has_identical_channels,
    peaks::PeakMeter,
    plan::{LONGEST, SHORTEST},
    resample::Resampler,
};

/// Reads the recording from start to end and passes its parts to `emit`, in order for each channel, until `emit` breaks.
///
/// With [`Channels::Separate`], the recording is first read up to the first half second in which the channels differ. From a damaged or
/// truncated file everything that can be decoded is used, and [`Analysis::coverage`] contains how much is missing. A recording with only silence
/// has no parts.
pub fn split(
    recording: &AudioFile<'_>,
    plan: &Plan,
    emit: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Analysis, SplitError> {
    run(recording, plan, true, emit)
}

/// Like [`split`], but encodes nothing and returns only the analysis.
pub fn analyze(recording: &AudioFile<'_>, plan: &Plan) -> Result<Analysis, SplitError> {
    run(recording, plan, false, &mut |_| ControlFlow::Continue(()))
}

fn run(
    recording: &AudioFile<'_>,
    plan: &Plan,
    encoding: bool,
    emit: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Analysis, SplitError> {
    let identical = match plan.channels {
        Channels::Mixed => false,
        Channels::Separate => has_identical_channels(recording)?,
    };
    let separate = plan.channels == Channels::Separate;
    let longest = plan.longest.clamp(SHORTEST, LONGEST);
    let mut lanes: Vec<Lane> = Vec::new();
    let mut peaks = PeakMeter::default();
    let mut total = Emitted {
        emit,
        seconds: 0.0,
        parts: 0,
        stopped: false,
    };
    let decoded = decode(recording, &mut |block| {
        peaks.push(&block);
        if lanes.is_empty() {
            let count = if separate && !identical { block.channels } else { 1 };
            lanes = (0..count)
                .map(|channel| Lane::new(channel, block.rate, longest, encoding))
                .collect::<Result<_, _>>()?;
        }
        for lane in &mut lanes {
            lane.push(&block, separate)?;
            if total.hand_out(lane).is_break() {
                total.stopped = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for lane in &mut lanes {
        if !total.stopped {
            lane.finish()?;
            total.stopped = total.hand_out(lane).is_break();
        }
    }
    Ok(Analysis {
        seconds: decoded.seconds,
        sent_seconds: total.seconds,
        channels: count(decoded.channels),
        identical_channels: identical,
        parts: total.parts,
        coverage: decoded.coverage,
        corrupt_packets: decoded.corrupt,
        format_changes: decoded.format_changes,
        peaks: peaks.finish(),
    })
}

fn count(channels: usize) -> u8 {
    u8::try_from(channels).unwrap_or(u8::MAX)
}

/// Processes one channel from the file's samples to parts.
struct Lane {
    channel: usize,
    resampler: Resampler,
    cutter: Cutter,
    mono: Vec<f32>,
    resampled: Vec<f32>,
    quantized: Vec<i16>,
}

impl Lane {
    fn new(channel: usize, rate: u32, longest: Duration, encoding: bool) -> Result<Self, SplitError> {
        // Telephone audio keeps its rate: a higher one adds no information and doubles the size.
        let part_rate = rate.min(MAX_RATE);
        Ok(Self {
            channel,
            resampler: Resampler::new(rate, part_rate)?,
            cutter: Cutter::new(count(channel), part_rate, longest, encoding),
            mono: Vec::new(),
            resampled: Vec::new(),
            quantized: Vec::new(),
        })
    }

    fn push(&mut self, block: &Block<'_>, separate: bool) -> Result<(), SplitError> {
        let frames = block.samples.chunks_exact(block.channels);
        self.mono.clear();
        if block.channels == 1 {
            self.mono.extend_from_slice(block.samples);
        } else if separate {
            self.mono.extend(frames.map(|frame| frame[self.channel]));
        } else {
            let share = 1.0 / block.channels as f32;
            self.mono.extend(frames.map(|frame| frame.iter().sum::<f32>() * share));
        }
        self.resampled.clear();
        self.resampler.push(&self.mono, &mut self.resampled)?;
        self.cut()
    }

    fn finish(&mut self) -> Result<(), SplitError> {
        self.resampled.clear();
        self.resampler.finish(&mut self.resampled)?;
        self.cut()?;
        self.cutter.finish()
    }

    fn cut(&mut self) -> Result<(), SplitError> {
        self.quantized.clear();
        // Rounds half away from zero like `f32::round`, which would be a function call; the cast saturates.
        let quantized = self
            .resampled
            .iter()
            .map(|sample| (sample * 32768.0 + 0.5_f32.copysign(*sample)) as i16);
        self.quantized.extend(quantized);
        self.cutter.push(&self.quantized)
    }
}

/// Passes parts to the receiver and counts them.
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
