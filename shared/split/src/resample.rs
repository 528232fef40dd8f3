//! Resampling that preserves times: output sample n is the signal at n / rate seconds.

use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::SequentialSlice};

use super::SplitError;

/// The approximate number of input samples per step.
const CHUNK: usize = 1024;

/// The resampler of one channel, for input in pieces of any size.
pub(crate) struct Resampler {
    from: u32,
    to: u32,
    /// `None` if the rates are equal.
    fft: Option<Fft<f32>>,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Output samples that must still be skipped because of the resampler's delay.
    delay: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    pub(crate) fn new(from: u32, to: u32) -> Result<Self, SplitError> {
        let fft = (from != to)
            .then(|| Fft::new(from as usize, to as usize, CHUNK, 1, FixedSync::Both))
            .transpose()
            .map_err(|_| SplitError::Unsupported)?;
        Ok(Self {
            from,
            to,
            delay: fft.as_ref().map_or(0, |fft| fft.output_delay()),
            output: vec![0.0; fft.as_ref().map_or(0, |fft| fft.output_frames_max())],
            input: Vec::new(),
            fft,
            taken: 0,
            given: 0,
        })
    }

    /// The number of output samples for the input so far that were not returned yet.
    pub(crate) fn pending(&self) -> u64 {
        self.total().saturating_sub(self.given)
    }

    fn total(&self) -> u64 {
        self.taken * u64::from(self.to) / u64::from(self.from)
    }

    /// Resamples the input, as far as possible.
    pub(crate) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), SplitError> {
        self.taken += samples.len() as u64;
        if self.fft.is_none() {
            self.given += samples.len() as u64;
            out.extend_from_slice(samples);
            return Ok(());
        }
        self.input.extend_from_slice(samples);
        self.convert(out)
    }

    /// Returns the remaining samples, so that the output has the same length as the input.
    pub(crate) fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), SplitError> {
        let Some(fft) = &self.fft else {
            return Ok(());
        };
        let chunk = fft.input_frames_next();
        let total = self.total();
        while self.given < total {
            self.input.resize(chunk, 0.0);
            self.convert(out)?;
        }
        out.truncate(out.len() - (self.given - total) as usize);
        self.given = total;
        Ok(())
    }

    fn convert(&mut self, out: &mut Vec<f32>) -> Result<(), SplitError> {
        let Some(fft) = &mut self.fft else {
            return Ok(());
        };
        let mut used = 0;
        while self.input.len() - used >= fft.input_frames_next() {
            let (input, output) = (&self.input[used..], &mut self.output[..]);
            let (input_length, output_length) = (input.len(), output.len());
            let input = SequentialSlice::new(input, 1, input_length).map_err(|_| SplitError::Unsupported)?;
            let mut output = SequentialSlice::new_mut(output, 1, output_length).map_err(|_| SplitError::Unsupported)?;
            let (taken, given) = fft
                .process_into_buffer(&input, &mut output, None)
                .map_err(|_| SplitError::Unsupported)?;
            used += taken;
            let skipped = self.delay.min(given);
            self.delay -= skipped;
            self.given += (given - skipped) as u64;
            out.extend_from_slice(&self.output[skipped..given]);
        }
        self.input.drain(..used);
        Ok(())
    }
}
