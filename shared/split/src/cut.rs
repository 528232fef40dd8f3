//! Removes long silences from one channel and cuts the rest into parts.

use std::time::Duration;

use bytes::Bytes;

use super::{Part, Spans, SplitError, flac, part::Span};

/// Frames with a lower mean square (-55 dBFS) are silent. Telephone speech is at about -26 dBFS, faint speech at -45, and the noise of an idle
/// line below -60. Only silences of at least two seconds are removed.
const SILENT: f64 = 32768.0 * 32768.0 * 3.162e-6;

/// Lengths in samples.
#[derive(Clone, Copy)]
struct Lengths {
    /// The maximum length of a part.
    longest: usize,
    /// Loudness is measured in frames of 20 ms.
    frame: usize,
    /// Silences of at least two seconds are removed,
    long: usize,
    /// except for 0.3 s at both edges,
    edge: usize,
    /// and replaced by half a second of silence.
    gap: usize,
    /// A cut is made in the quietest window of 0.3 s,
    window: usize,
    /// which is searched in steps of 10 ms
    step: usize,
    /// within 30 s before the maximum length.
    reach: usize,
}

impl Lengths {
    fn new(rate: u32, longest: Duration) -> Self {
        let second = rate as usize;
        let step = second / 100;
        Self {
            longest: (longest.as_secs_f64() * f64::from(rate)) as usize,
            frame: second / 50,
            long: 2 * second,
            edge: second * 3 / 10,
            gap: second / 2,
            window: 30 * step,
            step,
            reach: 3000 * step,
        }
    }
}

/// Creates the parts of one channel from its samples.
pub(super) struct Cutter {
    channel: u8,
    rate: u32,
    lengths: Lengths,
    encoding: bool,
    /// The samples of an unfinished frame, which starts at `at`.
    frame: Vec<i16>,
    at: u64,
    /// Silent frames before `at` that are not yet sent or removed: a whole silence, or the end of one that is being removed.
    quiet: Vec<i16>,
    leaving_out: bool,
    /// The samples of the current part.
    sent: Vec<i16>,
    spans: Vec<Span>,
    /// The end of the last frame in `sent` that is not silent.
    loud: usize,
    index: u32,
    parts: Vec<Part>,
}

impl Cutter {
    /// `longest` must be more than a second. Without `encoding` the parts have no audio.
    pub(super) fn new(channel: u8, rate: u32, longest: Duration, encoding: bool) -> Self {
        let lengths = Lengths::new(rate, longest);
        Self {
            channel,
            rate,
            lengths,
            encoding,
            frame: Vec::with_capacity(lengths.frame),
            at: 0,
            quiet: Vec::new(),
            leaving_out: false,
            sent: Vec::new(),
            spans: Vec::new(),
            loud: 0,
            index: 0,
            parts: Vec::new(),
        }
    }

