//! Decodes recording files to samples, one packet at a time.

mod adapt;
mod codec;
mod mkv;
mod mp4;
mod mpeg;
mod names;
mod ogg;
mod open;
mod opus;
mod output;
mod source;
mod stream;
mod wav;

use std::{
    io::ErrorKind,
    ops::{ControlFlow, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering::Relaxed,
};

use symphonia::core::{errors::Error, packet::Packet};

use crate::{AudioFile, Coverage, SplitError};

use codec::Codec;
use open::{Clock, Demuxer};
use output::Output;
use stream::Stream;

/// Sample rates that a recording can have, in Hz.
const RATES: Range<u32> = 1_000..400_000;
const MAX_CHANNELS: usize = 32;
/// After this many consecutive errors of the container, decoding stops.
const MAX_FAULTS: u32 = 100;
/// A longer jump of the timestamps, in seconds, is an error of the file and not a pause.
const MAX_JUMP: f64 = 3600.0;
/// No codec needs fewer bytes for a second, not even for silence. A file with a longer length in its headers is malicious.
const MIN_BYTES_PER_SECOND: f64 = 8.0;
/// The length in seconds that even the smallest file may have.
const MIN_LIMIT: f64 = 600.0;

/// The allowed error of a provider's length in seconds.
const ROUNDING: f64 = 1.0;

/// Interleaved samples in order, from -1 to 1.
pub(crate) struct Block<'a> {
    pub(crate) rate: u32,
    pub(crate) channels: usize,
    pub(crate) samples: &'a [f32],
}

/// Receives the blocks in order; `Break` ends the decoding.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Block<'_>) -> Result<ControlFlow<()>, SplitError>;

/// The result of decoding a file.
pub(crate) struct Decoded {
    /// Length of the recording, including pauses and silence that replaces damaged audio.
    pub(crate) seconds: f64,
    pub(crate) channels: usize,
    /// Packets that could not be decoded and were replaced by silence.
    pub(crate) corrupt: u64,
    pub(crate) format_changes: u32,
    pub(crate) coverage: Coverage,
}

/// Decodes the first audio track from its start to its end.
pub(crate) fn decode(recording: &AudioFile<'_>, sink: Sink<'_>) -> Result<Decoded, SplitError> {
    let length = recording.file.metadata()?.len();
    if length == 0 {
        return Err(SplitError::Empty);
    }
    let promised = recording
        .promised_seconds
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(0.0);
    let limit = (length as f64 / MIN_BYTES_PER_SECOND)
        .max(MIN_LIMIT)
        .max(promised * 1.5);
    let result = (|| {
        let mut demuxer = guarded(|| open::open(recording))??;
        let track = demuxer.track(recording.file)?;
        let codec = guarded(|| Codec::new(&track))??;
        Decoding {
            recording,
            demuxer,
            stream: Stream::new(track, codec, 0),
            output: Output::new(sink, limit),
            budget: length.saturating_mul(2) + 65_536,
            limit,
            faults: 0,
            damaged: false,
            good: 0,
            good_bytes: 0,
            corrupt: 0,
            format_changes: 0,
            blank: 0,
            missing: 0,
            expected: None,
        }
        .run()
    })();
    match result {
        Err(_) if recording.cancelled.load(Relaxed) => Err(SplitError::Cancelled),
        result => result,
    }
}

/// Calls a demuxer or decoder, and converts a panic to an error. Panics of the receiver are not caught.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, SplitError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| SplitError::Unsupported)
}

struct Decoding<'a, 'b> {
    recording: &'b AudioFile<'a>,
    demuxer: Demuxer<'a>,
    stream: Stream,
    output: Output<'b>,
    /// The remaining number of bytes that packets may have. A malicious index can define many packets with the same bytes or without bytes.
    budget: u64,
    limit: f64,
    faults: u32,
    /// Whether there was damage since the last decoded packet.
    damaged: bool,
    good: u64,
    good_bytes: u64,
    corrupt: u64,
    format_changes: u32,
    /// The corrupt packets whose bytes the file has lost, as opposed to those that the decoder can't decode.
    blank: u64,
    /// Frames of silence at the end that may be missing in a truncated file.
    missing: u64,
    /// The total length according to the container in seconds.
    expected: Option<f64>,
}

enum Event {
    Packet(Packet),
    /// A chained file continues with another stream.
    NewStream,
    End,
}

/// The expected length, from the length in the file and the provider's length, which is rounded to seconds. If they differ, the provider's
/// length is used, because headers can be wrong after a crash of the recorder, in joined files, or because of a wrongly computed size.
fn expected(by_file: Option<f64>, by_provider: Option<f64>) -> Option<f64> {
    match (by_file, by_provider) {
        (Some(file), Some(provider)) if (file - provider).abs() > ROUNDING => Some(provider - ROUNDING),
        (Some(file), _) => Some(file),
        (None, provider) => provider.map(|seconds| seconds - ROUNDING),
    }
    .filter(|seconds| *seconds > 0.0)
}

