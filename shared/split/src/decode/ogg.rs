//! Finds the intact pages of an Ogg file and the ends of its streams.
//!
//! The demuxer skips damaged pages except at the start of a stream, and rejects a file with damaged last pages when it seeks to the end. It
//! therefore reads only intact pages and can't seek.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufReader, Read, Seek},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use symphonia::core::{checksum::Crc32, io::Monitor};

use super::source::Piece;

/// A page's fixed header.
const HEADER: usize = 27;

pub(super) struct Pages {
    pub(super) pieces: Vec<Piece>,
    /// The streams in order of their start: serial number, and timestamp at the end of the last page.
    pub(super) ends: VecDeque<(u32, u64)>,
}

/// Finds the intact pages by their checksums.
pub(super) fn valid_pages(mut file: &File, cancelled: &AtomicBool) -> io::Result<Pages> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let mut ends = VecDeque::new();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    let mut page = Vec::new();
    while !cancelled.load(Relaxed) && read_page(&mut reader, &mut page)? {
        if !is_valid(&page) {
            // The header of a damaged page can still contain the end of the stream.
            note_end(&page, &mut ends);
            // The bytes after the first one may contain the start of another page.
            let skip = page[1..]
                .iter()
                .position(|byte| *byte == b'O')
                .map_or(page.len(), |skip| skip + 1);
            reader.seek_relative(skip as i64 - page.len() as i64)?;
            at += skip as u64;
            continue;
        }
        let end = at + page.len() as u64;
        match ranges.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => ranges.push(at..end),
        }
        at = end;
        // The flag of a stream's first page.
        if page[5] & 2 != 0 {
            ends.push_back((u32::from_le_bytes([page[14], page[15], page[16], page[17]]), 0));
        }
        note_end(&page, &mut ends);
    }
    Ok(Pages {
        pieces: ranges.into_iter().map(Piece::File).collect(),
        ends,
    })
}

/// Reads a page, as far as the file contains it; `false` at the end of the file.
fn read_page(reader: &mut impl Read, page: &mut Vec<u8>) -> io::Result<bool> {
    page.clear();
    reader.by_ref().take(HEADER as u64).read_to_end(page)?;
    if page.len() == HEADER && page.starts_with(b"OggS") {
        let segments = usize::from(page[HEADER - 1]);
        reader.by_ref().take(segments as u64).read_to_end(page)?;
        let body = page[HEADER..].iter().map(|length| u64::from(*length)).sum();
        reader.by_ref().take(body).read_to_end(page)?;
    }
    Ok(!page.is_empty())
}

/// Whether the page is complete and its checksum is right.
fn is_valid(page: &[u8]) -> bool {
    let Some(&[_, _, _, _, a, b, c, d, segments]) = page.get(18..HEADER) else {
        return false;
    };
    let head = HEADER + usize::from(segments);
    let body: Option<usize> = page
        .get(HEADER..head)
        .map(|lengths| lengths.iter().copied().map(usize::from).sum());
    if !page.starts_with(b"OggS") || body.is_none_or(|body| page.len() != head + body) {
        return false;
    }
    let mut sum = Crc32::new(0);
    // The checksum is computed with zeros in the checksum field.
    sum.process_buf_bytes(&page[..22]);
    sum.process_buf_bytes(&[0; 4]);
    sum.process_buf_bytes(&page[26..]);
    sum.crc() == u32::from_le_bytes([a, b, c, d])
}

/// Stores the end of the page's stream.
fn note_end(page: &[u8], ends: &mut VecDeque<(u32, u64)>) {
    let Some(&[a, b, c, d, e, f, g, h, i, j, k, l]) = page.get(6..18).filter(|_| page.starts_with(b"OggS")) else {
        return;
    };
    let (granule, serial) = (
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u32::from_le_bytes([i, j, k, l]),
    );
    // A page on which no packet ends has no timestamp.
    if granule < u64::MAX
        && let Some(stream) = ends.iter_mut().rfind(|stream| stream.0 == serial)
    {
        stream.1 = granule;
    }
}
