//! Converts audio after a format change within a recording to the format with which the recording began.

use crate::{SplitError, resample::Resampler};

/// Sample rate and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) rate: u32,
    pub(crate) channels: usize,
}

/// Converts interleaved samples from one format to another.
pub(super) struct Adapter {
    from: Format,
    to: Format,
    /// One resampler for each channel of the result.
    resamplers: Vec<Resampler>,
    channel: Vec<f32>,
    converted: Vec<Vec<f32>>,
    interleaved: Vec<f32>,
}

impl Adapter {
    pub(super) fn new(from: Format, to: Format) -> Result<Self, SplitError> {
        let resamplers = (0..to.channels).map(|_| Resampler::new(from.rate, to.rate));
        Ok(Self {
            from,
            to,
            resamplers: resamplers.collect::<Result<_, _>>()?,
            channel: Vec::new(),
            converted: vec![Vec::new(); to.channels],
            interleaved: Vec::new(),
        })
    }

    pub(super) fn from(&self) -> Format {
        self.from
    }

    /// The number of frames that were pushed but not returned yet.
    pub(super) fn pending(&self) -> u64 {
        self.resamplers.first().map_or(0, Resampler::pending)
    }

    /// Converts samples, as far as possible.
    pub(super) fn push(&mut self, samples: &[f32]) -> Result<&[f32], SplitError> {
        let (from, to) = (self.from.channels, self.to.channels);
        for (target, (resampler, converted)) in self.resamplers.iter_mut().zip(&mut self.converted).enumerate() {
            self.channel.clear();
            let frames = samples.chunks_exact(from);
            if from <= to {
                self.channel.extend(frames.map(|frame| frame[target % from]));
            } else {
                // The mean of all channels is one channel.
                let count = (target..from).step_by(to).count() as f32;
                self.channel
                    .extend(frames.map(|frame| frame[target..].iter().step_by(to).sum::<f32>() / count));
            }
            resampler.push(&self.channel, converted)?;
        }
        Ok(self.interleave())
    }

    /// Converts the remaining samples.
    pub(super) fn finish(&mut self) -> Result<&[f32], SplitError> {
        for (resampler, converted) in self.resamplers.iter_mut().zip(&mut self.converted) {
            resampler.finish(converted)?;
        }
        Ok(self.interleave())
    }

    fn interleave(&mut self) -> &[f32] {
        self.interleaved.clear();
        let frames = self.converted.first().map_or(0, Vec::len);
        for frame in 0..frames {
            self.interleaved
                .extend(self.converted.iter().map(|channel| channel[frame]));
        }
        for channel in &mut self.converted {
            channel.clear();
        }
        &self.interleaved
    }
}
