//! A short piece of a recording as a file of its own.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::{
    AudioFile, SplitError,
    decode::{Block, decode},
    flac,
};

/// The audio from `start` to `end`, in seconds, as mono FLAC with the file's sample rate. It is shorter if the file ends before.
pub fn clip(recording: &AudioFile<'_>, start: f64, end: f64) -> Result<Bytes, SplitError> {
    let (mut samples, mut position, mut rate) = (Vec::new(), 0_u64, 0);
    decode(recording, &mut |block: Block<'_>| {
        rate = block.rate;
        let at = |seconds: f64| (seconds.max(0.0) * f64::from(block.rate)) as u64;
        let wanted = at(start)..at(end);
        for frame in block.samples.chunks_exact(block.channels) {
            if wanted.contains(&position) {
                let mixed = frame.iter().sum::<f32>() / frame.len() as f32;
                samples.push((mixed * 32_767.0) as i16);
            }
            position += 1;
        }
        Ok(match position < wanted.end {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    match samples.is_empty() {
        true => Err(SplitError::Empty),
        false => flac::encode(&samples, rate),
    }
}
