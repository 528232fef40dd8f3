//! Locates the frames of an MPEG audio file between tags and other bytes.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

/// The number of bytes after tags and zeros in which the first frame is searched.
const SEARCH: u64 = 1 << 20;

/// The range of the file without zeros and tags at its start and end.
pub(super) fn without_tags(file: &File) -> io::Result<Range<u64>> {
    let length = file.metadata()?.len();
    let mut start = 0;
    loop {
        let next = after_tag(file, first_byte(file, start)?)?.min(length);
        if next == start {
            return Ok(start..before_tags(file, start, length)?.max(start));
        }
        start = next;
    }
}

/// The position of the first frame from `start` on.
pub(super) fn first_frame(file: &File, start: u64) -> io::Result<Option<u64>> {
    let head = read(file, start, SEARCH)?;
    let found = (0..head.len()).find(|at| is_frame(&head, *at));
    Ok(found.map(|at| start + at as u64))
}

/// Whether the first frame, at `start`, contains the number of frames.
pub(super) fn has_length_tag(file: &File, start: u64) -> io::Result<bool> {
    let head = read(file, start, 256)?;
    Ok(head.windows(4).any(|tag| matches!(tag, b"Xing" | b"Info" | b"VBRI")))
}

/// The position of the first byte from `from` on that is not zero; `from` if there is none.
fn first_byte(mut file: &File, from: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let (mut at, mut buffer) = (from, [0; 8192]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(from);
        }
        if let Some(offset) = buffer[..read].iter().position(|byte| *byte != 0) {
            return Ok(at + offset as u64);
        }
        at += read as u64;
    }
}

fn read(mut file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of an ID3v2 or APE tag at this position, or the position itself.
fn after_tag(file: &File, at: u64) -> io::Result<u64> {
    let size = match read(file, at, 16)?[..] {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            10 + [a, b, c, d]
                .iter()
                .fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f))
        }
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, a, b, c, d] => {
            32 + u64::from(u32::from_le_bytes([a, b, c, d]))
        }
        _ => 0,
    };
    Ok(at + size)
}

/// The start of APE and ID3v1 tags at the end.
fn before_tags(file: &File, start: u64, mut end: u64) -> io::Result<u64> {
    if end >= start + 128 && read(file, end - 128, 3)? == b"TAG" {
        end -= 128;
    }
    if end >= start + 32
        && let [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, a, b, c, d] = read(file, end - 32, 16)?[..]
    {
        // The size includes the footer; there may be an additional header of 32 bytes.
        end = end
            .saturating_sub(u64::from(u32::from_le_bytes([a, b, c, d])) + 32)
            .max(start);
    }
    Ok(end)
}

/// Whether a frame starts here, according to its header and the headers of the next two frames, if the file has them.
fn is_frame(bytes: &[u8], at: usize) -> bool {
    let Some((kind, mut length)) = header(bytes, at) else {
        return false;
    };
    for count in 1..3 {
        match header(bytes, at + length) {
            Some((next, further)) if next == kind => length += further,
            None if count > 1 && at + length + 4 > bytes.len() => return true,
            _ => return false,
        }
    }
    true
}

/// The header fields that are the same in all frames of a file (version, layer and rate), and the length of this frame in bytes.
fn header(bytes: &[u8], at: usize) -> Option<([u8; 2], usize)> {
    const FIRST: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const SECOND: [usize; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [0xff, second, third, _] = *bytes.get(at..at + 4)? else {
        return None;
    };
    // Layer 3 of versions 1, 2 and 2.5.
    let (kbps, rate, samples) = match second & 0xfe {
        0xfa => (&FIRST, [44_100, 48_000, 32_000], 144),
        0xf2 => (&SECOND, [22_050, 24_000, 16_000], 72),
        0xe2 => (&SECOND, [11_025, 12_000, 8_000], 72),
        _ => return None,
    };
    let kbps = *kbps.get(usize::from(third >> 4)).filter(|kbps| **kbps > 0)?;
    let rate: usize = *rate.get(usize::from(third >> 2 & 3))?;
    let padding = usize::from(third >> 1 & 1);
    Some(([second & 0xfe, third & 0x0c], samples * kbps * 1000 / rate + padding))
}
