//! Repairs Matroska and WebM files by omitting damaged elements.
//!
//! The demuxer rejects a file that is shorter than its headers, such as every truncated file, and stops at damage. It therefore reads only the
//! intact elements, in parent elements of unknown size.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::source::Piece;

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
/// Children of a cluster: timestamp, simple block, block group, previous size, position, silent tracks.
const CLUSTERED: [u32; 6] = [0xe7, 0xa3, 0xa0, 0xab, 0xa7, 0x5854];
/// Void and checksum elements can be anywhere.
const ANYWHERE: [u32; 2] = [0xec, 0xbf];

/// The pieces for the demuxer, and whether anything was omitted.
pub(super) struct Repaired {
    pub(super) pieces: Vec<Piece>,
    pub(super) damaged: bool,
}

/// Omits damaged elements; `None` if the file is not Matroska or has no track headers.
pub(super) fn repair(file: &File, cancelled: &AtomicBool) -> io::Result<Option<Repaired>> {
    let mut elements = Elements::new(file)?;
    let Some(Element { id: EBML, body, .. }) = elements.at(0)? else {
        return Ok(None);
    };
    let mut at = body.end;
    let mut repaired = Repaired {
        pieces: vec![Piece::File(0..at), unknown_size(SEGMENT)],
        damaged: false,
    };
    let mut clusters = Vec::new();
    let mut has_tracks = false;
    while at < elements.length && !cancelled.load(Relaxed) {
        match elements.at(at)? {
            Some(Element { id: SEGMENT, body, .. }) => at = body.start,
            Some(Element { id: CLUSTER, body, .. }) => {
                let end = elements.end_of_cluster(body.start)?;
                clusters.extend([unknown_size(CLUSTER), Piece::File(body.start..end)]);
                at = end;
            }
            Some(element) if element.whole && [INFO, TRACKS].contains(&element.id) => {
                has_tracks |= element.id == TRACKS;
                repaired.pieces.push(Piece::File(at..element.body.end));
                at = element.body.end;
            }
            // Cues, tags and other top-level elements have ids of four bytes.
            Some(element) if element.whole && (element.id >> 28 == 1 || ANYWHERE.contains(&element.id)) => {
                at = element.body.end;
            }
            _ => {
                repaired.damaged = true;
                at = elements.find_cluster(at + 1)?;
            }
        }
    }
    repaired.pieces.extend(clusters);
    Ok(has_tracks.then_some(repaired))
}

/// The header of an element of unknown size, which ends at the next element of its kind or at the end of the file.
fn unknown_size(id: u32) -> Piece {
    let size = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    Piece::Literal([&id.to_be_bytes()[..], &size].concat())
}

struct Element {
    id: u32,
    body: Range<u64>,
    /// Whether its size is known and the file contains the whole element.
    whole: bool,
}

struct Elements<'a> {
    reader: BufReader<&'a File>,
    at: u64,
    length: u64,
}

impl<'a> Elements<'a> {
    fn new(mut file: &'a File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self {
            reader: BufReader::new(file),
            at: 0,
            length: file.metadata()?.len(),
        })
    }

    fn seek(&mut self, to: u64) -> io::Result<()> {
        match i64::try_from(to).ok().zip(i64::try_from(self.at).ok()) {
            Some((to, at)) => self.reader.seek_relative(to - at)?,
            None => _ = self.reader.seek(SeekFrom::Start(to))?,
        }
        self.at = to;
        Ok(())
    }

    /// The element at this position; `None` if there is none.
    fn at(&mut self, at: u64) -> io::Result<Option<Element>> {
        self.seek(at)?;
        let mut head = Vec::with_capacity(12);
        self.at += (&mut self.reader).take(12).read_to_end(&mut head)? as u64;
        let parse = || {
            let id_length = head.first()?.leading_zeros() as usize + 1;
            let id = head.get(..id_length).filter(|id| id.len() <= 4)?;
            let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
            let rest = &head[id_length..];
            let size_length = rest.first()?.leading_zeros() as usize + 1;
            let size = rest.get(..size_length).filter(|size| size.len() <= 8)?;
            let mask = (1_u64 << (7 * size_length)) - 1;
            let size = size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)) & mask;
            let start = at + (id_length + size_length) as u64;
            let end = start.saturating_add(size);
            Some(Element {
                id,
                whole: size != mask && end <= self.length,
                body: start..end.min(self.length),
            })
        };
        Ok(parse())
    }

    /// The end of the last complete child of the cluster whose first child is at `start`.
    fn end_of_cluster(&mut self, start: u64) -> io::Result<u64> {
        let mut end = start;
        while let Some(child) = self.at(end)? {
            let own = CLUSTERED.contains(&child.id) || ANYWHERE.contains(&child.id);
            if !own || !child.whole {
                break;
            }
            end = child.body.end;
        }
        Ok(end)
    }

    /// The start of the next cluster, or the end of the file.
    fn find_cluster(&mut self, mut from: u64) -> io::Result<u64> {
        let name = CLUSTER.to_be_bytes();
        let mut bytes = Vec::new();
        while from < self.length {
            self.seek(from)?;
            bytes.clear();
            self.at += (&mut self.reader).take(65_536).read_to_end(&mut bytes)? as u64;
            if let Some(offset) = bytes.windows(4).position(|window| window == name) {
                return Ok(from + offset as u64);
            }
            from += (bytes.len() as u64).saturating_sub(3).max(1);
        }
        Ok(self.length)
    }
}
