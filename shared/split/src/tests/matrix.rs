//! All combinations of container, codec, channels and rate in `fixtures/`, which `fixtures/make` generates.

use super::*;

/// The times of the tone on each channel of a stereo fixture; a mono fixture has all of them.
const LEFT: [(f64, f64); 2] = [(0.5, 1.0), (2.0, 2.4)];
const RIGHT: [(f64, f64); 2] = [(1.2, 1.7), (2.5, 2.9)];

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../fixtures/", $name)).as_slice())
    };
}

pub(super) struct Fixture {
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
    channels: usize,
    rate: u32,
}

const fn fixture((name, bytes): (&'static str, &'static [u8]), channels: usize, rate: u32) -> Fixture {
    Fixture {
        name,
        bytes,
        channels,
        rate,
    }
}

pub(super) const READABLE: &[Fixture] = &[
    fixture(fixture!("opus.ogg"), 2, 16_000),
    fixture(fixture!("opus.webm"), 2, 16_000),
    fixture(fixture!("opus.live.webm"), 2, 16_000),
    fixture(fixture!("opus.mp4"), 2, 16_000),
    fixture(fixture!("opus.fragmented.mp4"), 2, 16_000),
    fixture(fixture!("opus.mono.ogg"), 1, 16_000),
    fixture(fixture!("opus.surround.ogg"), 6, 16_000),
    fixture(fixture!("vorbis.ogg"), 2, 16_000),
    fixture(fixture!("flac.ogg"), 1, 8_000),
    fixture(fixture!("aac.m4a"), 2, 16_000),
    fixture(fixture!("aac.faststart.m4a"), 2, 16_000),
    fixture(fixture!("aac.adts.aac"), 2, 16_000),
    fixture(fixture!("aac.mkv"), 2, 16_000),
    fixture(fixture!("mulaw.au"), 1, 8_000),
    fixture(fixture!("ima.wav"), 2, 8_000),
    fixture(fixture!("ms.wav"), 2, 8_000),
    fixture(fixture!("ima.mono.wav"), 1, 8_000),
    fixture(fixture!("ms.mono.wav"), 1, 8_000),
    fixture(fixture!("stereo16.mp3"), 2, 16_000),
    fixture(fixture!("mono16.mp3"), 1, 16_000),
    fixture(fixture!("mono8.mp3"), 1, 8_000),
    fixture(fixture!("tagged.mp3"), 2, 44_100),
    fixture(fixture!("mp3.wav"), 1, 16_000),
];

/// Start and end, in seconds, of the loud intervals of a channel.
pub(super) fn bursts(samples: &[f32], channel: usize, channels: usize, rate: u32) -> Vec<(f64, f64)> {
    let window = rate as usize / 100 * channels;
    let mut bursts: Vec<(f64, f64)> = Vec::new();
    for (number, window) in samples.chunks(window).enumerate() {
        let frames = window.chunks_exact(channels).map(|frame| frame[channel]);
        let loud = frames.map(f32::abs).fold(0.0, f32::max) > 0.2;
        let (start, end) = (number as f64 / 100.0, (number + 1) as f64 / 100.0);
        match bursts.last_mut() {
            Some(last) if loud && start - last.1 < 0.05 => last.1 = end,
            _ if loud => bursts.push((start, end)),
            _ => {}
        }
    }
    bursts
}

