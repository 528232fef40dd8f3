//! The outline of a recording's waveform, for players that draw it.

use super::decode::Block;

/// Points per channel at which neighbours are merged, so that from half of this to all of it remain whatever the recording's length.
const MAX_POINTS: usize = 1024;
/// Points per second at first.
const FIRST_RATE: u32 = 100;

/// The loudest sample of each stretch of the recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peaks {
    /// Length of the stretch that one point stands for.
    pub seconds_per_point: f64,
    /// For each channel of the file its points, from 0 for silence to 255 for full scale.
    pub channels: Vec<Vec<u8>>,
}

/// Collects points while a recording is decoded.
#[derive(Default)]
pub(super) struct PeakMeter {
    rate: u32,
    /// Frames in a point.
    length: u64,
    /// Frames in the unfinished point.
    frames: u64,
    /// The magnitude of its loudest sample, for each channel.
    loudest: Vec<u32>,
    channels: Vec<Vec<u8>>,
}

impl PeakMeter {
    pub(super) fn push(&mut self, block: &Block<'_>) {
        if self.length == 0 {
            self.rate = block.rate;
            self.length = u64::from((block.rate / FIRST_RATE).max(1));
            self.loudest = vec![0; block.channels];
            self.channels = vec![Vec::with_capacity(MAX_POINTS); block.channels];
        }
        let mut samples = block.samples;
        while !samples.is_empty() {
            let frames = (self.length - self.frames).min((samples.len() / block.channels) as u64);
            let (now, later) = samples.split_at(frames as usize * block.channels);
            for (channel, loudest) in self.loudest.iter_mut().enumerate() {
                *loudest = match block.channels {
                    1 => now.iter().copied().map(magnitude).fold(*loudest, u32::max),
                    channels => now[channel..]
                        .iter()
                        .step_by(channels)
                        .copied()
                        .map(magnitude)
                        .fold(*loudest, u32::max),
                };
            }
            samples = later;
            self.frames += frames;
            if self.frames == self.length {
                self.end_point();
            }
        }
    }

    fn end_point(&mut self) {
        for (channel, loudest) in self.channels.iter_mut().zip(&mut self.loudest) {
            // The cast saturates.
            channel.push((f32::from_bits(std::mem::take(loudest)) * 255.0).ceil() as u8);
        }
        self.frames = 0;
        if self.channels.first().is_some_and(|channel| channel.len() == MAX_POINTS) {
            self.length *= 2;
            for channel in &mut self.channels {
                *channel = channel
                    .chunks(2)
                    .map(|pair| pair.iter().copied().max().unwrap_or(0))
                    .collect();
            }
        }
    }

    pub(super) fn finish(mut self) -> Peaks {
        if self.frames > 0 {
            self.end_point();
        }
        Peaks {
            seconds_per_point: self.length as f64 / f64::from(self.rate.max(1)),
            channels: self.channels,
        }
    }
}

/// The bits of a sample without its sign. They are ordered as the values are, and compared several times as fast.
fn magnitude(sample: f32) -> u32 {
    sample.abs().to_bits()
}
