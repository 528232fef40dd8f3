//! Passes decoded samples to the receiver in one format, and counts them.

use std::ops::ControlFlow;

use crate::SplitError;

use super::{
    Block, Sink,
    adapt::{Adapter, Format},
};

/// The output of decoding.
pub(super) struct Output<'a> {
    sink: Sink<'a>,
    /// The format at the start of the recording.
    pub(super) format: Option<Format>,
    /// Converts samples in another format.
    adapter: Option<Adapter>,
    pub(super) frames: u64,
    /// The frames that are silence in place of damaged audio.
    pub(super) lost: u64,
    /// The maximum plausible length in seconds.
    limit: f64,
}

impl<'a> Output<'a> {
    pub(super) fn new(sink: Sink<'a>, limit: f64) -> Self {
        Self {
            sink,
            format: None,
            adapter: None,
            frames: 0,
            lost: 0,
            limit,
        }
    }

    /// The sample rate; 0 until it is known.
    pub(super) fn rate(&self) -> u32 {
        self.format.map_or(0, |format| format.rate)
    }

    /// The number of frames so far.
    pub(super) fn position(&self) -> u64 {
        self.frames + self.adapter.as_ref().map_or(0, Adapter::pending)
    }

    /// Passes samples to the receiver.
    pub(super) fn push(&mut self, format: Format, samples: &[f32]) -> Result<ControlFlow<()>, SplitError> {
        let own = *self.format.get_or_insert(format);
        if self.adapter.as_ref().is_some_and(|adapter| adapter.from() != format) && self.flush()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if format == own {
            return self.emit(own, samples);
        }
        let mut adapter = match self.adapter.take() {
            Some(adapter) => adapter,
            None => Adapter::new(format, own)?,
        };
        let flow = self.emit(own, adapter.push(samples)?);
        self.adapter = Some(adapter);
        flow
    }

    /// Passes silence to the receiver: a pause, or a replacement for damaged audio.
    pub(super) fn silence(&mut self, mut frames: u64, damage: bool) -> Result<ControlFlow<()>, SplitError> {
        let Some(format) = self.format else {
            return Ok(ControlFlow::Continue(()));
        };
        if self.flush()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let second = vec![0.0; format.rate as usize * format.channels];
        while frames > 0 {
            let now = frames.min(u64::from(format.rate));
            frames -= now;
            self.lost += if damage { now } else { 0 };
            if self.emit(format, &second[..now as usize * format.channels])?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Passes the samples that are still being converted to the receiver.
    pub(super) fn flush(&mut self) -> Result<ControlFlow<()>, SplitError> {
        match (self.adapter.take(), self.format) {
            (Some(mut adapter), Some(format)) => self.emit(format, adapter.finish()?),
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn emit(&mut self, format: Format, samples: &[f32]) -> Result<ControlFlow<()>, SplitError> {
        if samples.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        self.frames += (samples.len() / format.channels) as u64;
        if self.frames as f64 > self.limit * f64::from(format.rate) {
            return Err(SplitError::Implausible);
        }
        (self.sink)(Block {
            rate: format.rate,
            channels: format.channels,
            samples,
        })
    }
}