impl Decoding<'_, '_> {
    fn run(mut self) -> Result<Decoded, SplitError> {
        let mut samples = Vec::new();
        let mut event = self.next()?;
        let mut stopped = false;
        while !stopped {
            match event {
                Event::End => break,
                Event::NewStream => {
                    self.promise();
                    if !self.restart()? {
                        break;
                    }
                    event = self.next()?;
                }
                Event::Packet(packet) => {
                    event = self.next()?;
                    stopped = self.packet(&packet, &event, &mut samples)?.is_break();
                }
            }
        }
        if !stopped {
            stopped = self.output.flush()?.is_break();
        }
        self.promise();
        let Output {
            frames, lost, format, ..
        } = self.output;
        let Some(format) = format.filter(|_| frames > 0) else {
            return Err(match self.corrupt {
                0 => SplitError::Empty,
                _ => SplitError::Unsupported,
            });
        };
        if self.corrupt - self.blank > self.good {
            return Err(SplitError::Unsupported);
        }
        let rate = f64::from(format.rate);
        let decoded_seconds = frames.saturating_sub(lost + self.missing) as f64 / rate;
        let by_size = |of: u64, bytes: u64| Some(decoded_seconds * of as f64 / bytes.max(1) as f64);
        let by_size = match self.stream.track.clock {
            _ if stopped => None,
            Clock::Counted if self.stream.track.end.is_none() => by_size(self.demuxer.length(), self.good_bytes),
            _ if self.demuxer.is_repaired() => by_size(self.recording.file.metadata()?.len(), self.demuxer.length()),
            _ => None,
        };
        let by_file = self.expected.into_iter().chain(by_size).max_by(f64::total_cmp);
        let by_file = by_file.filter(|seconds| *seconds <= self.limit);
        Ok(Decoded {
            seconds: frames as f64 / rate,
            channels: format.channels,
            corrupt: self.corrupt,
            format_changes: self.format_changes,
            coverage: Coverage {
                decoded_seconds,
                expected_seconds: expected(by_file, self.recording.promised_seconds),
            },
        })
    }

    /// Adds the stream's length according to the container.
    fn promise(&mut self) {
        if let Some(promised) = self.stream.promised() {
            self.expected = Some(self.expected.unwrap_or(0.0) + promised);
        }
    }

    /// Opens the next stream of a chained file; `false` if there is none that can be read.
    fn restart(&mut self) -> Result<bool, SplitError> {
        let track = self.demuxer.track(self.recording.file);
        let opened = track.and_then(|track| guarded(|| Codec::new(&track))?.map(|codec| (track, codec)));
        let Ok((track, codec)) = opened else {
            self.corrupt += 1;
            return Ok(false);
        };
        self.stream = Stream::new(track, codec, self.output.position());
        self.format_changes += 1;
        Ok(true)
    }

