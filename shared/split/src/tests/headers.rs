//! Headers that are inconsistent with the following bytes.

use super::*;

const SECONDS: f64 = 3.0;

/// Two tones of 8 kHz, 16 bits, mono.
fn samples() -> Vec<u8> {
    let samples = signal(8_000, SECONDS, voice);
    samples
        .iter()
        .flat_map(|sample| ((sample * 32767.0) as i16).to_le_bytes())
        .collect()
}

fn format(tag: u16, channels: u16, rate: u32, block: u16, bits: u16) -> Vec<u8> {
    let mut format = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
    format.extend(rate.to_le_bytes());
    format.extend((rate * u32::from(block)).to_le_bytes());
    format.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
    format
}

fn chunk(name: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    [name, &size.to_le_bytes()[..], body].concat()
}

fn own_chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let pad = vec![0; body.len() % 2];
    [chunk(name, body.len() as u32, body), pad].concat()
}

/// A WAV file with these chunks.
fn riff(name: &[u8; 4], size: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    [name, &size.to_le_bytes()[..], b"WAVE", &chunks.concat()].concat()
}

#[test]
fn a_wav_is_read_to_its_last_sample_whatever_its_sizes_say() {
    let data = samples();
    let length = data.len() as u32;
    let pcm = || own_chunk(b"fmt ", &format(1, 1, 8_000, 2, 16));
    let whole = || chunk(b"data", length, &data);
    let list = own_chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf59.27.100\0");
    let ds64 = |size: u64| {
        let sizes = [size + 80, size, size / 2].map(u64::to_le_bytes).concat();
        own_chunk(b"ds64", &[&sizes[..], &[0; 4]].concat())
    };
    let odd = own_chunk(b"JUNK", &[7; 33]);
    let odd_unpadded = chunk(b"JUNK", 33, &[7; 33]);
    let extended = [&format(1, 1, 8_000, 2, 16)[..], &[0, 0]].concat();
    let extensible = {
        let guid = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
        [&format(0xfffe, 1, 8_000, 2, 16)[..], &[22, 0, 16, 0, 4, 0, 0, 0], guid].concat()
    };
    for (name, bytes) in [
        ("as it should be", riff(b"RIFF", length + 36, &[pcm(), whole()])),
        ("RIFF size 8 too small", riff(b"RIFF", length + 28, &[pcm(), whole()])),
        ("RIFF size 0", riff(b"RIFF", 0, &[pcm(), whole()])),
        ("RIFF size of an empty file", riff(b"RIFF", 36, &[pcm(), whole()])),
        ("RIFF size too large", riff(b"RIFF", length * 3, &[pcm(), whole()])),
        ("data size 0", riff(b"RIFF", 36, &[pcm(), chunk(b"data", 0, &data)])),
        (
            "data size ffffffff",
            riff(b"RIFF", u32::MAX, &[pcm(), chunk(b"data", u32::MAX, &data)]),
        ),
        (
            "data size 7fffffff",
            riff(b"RIFF", 0x7fff_ffff, &[pcm(), chunk(b"data", 0x7fff_ffff, &data)]),
        ),
        (
            "data size 7ffff000, as sox streams",
            riff(b"RIFF", 0x7fff_f024, &[pcm(), chunk(b"data", 0x7fff_f000, &data)]),
        ),
        (
            "data size 80000000",
            riff(b"RIFF", u32::MAX, &[pcm(), chunk(b"data", 0x8000_0000, &data)]),
        ),
        (
            "data size patched long ago",
            riff(b"RIFF", 1000, &[pcm(), chunk(b"data", 4_000, &data)]),
        ),
        (
            "RF64",
            riff(
                b"RF64",
                u32::MAX,
                &[ds64(length.into()), pcm(), chunk(b"data", u32::MAX, &data)],
            ),
        ),
        (
            "BW64",
            riff(
                b"BW64",
                u32::MAX,
                &[ds64(length.into()), pcm(), chunk(b"data", u32::MAX, &data)],
            ),
        ),
        (
            "RF64 of size 0",
            riff(b"RF64", u32::MAX, &[ds64(0), pcm(), chunk(b"data", u32::MAX, &data)]),
        ),
        (
            "chunks before the data",
            riff(b"RIFF", 0, &[odd.clone(), pcm(), list.clone(), whole()]),
        ),
        (
            "an odd chunk that is not padded",
            riff(b"RIFF", 0, &[pcm(), odd_unpadded, whole()]),
        ),
        (
            "a list behind the data",
            riff(b"RIFF", length + 60, &[pcm(), whole(), list.clone()]),
        ),
        (
            "a list of a wrong size behind the data",
            riff(b"RIFF", length + 60, &[pcm(), whole(), chunk(b"LIST", 9_999, b"INFO")]),
        ),
        (
            "a list of a wrong size before the data",
            riff(
                b"RIFF",
                length + 60,
                &[pcm(), chunk(b"LIST", 0x0100_0000, b"INFO"), whole()],
            ),
        ),
        (
            "an ID3 tag behind the data",
            riff(
                b"RIFF",
                length + 36,
                &[pcm(), whole(), b"ID3\x03\0\0\0\0\0\0\0\0\0\0".to_vec()],
            ),
        ),
        (
            "a format of 18 bytes",
            riff(b"RIFF", 0, &[own_chunk(b"fmt ", &extended), whole()]),
        ),
        (
            "the extensible format",
            riff(b"RIFF", 0, &[own_chunk(b"fmt ", &extensible), whole()]),
        ),
        (
            "a block size of 0",
            riff(b"RIFF", 0, &[own_chunk(b"fmt ", &format(1, 1, 8_000, 0, 16)), whole()]),
        ),
        (
            "half a sample at the end",
            riff(
                b"RIFF",
                0,
                &[pcm(), chunk(b"data", length + 1, &[&data[..], &[1]].concat())],
            ),
        ),
    ] {
        let analysis = analyzed(&file(&bytes), Channels::Separate);
        assert!(
            (analysis.seconds - SECONDS).abs() < 0.02,
            "{name}: {} s",
            analysis.seconds
        );
        assert!(analysis.coverage.is_complete(), "{name}: {:?}", analysis.coverage);
        assert_eq!(analysis.corrupt_packets, 0, "{name}");
    }
}

