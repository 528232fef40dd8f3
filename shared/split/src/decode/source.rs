//! The byte source of a demuxer.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use symphonia::core::io::MediaSource;

/// The maximum number of bytes read, as a multiple of the file's length. Demuxers seek and read some bytes again; a malicious file can make them
/// do so endlessly.
const MAX_READS: u64 = 64;
const MIN_BUDGET: u64 = 16 << 20;

/// A piece of the byte source.
pub(super) enum Piece {
    /// Bytes of the file.
    File(Range<u64>),
    /// Bytes that replace those of the file.
    Literal(Vec<u8>),
    /// Zeros that replace missing bytes.
    Zeros(u64),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::File(range) => range.end - range.start,
            Self::Literal(bytes) => bytes.len() as u64,
            Self::Zeros(length) => *length,
        }
    }
}

/// Reads pieces of a file as one source. Reads fail after cancellation, so that a demuxer that searches a long file stops as well.
pub(super) struct Bytes<'a> {
    file: &'a File,
    /// The pieces with their start positions.
    pieces: Vec<(u64, Piece)>,
    length: u64,
    at: u64,
    seekable: bool,
    budget: u64,
    cancelled: &'a AtomicBool,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(file: &'a File, pieces: Vec<Piece>, cancelled: &'a AtomicBool) -> Self {
        let mut length = 0;
        let place = |piece: Piece| {
            let start = length;
            length += piece.length();
            (start, piece)
        };
        let pieces = pieces.into_iter().map(place).collect();
        Self {
            file,
            pieces,
            budget: length.saturating_mul(MAX_READS).max(MIN_BUDGET),
            length,
            at: 0,
            seekable: true,
            cancelled,
        }
    }

    /// Makes the source unseekable, so that the demuxer does not read ahead.
    pub(super) fn streamed(self) -> Self {
        Self {
            seekable: false,
            ..self
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let after = self.pieces.partition_point(|(start, _)| *start <= self.at);
        let found = self.pieces[..after].iter().rev().find(|(_, piece)| piece.length() > 0);
        let Some((start, piece)) = found.filter(|(start, piece)| self.at - start < piece.length()) else {
            return Ok(0);
        };
        let offset = self.at - start;
        let length = usize::try_from(piece.length() - offset)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let buffer = &mut buffer[..length];
        let read = match piece {
            Piece::File(range) => {
                // Other readers of the same file change its position.
                self.file.seek(SeekFrom::Start(range.start + offset))?;
                self.file.read(buffer)?
            }
            Piece::Literal(bytes) => (&bytes[offset as usize..]).read(buffer)?,
            Piece::Zeros(_) => {
                buffer.fill(0);
                length
            }
        };
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
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl MediaSource for Bytes<'_> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.seekable.then_some(self.length)
    }
}