    /// The track's next packet. A truncated file ends where it was cut off.
    fn next(&mut self) -> Result<Event, SplitError> {
        loop {
            if self.recording.cancelled.load(Relaxed) {
                return Err(SplitError::Cancelled);
            }
            let demuxer = &mut self.demuxer;
            match guarded(|| demuxer.next_packet())? {
                Ok(Some(packet)) => {
                    // The missing bytes of a truncated file do not count.
                    let blank = packet.data.iter().all(|byte| *byte == 0);
                    let cost = if blank { 1 } else { packet.data.len() as u64 };
                    self.budget = self.budget.checked_sub(cost).ok_or(SplitError::Implausible)?;
                    self.faults = 0;
                    if packet.track_id == self.stream.track.id {
                        return Ok(Event::Packet(packet));
                    }
                }
                Ok(None) => return Ok(Event::End),
                Err(Error::ResetRequired) => return Ok(Event::NewStream),
                Err(Error::IoError(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(Error::IoError(error)) if error.kind() == ErrorKind::QuotaExceeded => {
                    return Err(SplitError::Implausible);
                }
                Err(Error::IoError(error)) if error.raw_os_error().is_some() => return Err(SplitError::Io(error)),
                Err(Error::IoError(_)) => return Ok(Event::End),
                Err(_) if self.faults < MAX_FAULTS => {
                    // Several consecutive errors count as one damage.
                    self.corrupt += u64::from(self.faults == 0);
                    self.faults += 1;
                    self.damaged = true;
                }
                Err(_) => return Ok(Event::End),
            }
        }
    }

    fn packet(&mut self, packet: &Packet, next: &Event, samples: &mut Vec<f32>) -> Result<ControlFlow<()>, SplitError> {
        self.stream.set_origin(packet);
        self.stream.reached = self
            .stream
            .reached
            .max(packet.pts.get().saturating_add_unsigned(packet.dur.get()));
        if !self.follow_format(packet, next)? {
            self.corrupt += 1;
            return Ok(ControlFlow::Continue(()));
        }
        if self.stream.is_lost(packet) {
            self.blank += 1;
            return self.damaged_packet(packet);
        }
        let codec = &mut self.stream.codec;
        let format = guarded(|| codec.decode(packet, samples))?
            .filter(|format| RATES.contains(&format.rate) && (1..=MAX_CHANNELS).contains(&format.channels));
        let Some(format) = format else {
            return self.damaged_packet(packet);
        };
        // A decoder can drop a frame without an error.
        if samples.is_empty() && self.stream.track.clock == Clock::Counted {
            return self.damaged_packet(packet);
        }
        self.stream.format = Some(format);
        self.output.format.get_or_insert(format);
        self.good += 1;
        self.good_bytes += packet.data.len() as u64 + self.stream.track.frame_header;
        if self.fill_gap(packet)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.damaged = false;
        let frames = self.trim(
            packet,
            samples.len() / format.channels,
            matches!(next, Event::Packet(_)),
        );
        // Silence counts as missing if only silence follows.
        self.missing = match self.stream.may_be_missing(packet) {
            true => self.missing + frames.len() as u64,
            false => 0,
        };
        self.output.push(
            format,
            &samples[frames.start * format.channels..frames.end * format.channels],
        )
    }

    /// Creates a new decoder if the format of MPEG frames changes. Returns `false` if the next frame does not have the new format, because then
    /// the header is a random pattern in damaged bytes.
    fn follow_format(&mut self, packet: &Packet, next: &Event) -> Result<bool, SplitError> {
        let header = self.stream.mpeg_header(packet);
        if header.is_none() || self.stream.header == header {
            return Ok(true);
        }
        if self.stream.header.is_some() {
            if !matches!(next, Event::Packet(next) if self.stream.mpeg_header(next) == header) {
                return Ok(false);
            }
            self.stream.codec = Codec::new(&self.stream.track)?;
            self.format_changes += 1;
        }
        self.stream.header = header;
        Ok(true)
    }

    /// Counts a packet that can't be decoded. If time is counted by packets, it is replaced by silence immediately, otherwise with the next
    /// packet.
    fn damaged_packet(&mut self, packet: &Packet) -> Result<ControlFlow<()>, SplitError> {
        self.corrupt += 1;
        self.damaged = true;
        let (Clock::Counted, Some(format)) = (self.stream.track.clock, self.stream.format) else {
            return Ok(ControlFlow::Continue(()));
        };
        let frames = packet.dur.get().saturating_mul(u64::from(self.output.rate())) / u64::from(format.rate);
        let frames = frames.min(u64::from(self.output.rate()));
        self.output.silence(frames, true)
    }

    /// Inserts silence for pauses in the container's timestamps and for packets that could not be decoded.
    fn fill_gap(&mut self, packet: &Packet) -> Result<ControlFlow<()>, SplitError> {
        if self.stream.track.clock == Clock::Counted {
            return Ok(ControlFlow::Continue(()));
        }
        let rate = f64::from(self.output.rate());
        let position = self.output.position().saturating_sub(self.stream.base) as f64 / rate;
        let missing = self.stream.start_of(packet) - position;
        // Timestamps of containers are imprecise, so a few milliseconds are not a pause.
        if !(0.02..=MAX_JUMP).contains(&missing) {
            return Ok(ControlFlow::Continue(()));
        }
        let frames = (missing * rate).round() as u64;
        let damage = self.damaged || self.stream.track.clock == Clock::Gapless;
        self.output.silence(frames, damage)
    }

    /// The packet's frames that belong to the recording, without the encoder's delay and padding.
    fn trim(&self, packet: &Packet, frames: usize, more: bool) -> Range<usize> {
        let stream = &self.stream;
        let rate = stream.format.map_or(0.0, |format| f64::from(format.rate));
        let to_frames = |seconds: f64| (seconds * rate).round().max(0.0) as usize;
        let lead = (-stream.start_of(packet)).max(packet.trim_start.get() as f64 * stream.tick());
        let start = match stream.track.clock {
            // Counted timestamps are reliable only at the start.
            Clock::Counted if packet.pts.get() >= 0 => 0,
            _ => to_frames(lead).min(frames),
        };
        let padding = to_frames(packet.trim_end.get() as f64 * stream.tick());
        let end = if !more && stream.track.padded && padding < frames {
            frames - padding
        } else {
            frames
        };
        start..end.max(start)
    }
}
