//! From a file to its parts: decode, resample, cut, encode, for each channel.

use std::{ops::ControlFlow, time::Duration};

use super::{
    Analysis, Channels, MAX_RATE, Part, Plan, Recording, SplitError,
    cut::Cutter,
    decode::{Block, decode},
    identical::has_identical_channels,
    peaks::PeakMeter,
    plan::{LONGEST, SHORTEST},
    resample::Resampler,
};

/// Reads the recording from front to back and hands out its parts as they are cut, in order for each channel, until `emit` breaks.
///
/// [`Channels::Separate`] reads it twice where channels may be identical: up to the first half second that tells them apart.
/// A damaged or truncated file gives what can be decoded, and [`Analysis::coverage`] says how much is missing. A recording of nothing but
/// silence has no parts.
pub fn split(
    recording: &Recording<'_>,
    plan: &Plan,
    emit: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Analysis, SplitError> {
    run(recording, plan, true, emit)
}

/// Like [`split`], but encodes nothing and returns the analysis alone.
pub fn analyze(recording: &Recording<'_>, plan: &Plan) -> Result<Analysis, SplitError> {
    run(recording, plan, false, &mut |_| ControlFlow::Continue(()))
}

fn run(
    recording: &Recording<'_>,
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

/// A channel's way from the file's samples to parts.
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
        // Telephony stays at its own rate: there is nothing to gain above it, and half the bytes to send.
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
        // Rounds half away from zero, as `f32::round`, which is a call of a function; the cast saturates.
        let quantized = self
            .resampled
            .iter()
            .map(|sample| (sample * 32768.0 + 0.5_f32.copysign(*sample)) as i16);
        self.quantized.extend(quantized);
        self.cutter.push(&self.quantized)
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
