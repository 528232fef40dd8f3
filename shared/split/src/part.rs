//! A part, and the mapping of its time to the time of the recording.

use bytes::Bytes;

/// A piece of one channel.
#[derive(Clone, Debug)]
pub struct Part {
    /// Index among the parts of its channel, from 0.
    pub index: u32,
    /// The channel in the file, from 0; 0 if channels are mixed.
    pub channel: u8,
    /// Where it starts in the recording, in seconds.
    pub start: f64,
    /// Where it ends in the recording, in seconds.
    pub end: f64,
    /// A FLAC file: mono, 16 bits, with the recording's sample rate up to 16 kHz.
    pub audio: Bytes,
    /// Length of [`Part::audio`] in seconds; less than `end - start` if silence was removed.
    pub seconds: f64,
    /// Maps times of [`Part::audio`] to times of the recording.
    pub spans: Spans,
}

impl Part {
    /// See [`Spans::recording_time`].
    pub fn recording_time(&self, sent: f64) -> f64 {
        self.spans.recording_time(sent)
    }
}

/// The mapping of the time of a part's audio to the time of the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    pub(super) spans: Vec<Span>,
    /// Samples per second.
    pub(super) rate: u32,
}

/// A contiguous piece of the recording in a part, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) sent: u64,
    pub(super) recorded: u64,
    pub(super) length: u64,
}

impl Spans {
    /// Maps a time of the recording to the time of the part's audio, both in seconds; `None` for a time that is not in the audio.
    pub fn sent_time(&self, recorded: f64) -> Option<f64> {
        let recorded = recorded * f64::from(self.rate);
        // A thousandth of a second more on both sides, because times are rounded.
        let slack = f64::from(self.rate) / 1000.0;
        let has = |span: &&Span| {
            let start = span.recorded as f64;
            recorded >= start - slack && recorded <= start + span.length as f64 + slack
        };
        let span = self.spans.iter().find(has)?;
        let within = (recorded - span.recorded as f64).clamp(0.0, span.length as f64);
        Some((span.sent as f64 + within) / f64::from(self.rate))
    }

    /// Maps a time of the part's audio to the time of the recording, both in seconds. A time within the short silence that replaces a long one
    /// maps to the nearer edge of the long one; a time before or after the audio maps to its start or end. The mapping is monotonic.
    pub fn recording_time(&self, sent: f64) -> f64 {
        let sent = sent * f64::from(self.rate);
        let within = |span: &Span| span.recorded as f64 + (sent - span.sent as f64).clamp(0.0, span.length as f64);
        let distance = |span: &Span| {
            (span.sent as f64 - sent)
                .max(sent - (span.sent + span.length) as f64)
                .max(0.0)
        };
        let next = self
            .spans
            .partition_point(|span| ((span.sent + span.length) as f64) < sent);
        let candidates = [next.checked_sub(1), Some(next)];
        candidates
            .into_iter()
            .flatten()
            .filter_map(|index| self.spans.get(index))
            .min_by(|one, other| distance(one).total_cmp(&distance(other)))
            .map_or(0.0, |span| within(span) / f64::from(self.rate))
    }
}
