//! Detects recordings whose channels contain the same signal.

use std::ops::ControlFlow;

use super::{
    AudioFile, SplitError,
    decode::{Block, decode},
};

/// Channels are identical if their difference is this much (17 dB) below them in every half second that is not silent. Differences caused by
/// codecs are smaller, and a word by another speaker is larger.
const SAME: f64 = 0.02;
/// Mean square of -55 dBFS.
const AUDIBLE: f64 = 3.162e-6;

/// Whether there are several channels with the same signal. Stops reading at the first difference.
pub(super) fn has_identical_channels(recording: &AudioFile<'_>) -> Result<bool, SplitError> {
    let mut identical = false;
    let mut differ = Differ::default();
    decode(recording, &mut |block| {
        identical = block.channels > 1 && differ.same(&block);
        Ok(match identical {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(identical && differ.window_is_same())
}

/// Compares every channel with the first, half a second at a time.
#[derive(Default)]
struct Differ {
    frames: u32,
    /// For each channel after the first: the sum of squares of the difference, and of both channels.
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
