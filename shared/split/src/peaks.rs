//! The waveform of a recording, for display in players.

use super::decode::Block;

/// The maximum number of points per channel. When it is reached, neighbors are merged, so that a recording of any length has between half of
/// this and this many points.
const MAX_POINTS: usize = 1024;
/// The initial number of points per second.
const FIRST_RATE: u32 = 100;

/// The loudest sample of each interval of the recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peaks {
    /// Length of the interval of one point in seconds.
    pub seconds_per_point: f64,
    /// The points of each channel of the file, from 0 for silence to 255 for full scale.
    pub channels: Vec<Vec<u8>>,
}

/// Collects points during decoding.
#[derive(Default)]
pub(super) struct PeakMeter {
    rate: u32,
    /// The number of frames per point.
    length: u64,
    /// The number of frames in the unfinished point.
    frames: u64,
    /// The magnitude of the loudest sample of each channel.
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

/// The bits of a sample without its sign. They have the same order as the values and are compared several times as fast.
fn magnitude(sample: f32) -> u32 {
    sample.abs().to_bits()
}
