//! The numbers of a CSV file's lines. Those of the `csv` crate are wrong after empty lines and after line ends of two bytes (rust-csv issues 208 and
//! 395).

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

/// A file whose lines are numbered while it is read. Lines end with `\n`, `\r\n` or `\r`.
pub(super) struct Numbered<R> {
    file: R,
    starts: Starts,
    offset: u64,
    number: u64,
    is_at_start: bool,
    is_after_return: bool,
}

/// Where the lines begin that are not empty, as far as the file was read: the offset of each with its number.
#[derive(Clone, Default)]
pub(super) struct Starts(Arc<Mutex<VecDeque<(u64, u64)>>>);

impl<R> Numbered<R> {
    /// The rest of a file, of which `before` lines were read.
    pub(super) fn new(file: R, before: u64) -> Self {
        Self {
            file,
            starts: Starts::default(),
            offset: 0,
            number: before + 1,
            is_at_start: true,
            is_after_return: false,
        }
    }

    /// The lines that were read and not asked for.
    pub(super) fn starts(&self) -> Starts {
        self.starts.clone()
    }
}

impl Starts {
    /// The number of the first line that begins at this offset or behind it and is not empty. The lines before it are forgotten.
    pub(super) fn number_at(&self, offset: u64) -> u64 {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while starts.len() > 1 && starts.front().is_some_and(|(start, _)| *start < offset) {
            starts.pop_front();
        }
        starts.front().map_or(0, |(_, number)| *number)
    }
}

impl<R: Read> Read for Numbered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        let mut starts = self.starts.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in &buffer[..length] {
            match byte {
                b'\n' if self.is_after_return => self.is_after_return = false,
                b'\n' | b'\r' => {
                    self.number += 1;
                    self.is_at_start = true;
                    self.is_after_return = *byte == b'\r';
                }
                _ => {
                    if self.is_at_start {
                        starts.push_back((self.offset, self.number));
                    }
                    self.is_at_start = false;
                    self.is_after_return = false;
                }
            }
            self.offset += 1;
        }
        Ok(length)
    }
}
