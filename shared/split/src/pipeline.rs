//! From a file to its parts: decode, resample, cut, encode, for each channel.

use std::{fs::File, ops::ControlFlow};

use super::{
    Analysis, Channels, Part, Plan, RATE, SplitError,
    cut::Cutter,
    decode::{Block, decode},
    identical::has_identical_channels,
    plan::{LONGEST, SHORTEST},
    resample::Resampler,
};

/// Reads the file from front to back and hands out its parts as they are cut, in order for each channel, until `emit` breaks.
///
/// [`Channels::Separate`] reads it twice where channels may be identical: up to the first half second that tells them apart.
/// A file that breaks off gives what is there. A recording of nothing but silence has no parts.
pub fn split(
    file: File,
    extension: Option<&str>,
    plan: &Plan,
    emit: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Analysis, SplitError> {
    run(file, extension, plan, true, emit)
}

/// Like [`split`], but encodes nothing and returns the analysis alone.
pub fn analyze(file: File, extension: Option<&str>, plan: &Plan) -> Result<Analysis, SplitError> {
    run(file, extension, plan, false, &mut |_| ControlFlow::Continue(()))
}

fn run(
    file: File,
    extension: Option<&str>,
    plan: &Plan,
    encoding: bool,
    emit: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<Analysis, SplitError> {
    let identical = match plan.channels {
        Channels::Mixed => false,
        Channels::Separate => has_identical_channels(file.try_clone()?, extension)?,
    };
    let separate = plan.channels == Channels::Separate;
    let longest = (plan.longest.clamp(SHORTEST, LONGEST).as_secs_f64() * f64::from(RATE)) as usize;
    let mut lanes: Vec<Lane> = Vec::new();
    let mut total = Emitted {
        emit,
        seconds: 0.0,
        parts: 0,
        stopped: false,
    };
    let decoded = decode(file, extension, &mut |block| {
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