#[test]
fn every_sample_format_of_wav_is_read() {
    let samples = signal(8_000, SECONDS, voice);
    let with = |encode: &dyn Fn(f64) -> Vec<u8>| samples.iter().flat_map(|sample| encode(*sample)).collect::<Vec<_>>();
    let guid = |tag: u8| [&[tag, 0, 0, 0, 0, 0][..], b"\x10\0\x80\0\0\xaa\0\x38\x9b\x71"].concat();
    let extensible = |tag, block, bits: u16| {
        let valid = bits.to_le_bytes();
        [
            &format(0xfffe, 1, 8_000, block, bits)[..],
            &[22, 0],
            &valid,
            &[4, 0, 0, 0],
            &guid(tag),
        ]
        .concat()
    };
    for (name, format, data) in [
        (
            "8 bits",
            format(1, 1, 8_000, 1, 8),
            with(&|s| vec![(s * 127.0 + 128.0) as u8]),
        ),
        (
            "24 bits",
            format(1, 1, 8_000, 3, 24),
            with(&|s| ((s * 8_388_607.0) as i32).to_le_bytes()[..3].to_vec()),
        ),
        (
            "32 bits",
            format(1, 1, 8_000, 4, 32),
            with(&|s| ((s * 2_147_483_647.0) as i32).to_le_bytes().to_vec()),
        ),
        (
            "24 bits in 4 bytes",
            extensible(1, 4, 24),
            with(&|s| ((s * 8_388_607.0) as i32 * 256).to_le_bytes().to_vec()),
        ),
        (
            "float",
            format(3, 1, 8_000, 4, 32),
            with(&|s| (s as f32).to_le_bytes().to_vec()),
        ),
        (
            "double",
            format(3, 1, 8_000, 8, 64),
            with(&|s| s.to_le_bytes().to_vec()),
        ),
        (
            "extensible float",
            extensible(3, 4, 32),
            with(&|s| (s as f32).to_le_bytes().to_vec()),
        ),
    ] {
        let bytes = riff(b"RIFF", 0, &[own_chunk(b"fmt ", &format), own_chunk(b"data", &data)]);
        let (parts, analysis) = parts(file(&bytes), plan(600.0, Channels::Mixed));
        assert_eq!(analysis.seconds, SECONDS, "{name}");
        let decoded = samples_of(&parts[0]);
        let worst = decoded
            .iter()
            .zip(&samples)
            .map(|(one, other)| (f64::from(*one) / 32768.0 - other).abs())
            .fold(0.0, f64::max);
        assert!(worst < 0.01, "{name}: {worst}");
    }
}

