//! Names of codecs without a decoder, for error messages.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use symphonia::core::codecs::audio::{AudioCodecParameters, well_known::*};

use crate::SplitError;

use super::mp4;

/// The codec of a WAV file by its format tag.
pub(super) fn wav(tag: u16) -> String {
    let name = match tag {
        0x0014 | 0x0040 | 0x0045 | 0x0064 => "G.726",
        0x0022 => "TrueSpeech",
        0x0031 => "GSM 06.10",
        0x0042 => "G.723.1",
        0x0065 => "G.722",
        0x0083 | 0x0133 => "G.729",
        0x00ff | 0x1600 | 0x1602 | 0x1610 => "AAC in WAV",
        0x0160..=0x0163 => "WMA",
        0xa109 => "Speex",
        tag => return format!("WAV format {tag:#06x}"),
    };
    name.into()
}

/// The name of a track's codec.
pub(super) fn track(parameters: &AudioCodecParameters) -> String {
    let name = match parameters.codec {
        CODEC_ID_AAC => return aac(parameters.extra_data.as_deref().unwrap_or_default()),
        CODEC_ID_AC3 => "AC-3",
        CODEC_ID_AC4 => "AC-4",
        CODEC_ID_ALAC => "ALAC",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_EAC3 => "E-AC-3",
        CODEC_ID_MP2 => "MPEG audio layer 2",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_TTA => "TTA",
        CODEC_ID_WAVPACK => "WavPack",
        CODEC_ID_WMA => "WMA",
        codec => return format!("codec {codec}"),
    };
    name.into()
}

fn aac(config: &[u8]) -> String {
    let kind = match config {
        [first, second, ..] if first >> 3 == 31 => 32 + ((first & 7) << 3 | second >> 5),
        [first, ..] => first >> 3,
        [] => 2,
    };
    match kind {
        // Spectral band replication can also be signaled after an ordinary configuration.
        2 | 5 => "HE-AAC".into(),
        29 => "HE-AAC v2".into(),
        42 => "xHE-AAC".into(),
        kind => format!("AAC object type {kind}"),
    }
}

/// Why no demuxer found audio in the file.
pub(super) fn file(file: &File) -> SplitError {
    let name = match magic(file) {
        Ok(Some(name)) => Some(name.into()),
        Ok(None) => mp4::sample_entry(file).and_then(mp4_entry),
        Err(error) => return error.into(),
    };
    name.map_or(SplitError::Unsupported, SplitError::UnsupportedCodec)
}

/// The format of a file without a demuxer, detected from its first bytes.
pub(super) fn magic(mut file: &File) -> io::Result<Option<&'static str>> {
    let mut head = Vec::new();
    file.rewind()?;
    file.take(4096).read_to_end(&mut head)?;
    Ok(Some(match &head[..] {
        [b'#', b'!', b'A', b'M', b'R', b'-', b'W', b'B', ..] => "AMR-WB",
        [b'#', b'!', b'A', b'M', b'R', ..] => "AMR-NB",
        [b'#', b'!', b'S', b'I', b'L', b'K', ..] | [2, b'#', b'!', b'S', b'I', b'L', b'K', ..] => "SILK",
        [0x0b, 0x77, ..] => "AC-3",
        [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, ..] => "WMA",
        [b'M', b'A', b'C', b' ', ..] => "Monkey's Audio",
        [b'r', b'i', b'f', b'f', 0x2e, 0x91, 0xcf, 0x11, ..] => "Wave64",
        [b'w', b'v', b'p', b'k', ..] => "WavPack",
        [b'c', b'a', b'f', b'f', ..] => "Core Audio Format",
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', ..] => "AIFF",
        [b'O', b'g', b'g', b'S', ..] if head.windows(8).any(|name| name == b"Speex   ") => "Speex",
        _ if is_transport_stream(&head) => "MPEG transport stream",
        _ if is_gsm(&head, file) => "GSM 06.10",
        _ => return Ok(None),
    }))
}

fn is_transport_stream(head: &[u8]) -> bool {
    head.len() > 3 * 188 && head.chunks(188).all(|packet| packet[0] == 0x47)
}

/// Raw GSM frames of 33 bytes have no header, but each starts with the same four bits.
fn is_gsm(head: &[u8], mut file: &File) -> bool {
    let whole = file.seek(SeekFrom::End(0)).is_ok_and(|length| length % 33 == 0);
    whole && head.len() >= 330 && head.chunks_exact(33).all(|frame| frame[0] >> 4 == 0xd)
}

/// The codec of an MP4 from its sample entry; `None` if it can be decoded, so that the error has another cause.
fn mp4_entry(entry: [u8; 4]) -> Option<String> {
    let name = match &entry {
        b"mp4a" | b"Opus" | b"fLaC" | b".mp3" | b"sowt" | b"twos" | b"raw " | b"lpcm" | b"in24" | b"in32" | b"fl32"
        | b"fl64" => return None,
        b"agsm" => "GSM 06.10",
        b"alaw" => "A-law in MP4",
        b"samr" => "AMR-NB",
        b"sawb" => "AMR-WB",
        b"sevc" => "EVRC",
        b"sqcp" => "QCELP",
        b"ulaw" => "mu-law in MP4",
        entry => return Some(format!("MP4 codec {}", entry.escape_ascii())),
    };
    Some(name.into())
}