    /// Takes the finished parts.
    pub(super) fn parts(&mut self) -> std::vec::Drain<'_, Part> {
        self.parts.drain(..)
    }

    pub(super) fn push(&mut self, mut samples: &[i16]) -> Result<(), SplitError> {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(self.lengths.frame - self.frame.len()));
            self.frame.extend_from_slice(now);
            samples = later;
            if self.frame.len() == self.lengths.frame {
                self.take_frame()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), SplitError> {
        if !self.frame.is_empty() {
            self.take_frame()?;
        }
        if !self.leaving_out {
            self.keep_quiet()?;
        }
        // After a cut in a pause at the end of the recording, only silence is left, which is not sent.
        if self.loud > 0 {
            self.cut(self.sent.len())?;
        }
        Ok(())
    }

    fn take_frame(&mut self) -> Result<(), SplitError> {
        let frame = std::mem::take(&mut self.frame);
        if variance(&frame) < SILENT {
            self.quiet.extend_from_slice(&frame);
            self.at += frame.len() as u64;
            if !self.leaving_out && self.quiet.len() >= self.lengths.long {
                self.leaving_out = true;
                let start = self.at - self.quiet.len() as u64;
                if start > 0 {
                    let quiet = std::mem::take(&mut self.quiet);
                    self.keep(&quiet[..self.lengths.edge], start)?;
                    self.quiet = quiet;
                }
            }
            if self.leaving_out {
                let surplus = self.quiet.len().saturating_sub(self.lengths.edge);
                self.quiet.drain(..surplus);
            }
        } else {
            if self.leaving_out {
                self.leaving_out = false;
                self.gap()?;
            }
            self.keep_quiet()?;
            self.keep(&frame, self.at)?;
            self.at += frame.len() as u64;
            self.loud = self.sent.len();
        }
        self.frame = frame;
        self.frame.clear();
        Ok(())
    }

    fn keep_quiet(&mut self) -> Result<(), SplitError> {
        let mut quiet = std::mem::take(&mut self.quiet);
        self.keep(&quiet, self.at - quiet.len() as u64)?;
        quiet.clear();
        self.quiet = quiet;
        Ok(())
    }

    /// Adds samples that start at sample `at` of the recording to the part.
    fn keep(&mut self, samples: &[i16], mut at: u64) -> Result<(), SplitError> {
        for samples in samples.chunks(self.lengths.frame) {
            if self.sent.len() + samples.len() > self.lengths.longest {
                self.cut(self.quietest())?;
            }
            let sent = self.sent.len() as u64;
            let length = samples.len() as u64;
            match self.spans.last_mut() {
                Some(span) if span.sent + span.length == sent && span.recorded + span.length == at => {
                    span.length += length;
                }
                _ => self.spans.push(Span {
                    sent,
                    recorded: at,
                    length,
                }),
            }
            self.sent.extend_from_slice(samples);
            at += length;
        }
        Ok(())
    }

    fn gap(&mut self) -> Result<(), SplitError> {
        if self.sent.len() + self.lengths.gap + self.lengths.edge > self.lengths.longest {
            self.cut(self.sent.len())?;
        }
        if !self.sent.is_empty() {
            self.sent.resize(self.sent.len() + self.lengths.gap, 0);
        }
        Ok(())
    }

    /// Where to cut near the end of `sent`: where a silence was removed, or else in the middle of the quietest window (of equal ones, the last).
    /// Integer arithmetic gives the same result on every machine.
    fn quietest(&self) -> usize {
        let reach = self.lengths.reach.min(self.sent.len() / 2) / self.lengths.step * self.lengths.step;
        let from = self.sent.len() - reach;
        let after_gap = |two: &&[Span]| two[1].sent > two[0].sent + two[0].length && two[1].sent > from as u64;
        if let Some(two) = self.spans.windows(2).rfind(after_gap) {
            return two[1].sent as usize;
        }
        let steps: Vec<_> = self.sent[from..].chunks(self.lengths.step).map(sums).collect();
        steps
            .windows(self.lengths.window / self.lengths.step)
            .enumerate()
            .map(|(start, window)| {
                let (sum, squares) = window
                    .iter()
                    .fold((0, 0), |(sum, squares), step| (sum + step.0, squares + step.1));
                (squares * self.lengths.window as i64 - sum * sum, start)
            })
            .min_by_key(|(energy, start)| (*energy, usize::MAX - start))
            .map_or(self.sent.len(), |(_, start)| {
                from + start * self.lengths.step + self.lengths.window / 2
            })
    }

    /// Creates a part from the samples before `point`. A gap at the cut belongs to neither part.
    fn cut(&mut self, point: usize) -> Result<(), SplitError> {
        let point = point as u64;
        let mut rest = Vec::new();
        self.spans.retain_mut(|span| {
            let kept = point.saturating_sub(span.sent).min(span.length);
            if kept < span.length {
                rest.push(Span {
                    sent: span.sent + kept,
                    recorded: span.recorded + kept,
                    length: span.length - kept,
                });
            }
            span.length = kept;
            kept > 0
        });
        let spans = Spans {
            spans: std::mem::replace(&mut self.spans, rest),
            rate: self.rate,
        };
        if let (Some(first), Some(last)) = (spans.spans.first(), spans.spans.last()) {
            let sent = last.sent + last.length;
            self.parts.push(Part {
                index: self.index,
                channel: self.channel,
                start: self.seconds(first.recorded),
                end: self.seconds(last.recorded + last.length),
                audio: match self.encoding {
                    true => flac::encode(&self.sent[..sent as usize], self.rate)?,
                    false => Bytes::new(),
                },
                seconds: self.seconds(sent),
                spans,
            });
            self.index += 1;
        }
        let gone = self.spans.first().map_or(self.sent.len() as u64, |span| span.sent);
        for span in &mut self.spans {
            span.sent -= gone;
        }
        self.sent.drain(..gone as usize);
        self.loud = self.loud.saturating_sub(gone as usize);
        Ok(())
    }

    fn seconds(&self, samples: u64) -> f64 {
        samples as f64 / f64::from(self.rate)
    }
}

/// The mean square of the samples without their constant offset.
fn variance(samples: &[i16]) -> f64 {
    let (sum, squares) = sums(samples);
    let length = samples.len() as f64;
    (squares as f64 - sum as f64 * sum as f64 / length) / length
}

fn sums(samples: &[i16]) -> (i64, i64) {
    samples.iter().fold((0, 0), |(sum, squares), sample| {
        let sample = i64::from(*sample);
        (sum + sample, squares + sample * sample)
    })
}
