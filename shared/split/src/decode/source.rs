//! The bytes that a demuxer reads.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use symphonia::core::io::MediaSource;

/// How many times its own length a file may be read. Demuxers seek and read some bytes again; a crafted file can make them do so without end.
const MAX_READS: u64 = 64;
const MIN_BUDGET: u64 = 16 << 20;

/// A range of a file. Reading it fails after the caller cancelled, so that a demuxer that searches a long file stops as well.
pub(super) struct Bytes<'a> {
    file: &'a File,
    range: Range<u64>,
    at: u64,
    budget: u64,
    cancelled: &'a AtomicBool,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(file: &'a File, range: Range<u64>, cancelled: &'a AtomicBool) -> Self {
        Self {
            budget: (range.end - range.start).saturating_mul(MAX_READS).max(MIN_BUDGET),
            at: range.start,
            file,
            range,
            cancelled,
        }
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let rest = usize::try_from(self.range.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = rest.min(buffer.len());
        // Others read the same file and move its position.
        self.file.seek(SeekFrom::Start(self.at))?;
        let read = self.file.read(&mut buffer[..length])?;
        self.at += read as u64;
        self.budget = self
            .budget
            .checked_sub(read as u64)
            .ok_or(io::ErrorKind::QuotaExceeded)?;
        Ok(read)
    }
}

impl Seek for Bytes<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(offset) => self.range.start.checked_add(offset),
            SeekFrom::End(offset) => self.range.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let to = to
            .filter(|to| *to >= self.range.start)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.at = to;
        Ok(to - self.range.start)
    }
}

impl MediaSource for Bytes<'_> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.range.end - self.range.start)
    }
}
