//! Reads the start of the audio from an MP4's edit list, which the demuxer ignores.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
};

/// The timestamp of the first audio track, in its own time scale, at which the recording starts: after the encoder's delay, or before a pause at
/// the start (then it is negative). `None` if the file has no edit list or is not an MP4.
pub(super) fn media_start(mut file: &File) -> Option<i64> {
    let (movie, track, media) = sound(file)?;
    let movie_clock = clock(file, movie, b"mvhd")?;
    let track_clock = clock(file, media, b"mdhd")?;
    let edits = boxes(track, b"edts").next(file)?;
    let list = boxes(edits, b"elst").next(file)?;
    file.seek(SeekFrom::Start(list.start)).ok()?;
    let [version, ..] = read::<4>(file)?;
    let mut pause = 0_i128;
    for _ in 0..u32::from_be_bytes(read(file)?) {
        let (duration, start) = match version {
            0 => (
                u64::from(u32::from_be_bytes(read(file)?)),
                i64::from(i32::from_be_bytes(read(file)?)),
            ),
            _ => (u64::from_be_bytes(read(file)?), i64::from_be_bytes(read(file)?)),
        };
        read::<4>(file)?;
        if start >= 0 {
            return i64::try_from(i128::from(start) - pause * i128::from(track_clock) / i128::from(movie_clock)).ok();
        }
        pause += i128::from(duration);
    }
    None
}

/// The sample entry of the first audio track, such as `mp4a`; `None` if the file is not an MP4 or has no audio.
pub(super) fn sample_entry(mut file: &File) -> Option<[u8; 4]> {
    let (_, _, media) = sound(file)?;
    let mut inner = media;
    for kind in [b"minf", b"stbl", b"stsd"] {
        inner = boxes(inner, kind).next(file)?;
    }
    file.seek(SeekFrom::Start(inner.start + 12)).ok()?;
    read(file)
}

/// The number of missing bytes in the file's last box. The demuxer rejects a file that is shorter than its boxes, such as every truncated file.
pub(super) fn missing(mut file: &File) -> Option<u64> {
    let length = file.metadata().ok()?.len();
    let mut at = 0;
    while at < length {
        file.seek(SeekFrom::Start(at)).ok()?;
        let size = u32::from_be_bytes(read(file)?);
        let kind = read::<4>(file)?;
        let end = match size {
            0 => return None,
            1 => at.checked_add(u64::from_be_bytes(read(file)?)),
            size => at.checked_add(u64::from(size)),
        }?;
        if end > length {
            return (kind == *b"mdat").then_some(end - length);
        }
        at = end.max(at + 8);
    }
    None
}

/// The movie box, its first audio track, and that track's media box.
fn sound(mut file: &File) -> Option<(Range<u64>, Range<u64>, Range<u64>)> {
    let length = file.metadata().ok()?.len();
    file.rewind().ok()?;
    let [.., b'f', b't', b'y', b'p'] = read::<8>(file)? else {
        return None;
    };
    let movie = boxes(0..length, b"moov").next(file)?;
    let mut tracks = boxes(movie.clone(), b"trak");
    loop {
        let track = tracks.next(file)?;
        let Some(media) = boxes(track.clone(), b"mdia").next(file) else {
            continue;
        };
        let Some(handler) = boxes(media.clone(), b"hdlr").next(file) else {
            continue;
        };
        file.seek(SeekFrom::Start(handler.start + 8)).ok()?;
        if read(file)? == *b"soun" {
            return Some((movie, track, media));
        }
    }
}

/// Units per second of a `mvhd` or `mdhd` box.
fn clock(mut file: &File, parent: Range<u64>, kind: &'static [u8; 4]) -> Option<u32> {
    let header = boxes(parent, kind).next(file)?;
    file.seek(SeekFrom::Start(header.start)).ok()?;
    let [version, ..] = read::<4>(file)?;
    let dates = if version == 0 { 8 } else { 16 };
    file.seek(SeekFrom::Current(dates)).ok()?;
    Some(u32::from_be_bytes(read(file)?)).filter(|clock| *clock > 0)
}

/// The boxes of one kind in a range of the file.
struct Boxes {
    rest: Range<u64>,
    kind: &'static [u8; 4],
}

fn boxes(range: Range<u64>, kind: &'static [u8; 4]) -> Boxes {
    Boxes { rest: range, kind }
}

impl Boxes {
    /// The content of the next box.
    fn next(&mut self, mut file: &File) -> Option<Range<u64>> {
        while self.rest.end.saturating_sub(self.rest.start) >= 8 {
            file.seek(SeekFrom::Start(self.rest.start)).ok()?;
            let size = u32::from_be_bytes(read(file)?);
            let kind = read::<4>(file)?;
            let (header, size) = match size {
                0 => (8, self.rest.end - self.rest.start),
                1 => (16, u64::from_be_bytes(read(file)?)),
                size => (8, u64::from(size)),
            };
            let end = self.rest.start.checked_add(size).filter(|end| *end <= self.rest.end)?;
            let content = self.rest.start.checked_add(header).filter(|start| *start <= end)?..end;
            self.rest.start = end;
            if kind == *self.kind {
                return Some(content);
            }
        }
        None
    }
}

fn read<const N: usize>(mut file: &File) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MP4: &[u8] = include_bytes!("../../../../local/demo/clips/callback-request.mp4");
    const MP3: &[u8] = include_bytes!("../../../../local/demo/clips/appointment.mp3");

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn the_encoder_delay_of_an_mp4_is_not_part_of_the_recording() {
        // The clip's edit list starts at its encoder's 1024 samples of delay.
        assert_eq!(media_start(&file(MP4)), Some(1024));
        assert_eq!(media_start(&file(MP3)), None);
        for length in 0..200 {
            assert_eq!(media_start(&file(&MP4[..length])), None);
        }
    }
}