/// All interleaved samples of a file with rate and channels.
pub(super) fn samples(file: &File) -> (Vec<f32>, u32, usize, decode::Decoded) {
    let (mut samples, mut rate, mut channels) = (Vec::new(), 0, 0);
    let decoded = decode(&recording(file), &mut |block| {
        (rate, channels) = (block.rate, block.channels);
        samples.extend_from_slice(block.samples);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    (samples, rate, channels, decoded)
}

fn assert_near(name: &str, found: &[(f64, f64)], expected: &[(f64, f64)]) {
    assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        let far = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
        // These formats do not contain the length of the encoder's delay.
        let bare = ["mp3", "aac.adts", "mkv"].iter().any(|kind| name.contains(kind));
        assert!(
            far < if bare { 0.15 } else { 0.03 },
            "{name}: {found:?} for {expected:?}"
        );
    }
}

#[test]
fn every_container_and_codec_is_decoded_to_its_end_with_right_times_and_channels() {
    for Fixture {
        name,
        bytes,
        channels,
        rate,
    } in READABLE
    {
        let file = file(bytes);
        let (samples, own_rate, own_channels, decoded) = samples(&file);
        assert_eq!((own_rate, own_channels), (*rate, *channels), "{name}");
        assert_eq!(decoded.corrupt, 0, "{name}");
        assert!((2.99..3.17).contains(&decoded.seconds), "{name}: {} s", decoded.seconds);
        assert!(decoded.coverage.is_complete(), "{name}: {:?}", decoded.coverage);
        let expected = decoded.coverage.expected_seconds.unwrap();
        assert!((2.9..3.17).contains(&expected), "{name}: {expected} s");
        let found: Vec<_> = (0..*channels)
            .map(|channel| bursts(&samples, channel, *channels, *rate))
            .collect();
        if *channels == 1 {
            let mut both = [LEFT, RIGHT].concat();
            both.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert_near(name, &found[0], &both);
        } else {
            assert_near(name, &found[0], &LEFT);
            assert_near(name, &found[1], &RIGHT);
        }
    }
}

#[test]
fn opus_is_split_by_channel() {
    for (name, bytes) in [fixture!("opus.ogg"), fixture!("opus.webm"), fixture!("opus.mp4")] {
        let (parts, analysis) = parts(file(bytes), plan(600.0, Channels::Separate));
        assert_eq!((analysis.channels, analysis.identical_channels), (2, false), "{name}");
        assert_eq!(
            parts.iter().map(|part| part.channel).collect::<Vec<_>>(),
            [0, 1],
            "{name}"
        );
    }
}

#[test]
fn a_codec_without_a_decoder_is_named() {
    for ((name, bytes), codec) in [
        (fixture!("gsm.wav"), "GSM 06.10"),
        (fixture!("gsm.gsm"), "GSM 06.10"),
        (fixture!("speex.ogg"), "Speex"),
        (fixture!("alac.m4a"), "ALAC"),
        (fixture!("g726.wav"), "G.726"),
        (("AMR", b"#!AMR\n\x3c\x48\x77"), "AMR-NB"),
        (("AMR-WB", b"#!AMR-WB\n\x3c\x48\x77"), "AMR-WB"),
    ] {
        match analyze(&recording(&file(bytes)), &plan(600.0, Channels::Mixed)) {
            Err(SplitError::UnsupportedCodec(named)) => assert_eq!(named, codec, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

pub(super) fn named(name: &str) -> &'static [u8] {
    READABLE.iter().find(|fixture| fixture.name == name).unwrap().bytes
}

#[test]
fn an_mp3_that_changes_between_mono_and_stereo_or_its_rate_is_decoded_to_its_end() {
    let (mono, stereo, slow) = (named("mono16.mp3"), named("stereo16.mp3"), named("mono8.mp3"));
    for (name, files, channels, rate, seconds) in [
        ("mono, stereo", vec![mono, stereo], 1, 16_000, 6.192),
        ("stereo, mono", vec![stereo, mono], 2, 16_000, 6.192),
        ("mono, stereo, mono", vec![mono, stereo, mono], 1, 16_000, 9.288),
        ("slow, fast, slow", vec![slow, mono, slow], 1, 8_000, 9.432),
        ("fast, slow stereo", vec![stereo, slow, mono], 2, 16_000, 9.36),
    ] {
        let (samples, own_rate, own_channels, decoded) = samples(&file(&files.concat()));
        assert_eq!((own_rate, own_channels), (rate, channels), "{name}");
        assert!((decoded.seconds - seconds).abs() < 0.1, "{name}: {} s", decoded.seconds);
        assert!(decoded.coverage.is_complete(), "{name}: {:?}", decoded.coverage);
        assert!(decoded.corrupt <= 2, "{name}: {} corrupt packets", decoded.corrupt);
        // A tone on one of two channels has half the amplitude after mixing.
        let louder: Vec<_> = samples.iter().map(|sample| sample * 1.5).collect();
        let last = *bursts(&louder, channels - 1, channels, rate).last().unwrap();
        let start = decoded.seconds - 3.12;
        assert!((last.0 - start - 2.5).abs() < 0.2, "{name}: {last:?}");
    }
}

#[test]
fn a_chained_ogg_is_decoded_to_its_end() {
    let (stereo, mono, vorbis) = (named("opus.ogg"), named("opus.mono.ogg"), named("vorbis.ogg"));
    for (name, files, seconds) in [
        ("the same twice", vec![stereo, stereo], 6.0),
        ("mono, stereo", vec![mono, stereo], 6.0),
        ("stereo, mono", vec![stereo, mono], 6.0),
        ("another codec", vec![stereo, vorbis, mono], 9.0),
    ] {
        let (samples, rate, channels, decoded) = samples(&file(&files.concat()));
        assert!((decoded.seconds - seconds).abs() < 0.1, "{name}: {} s", decoded.seconds);
        assert!(decoded.coverage.is_complete(), "{name}: {:?}", decoded.coverage);
        assert!(
            decoded
                .coverage
                .expected_seconds
                .is_some_and(|expected| (expected - seconds).abs() < 0.1),
            "{name}: {:?}",
            decoded.coverage
        );
        let louder: Vec<_> = samples.iter().map(|sample| sample * 1.5).collect();
        let last = *bursts(&louder, channels - 1, channels, rate).last().unwrap();
        assert!((last.0 - (seconds - 0.5)).abs() < 0.1, "{name}: {last:?}");
    }
}

#[test]
fn the_coverage_of_a_truncated_file_is_reported() {
    for Fixture { name, bytes, .. } in READABLE {
        for part in 1..40 {
            let length = bytes.len() * part / 40;
            let file = file(&bytes[..length]);
            let recording = AudioFile {
                promised_seconds: Some(4.0),
                ..recording(&file)
            };
            if let Ok(analysis) = analyze(&recording, &plan(600.0, Channels::Mixed)) {
                let coverage = analysis.coverage;
                assert!(coverage.decoded_seconds < 3.2, "{name}, {length} bytes: {coverage:?}");
                assert!(
                    coverage.decoded_seconds >= 2.85 || !coverage.is_complete(),
                    "{name}, {length} bytes: {coverage:?}"
                );
            }
        }
    }
}

#[test]
fn a_truncated_file_of_any_kind_gives_the_audio_that_is_there() {
    for Fixture { name, bytes, .. } in READABLE {
        // These files have their index at the end.
        if ["opus.mp4", "aac.m4a"].contains(name) {
            continue;
        }
        let file = file(&bytes[..bytes.len() * 7 / 10]);
        let analysis = analyze(&recording(&file), &plan(600.0, Channels::Mixed));
        let analysis = analysis.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(
            (0.99..2.3).contains(&analysis.seconds),
            "{name}: {} s",
            analysis.seconds
        );
    }
}

/// The file with an eighth of its bytes replaced by zeros.
fn damaged(bytes: &[u8]) -> File {
    let mut damaged = bytes.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle..middle + bytes.len() / 8].fill(0);
    file(&damaged)
}

#[test]
fn the_coverage_of_a_damaged_file_is_reported() {
    for Fixture { name, bytes, .. } in READABLE {
        // PCM and ADPCM can be decoded with any content.
        let pcm = name.ends_with(".au") || name.ends_with(".wav") && !name.starts_with("mp3");
        match analyze(&recording(&damaged(bytes)), &plan(600.0, Channels::Mixed)) {
            Ok(analysis) => {
                let complete = analysis.coverage.is_complete();
                assert_eq!(complete, pcm, "{name}: {:?}", analysis.coverage);
            }
            Err(error) => assert!(matches!(error, SplitError::Unsupported), "{name}: {error:?}"),
        }
    }
}

#[test]
fn behind_damage_decoding_goes_on_and_times_hold() {
    for name in ["opus.mp4", "aac.m4a", "ima.wav", "ms.wav"] {
        let (samples, rate, channels, _) = samples(&damaged(named(name)));
        let last = *bursts(&samples, 1, channels, rate).last().unwrap();
        assert!((last.0 - 2.5).abs() < 0.03, "{name}: {last:?}");
    }
}

#[test]
fn the_gain_of_an_opus_header_is_applied() {
    let loudest = |bytes: &[u8]| {
        samples(&file(bytes))
            .0
            .iter()
            .fold(0.0_f32, |most, sample| most.max(sample.abs()))
    };
    // 6.02 dB down, in 1/256 dB: little-endian in the packet of Matroska, big-endian in the box of MP4.
    for (name, mark, at, gain) in [
        ("opus.webm", b"OpusHead".as_slice(), 16, (-1541_i16).to_le_bytes()),
        ("opus.mp4", b"dOps".as_slice(), 12, (-1541_i16).to_be_bytes()),
    ] {
        let plain = named(name);
        let mut quiet = plain.to_vec();
        let head = quiet.windows(mark.len()).position(|window| window == mark).unwrap();
        quiet[head + at..head + at + 2].copy_from_slice(&gain);
        let ratio = loudest(&quiet) / loudest(plain);
        assert!((ratio - 0.5).abs() < 0.01, "{name}: {ratio}");
    }
}
