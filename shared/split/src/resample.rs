//! Any sample rate to 16 kHz, with times kept: output sample n is the signal at n / 16000 s.

use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::SequentialSlice};

use super::{RATE, SplitError};

/// Input samples at once, about.
const CHUNK: usize = 1024;

/// One channel's converter, fed in pieces of any size.
pub(super) struct Resampler {
    rate: u32,
    /// `None` when there is nothing to convert.
    fft: Option<Fft<f32>>,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Output samples still to leave out: the converter's delay.
    delay: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    pub(super) fn new(rate: u32) -> Result<Self, SplitError> {
        let fft = (rate != RATE)
            .then(|| Fft::new(rate as usize, RATE as usize, CHUNK, 1, FixedSync::Both))
            .transpose()
            .map_err(|_| SplitError::Unsupported)?;
        Ok(Self {
            rate,
            delay: fft.as_ref().map_or(0, |fft| fft.output_delay()),
            output: vec![0.0; fft.as_ref().map_or(0, |fft| fft.output_frames_max())],
            input: Vec::new(),
            fft,
            taken: 0,
            given: 0,
        })
    }

    /// Converts what can be converted so far.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<i16>) -> Result<(), SplitError> {
        self.taken += samples.len() as u64;
        if self.fft.is_none() {
            out.extend(samples.iter().map(quantised));
            return Ok(());
        }
        self.input.extend_from_slice(samples);
        self.convert(out)
    }

    /// Gives the rest: as many samples in all as the input lasts.
    pub(super) fn finish(&mut self, out: &mut Vec<i16>) -> Result<(), SplitError> {
        let Some(fft) = &self.fft else {
            return Ok(());
        };
        let chunk = fft.input_frames_next();
        let total = self.taken * u64::from(RATE) / u64::from(self.rate);
        while self.given < total {
            self.input.resize(chunk, 0.0);
            self.convert(out)?;
        }
        out.truncate(out.len() - (self.given - total) as usize);
        self.given = total;
        Ok(())
    }

    fn convert(&mut self, out: &mut Vec<i16>) -> Result<(), SplitError> {
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
            out.extend(self.output[skipped..given].iter().map(quantised));
        }
        self.input.drain(..used);
        Ok(())
    }
}

fn quantised(sample: &f32) -> i16 {
    // The cast saturates.
    (sample * 32768.0).round() as i16
}
