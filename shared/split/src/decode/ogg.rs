//! Where an Ogg stream ends: the demuxer does not say when pages before the last are damaged.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// How far from the end of the file the last page can start.
const TAIL: u64 = 66_000;

/// The timestamp at the end of the last page of the stream.
pub(super) fn last_granule(mut file: &File, serial: u32) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    file.read_to_end(&mut tail)?;
    let granule = |page: &[u8]| {
        let granule = u64::from_le_bytes(page.get(6..14)?.try_into().ok()?);
        let own = page.starts_with(b"OggS\0") && page.get(14..18)? == serial.to_le_bytes();
        // A page on which no packet ends has none.
        Some(granule).filter(|granule| own && *granule < u64::MAX)
    };
    Ok((0..tail.len()).rev().find_map(|at| granule(&tail[at..])))
}
