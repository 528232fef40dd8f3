//! Recordings from bug reports of other tools that truncated, rejected or hung on them, one of each kind.

use super::{matrix::named, *};

/// A WAV of 8 kHz, 16 bits, mono, with a chunk before its data.
fn wav(junk: usize, riff_size: u32, data_size: u32, samples: &[i16]) -> Vec<u8> {
    let format = [1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0];
    let mut bytes = [
        b"RIFF",
        &riff_size.to_le_bytes()[..],
        b"WAVEJUNK",
        &(junk as u32).to_le_bytes(),
    ]
    .concat();
    bytes.extend(vec![0; junk]);
    bytes.extend(
        [
            b"fmt ",
            &16_u32.to_le_bytes()[..],
            &format,
            b"data",
            &data_size.to_le_bytes(),
        ]
        .concat(),
    );
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

fn samples(seconds: f64) -> Vec<i16> {
    signal(8_000, seconds, voice)
        .iter()
        .map(|sample| (sample * 32767.0) as i16)
        .collect()
}

/// mila 151, meeting-transcriber 384: AVAudioFile writes the sizes only when the file is closed, not if the recorder is killed.
#[test]
fn a_wav_that_was_never_closed_has_all_its_samples() {
    let analysis = analyzed(&file(&wav(4_044, 4_088, 0, &samples(10.0))), Channels::Mixed);
    assert_eq!(analysis.seconds, 10.0);
}

/// wavfix 12: samples after a data chunk of size 0 that look like a chunk name.
#[test]
fn samples_that_look_like_a_chunk_are_samples() {
    let mut samples = samples(3.0);
    samples[..4].copy_from_slice(&[i16::from_le_bytes(*b"bi"), i16::from_le_bytes(*b"ts"), -2, 300]);
    for size in [0, 2_000] {
        let mut samples = samples.clone();
        samples[1_000..1_004].copy_from_slice(&[i16::from_le_bytes(*b"by"), i16::from_le_bytes(*b"te"), -2, 300]);
        assert_eq!(
            analyzed(&file(&wav(0, 36, size, &samples)), Channels::Mixed).seconds,
            3.0
        );
    }
}

/// record 96: the data chunk has the size of the file. parrot.py 69: it has twice the recorded size; only the provider knows the length.
#[test]
fn a_data_chunk_that_claims_too_much_gives_what_is_there() {
    let samples = samples(3.0);
    let length = samples.len() as u32 * 2;
    let analysis = analyzed(&file(&wav(0, length + 36, length + 44, &samples)), Channels::Mixed);
    assert!(analysis.seconds == 3.0 && analysis.coverage.is_complete());
    let double = file(&wav(0, length + 36, length * 2, &samples));
    assert!(!analyzed(&double, Channels::Mixed).coverage.is_complete());
    let promised = AudioFile {
        promised_seconds: Some(3.0),
        ..recording(&double)
    };
    assert!(
        analyze(&promised, &plan(600.0, Channels::Mixed))
            .unwrap()
            .coverage
            .is_complete()
    );
}

/// FreeSWITCH 1787: a recording of 44 bytes.
#[test]
fn a_wav_of_a_header_alone_is_empty() {
    let result = analyze(&recording(&file(&wav(0, 36, 0, &[]))), &plan(600.0, Channels::Mixed));
    assert!(matches!(result, Err(SplitError::Empty)));
}

/// bigbluebutton 2809: FreeSWITCH counts sizes above 4 GB modulo 2^32.
#[test]
fn a_size_that_wrapped_around_is_not_believed() {
    let analysis = analyzed(&file(&wav(0, 700, 640, &samples(60.0))), Channels::Mixed);
    assert_eq!(analysis.seconds, 60.0);
}

/// MPD 1200, Kokoro-FastAPI 57, openreader 129: joined MP3 files, of which the first has a tag with only its own length.
#[test]
fn joined_mp3_files_with_length_tags_are_decoded_to_the_last() {
    let tagged = named("tagged.mp3");
    let analysis = analyzed(&file(&[tagged, tagged, tagged].concat()), Channels::Mixed);
    assert!((analysis.seconds - 9.0).abs() < 0.25, "{} s", analysis.seconds);
    assert!(analysis.coverage.is_complete());
}

/// mp3-duration 16: a length tag of zero frames.
#[test]
fn an_mp3_whose_length_tag_is_zero_is_decoded() {
    let mut mp3 = named("tagged.mp3").to_vec();
    let tag = mp3
        .windows(4)
        .position(|name| matches!(name, b"Xing" | b"Info"))
        .unwrap();
    mp3[tag + 8..tag + 12].fill(0);
    let analysis = analyzed(&file(&mp3), Channels::Mixed);
    assert!(
        (analysis.seconds - 3.0).abs() < 0.1 && analysis.coverage.is_complete(),
        "{analysis:?}"
    );
}

/// Symphonia 68: the first frames need bits of missing frames.
#[test]
fn an_mp3_that_starts_in_the_middle_is_decoded() {
    let mp3 = named("mono16.mp3");
    let analysis = analyzed(&file(&mp3[mp3.len() / 3 + 50..]), Channels::Mixed);
    assert!((analysis.seconds - 2.0).abs() < 0.15, "{} s", analysis.seconds);
    assert!(analysis.coverage.is_complete());
}

/// Symphonia 485: a tag of 33 bytes on which the demuxer panicked. Symphonia 483: a length on which it hung.
#[test]
fn tags_with_impossible_sizes_do_not_end_the_program() {
    for size in [[0x7f; 4], [0xff; 4], [0, 0, 0, 0x10]] {
        for flags in [0x00, 0x40, 0x80, 0xff] {
            for version in 2..5 {
                let head = [&[b'I', b'D', b'3', version, 0, flags][..], &size].concat();
                for (body, audio) in [(vec![0xff; 23], false), (named("mono16.mp3").to_vec(), true)] {
                    let file = file(&[&head[..], &body].concat());
                    let result = analyze(&recording(&file), &plan(600.0, Channels::Mixed));
                    assert!(audio || result.is_err());
                }
            }
        }
    }
}

/// Kokoro-FastAPI 447: the last page of an Ogg file is missing.
#[test]
fn an_ogg_without_its_last_page_is_decoded_and_incomplete_by_the_provider_s_length() {
    let ogg = named("opus.ogg");
    let last = ogg.windows(4).rposition(|name| name == b"OggS").unwrap();
    let before = ogg[..last].windows(4).rposition(|name| name == b"OggS").unwrap();
    let file = file(&ogg[..before]);
    let promised = AudioFile {
        promised_seconds: Some(3.0),
        ..recording(&file)
    };
    let analysis = analyze(&promised, &plan(600.0, Channels::Mixed)).unwrap();
    assert!((analysis.seconds - 2.0).abs() < 0.1, "{} s", analysis.seconds);
    let promised = AudioFile {
        promised_seconds: Some(4.0),
        ..promised
    };
    assert!(
        !analyze(&promised, &plan(600.0, Channels::Mixed))
            .unwrap()
            .coverage
            .is_complete()
    );
}

/// egress 531: segments of transport streams.
#[test]
fn a_transport_stream_is_named() {
    let mut stream = vec![0xff; 188 * 8];
    for packet in stream.chunks_mut(188) {
        packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    }
    let result = analyze(&recording(&file(&stream)), &plan(600.0, Channels::Mixed));
    assert!(matches!(result, Err(SplitError::UnsupportedCodec(name)) if name == "MPEG transport stream"));
}

/// The last ADPCM block may be shorter than the others.
#[test]
fn a_last_block_of_adpcm_that_is_cut_short_is_decoded() {
    for name in ["ima.wav", "ms.wav", "ima.mono.wav", "ms.mono.wav"] {
        let adpcm = named(name);
        let mut shorter = adpcm[..adpcm.len() - 600].to_vec();
        let data = shorter.windows(4).position(|name| name == b"data").unwrap();
        let size = (shorter.len() - data - 8) as u32;
        shorter[data + 4..data + 8].copy_from_slice(&size.to_le_bytes());
        let analysis = analyzed(&file(&shorter), Channels::Mixed);
        assert!(analysis.coverage.is_complete(), "{name}: {:?}", analysis.coverage);
        let lost = 600.0 * 2.0 / f64::from(analysis.channels) / 8_000.0;
        let whole = analyzed(&file(adpcm), Channels::Mixed).seconds;
        assert!(
            (whole - lost - analysis.seconds).abs() < 0.01,
            "{name}: {} of {whole} s",
            analysis.seconds
        );
    }
}