#[test]
fn laws_of_telephony_are_read_with_formats_of_16_and_18_bytes_and_extensible() {
    for (tag, law) in [(6_u16, 0x55_u8), (7, 0xff)] {
        let data: Vec<u8> = (0..16_000)
            .map(|n| if n % 40 < 20 { law ^ 0x6f } else { law ^ 0xef })
            .collect();
        let plain = format(tag, 1, 8_000, 1, 8);
        let guid = [&[tag as u8, 0, 0, 0, 0, 0][..], b"\x10\0\x80\0\0\xaa\0\x38\x9b\x71"].concat();
        let extensible = [&format(0xfffe, 1, 8_000, 1, 8)[..], &[22, 0, 8, 0, 4, 0, 0, 0], &guid].concat();
        for format in [
            plain.clone(),
            [&plain[..], &[0, 0]].concat(),
            extensible,
            format(tag, 1, 8_000, 2, 16),
        ] {
            let bytes = riff(b"RIFF", 0, &[own_chunk(b"fmt ", &format), own_chunk(b"data", &data)]);
            let (parts, analysis) = parts(file(&bytes), plan(600.0, Channels::Mixed));
            assert_eq!((parts.len(), analysis.seconds), (1, 2.0));
        }
    }
}

#[test]
fn zeros_and_tags_around_mp3_frames_are_no_part_of_the_recording() {
    let mp3 = include_bytes!("../../fixtures/mono16.mp3");
    let id3 = |size: usize| {
        let length = [size >> 21, size >> 14 & 127, size >> 7 & 127, size & 127].map(|byte| byte as u8);
        // A cover picture has many patterns that look like frames.
        let body: Vec<u8> = (0..size)
            .map(|n| if n % 9 < 2 { 0xff } else { 0xfb ^ n as u8 })
            .collect();
        [&b"ID3\x03\0\0"[..], &length, &body].concat()
    };
    let ape = |header: bool| {
        let mut tag = b"APETAGEX".to_vec();
        tag.extend(
            [2000_u32, 32, 0, if header { 0xa000_0000 } else { 0x8000_0000 }]
                .map(u32::to_le_bytes)
                .concat(),
        );
        tag.extend([0; 8]);
        tag
    };
    let id3v1 = [&b"TAG"[..], &[b' '; 125]].concat();
    for (name, before, after) in [
        ("nothing", vec![], vec![]),
        ("zeros", vec![0; 5_000], vec![]),
        ("many zeros", vec![0; 300_000], vec![]),
        ("ID3v2", id3(300), vec![]),
        ("ID3v2 with a picture", id3(200_000), vec![]),
        ("two ID3v2", [id3(300), id3(5_000)].concat(), vec![]),
        ("zeros and ID3v2", [vec![0; 700], id3(300)].concat(), vec![]),
        ("ID3v2 and zeros", [id3(300), vec![0; 700]].concat(), vec![]),
        ("APE before", ape(true), vec![]),
        ("APE and ID3v1 behind", vec![], [ape(false), id3v1.clone()].concat()),
        ("ID3v1", vec![], id3v1),
        (
            "junk",
            b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n".to_vec(),
            vec![],
        ),
    ] {
        let file = file(&[&before[..], mp3, &after].concat());
        let analysis = analyze(&recording(&file), &plan(600.0, Channels::Mixed));
        let analysis = analysis.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(
            (analysis.seconds - 3.096).abs() < 0.08,
            "{name}: {} s",
            analysis.seconds
        );
        assert!(analysis.coverage.is_complete(), "{name}: {:?}", analysis.coverage);
    }
}
