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

/// A piece of what a demuxer reads.
pub(super) enum Piece {
    /// Bytes of the file.
    File(Range<u64>),
    /// Bytes in the place of what the file has.
    Literal(Vec<u8>),
    /// Zeros in the place of what the file should have.
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

/// Pieces of a file as if they were one. Reading fails after the caller cancelled, so that a demuxer that searches a long file stops as well.
pub(super) struct Bytes<'a> {
    file: &'a File,
    /// With the position at which each starts.
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

    /// The same for a demuxer that is not to look ahead.
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
                // Others read the same file and move its position.
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
