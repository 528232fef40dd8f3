use std::{
    f64::consts::TAU,
    io::{BufWriter, Write},
};

use proptest::prelude::*;

use super::*;

const MONO: &[u8] = include_bytes!("../../../local/demo/clips/appointment.mp3");
const DUAL: &[u8] = include_bytes!("../../../local/demo/clips/appointment.dual.mp3");
const MP4: &[u8] = include_bytes!("../../../local/demo/clips/callback-request.mp4");

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A 16-bit WAV of interleaved samples, -1 to 1.
fn wav(rate: u32, channels: u16, samples: &[f64]) -> File {
    let file = tempfile::tempfile().unwrap();
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(BufWriter::new(file.try_clone().unwrap()), spec).unwrap();
    for sample in samples {
        writer.write_sample((sample * 32767.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    file
}

/// A signal of `seconds` by its value at each second.
fn signal(rate: u32, seconds: f64, value: impl Fn(f64) -> f64) -> Vec<f64> {
    let samples = (seconds * f64::from(rate)) as usize;
    (0..samples).map(|n| value(n as f64 / f64::from(rate))).collect()
}

/// A voice of sorts: loud, wavering, never silent for long.
fn voice(t: f64) -> f64 {
    (TAU * 220.0 * t).sin() * (0.12 + 0.1 * (TAU * 0.7 * t).sin())
}

fn plan(longest: f64, channels: Channels) -> Plan {
    Plan {
        longest: Duration::from_secs_f64(longest),
        channels,
    }
}

fn parts(file: File, plan: Plan) -> (Vec<Part>, Summary) {
    let mut parts = Vec::new();
    let summary = split(file, None, &plan, &mut |part| {
        parts.push(part);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(summary.parts as usize, parts.len());
    let sent: f64 = parts.iter().map(|part| part.seconds).sum();
    assert!((summary.sent_seconds - sent).abs() < 1e-6);
    (parts, summary)
}

/// What a part's audio holds.
fn heard(part: &Part) -> Vec<i16> {
    let mut samples = Vec::new();
    decode(file(&part.audio), Some("flac"), &mut |block| {
        assert_eq!((block.rate, block.channels), (RATE, 1));
        samples.extend(block.samples.iter().map(|sample| (sample * 32768.0) as i16));
        Want::Samples
    })
    .unwrap();
    samples
}

#[test]
fn a_click_is_found_at_its_time_in_the_recording() {
    let clicks = [0.5, 4.25, 11.125, 16.5, 16.9, 28.75];
    let value = |t: f64| {
        if clicks.iter().any(|click| (t - click).abs() < 0.0003) {
            0.95
        } else if (5.0..10.0).contains(&t) || (20.0..27.5).contains(&t) {
            0.0
        } else {
            voice(t)
        }
    };
    for (rate, longest) in [
        (8_000, 3.7),
        (8_000, 600.0),
        (11_025, 5.0),
        (16_000, 2.0),
        (16_000, 13.0),
        (44_100, 10.0),
    ] {
        let (parts, summary) = parts(wav(rate, 1, &signal(rate, 30.0, value)), plan(longest, Channels::Mixed));
        assert!((summary.seconds - 30.0).abs() < 0.001);
        let mut found: Vec<f64> = Vec::new();
        for part in &parts {
            assert!(part.seconds <= longest);
            for (n, sample) in heard(part).into_iter().enumerate() {
                let at = part.recording_time(n as f64 / 16_000.0);
                if sample.unsigned_abs() > 15_000 && found.last().is_none_or(|last| at - last > 0.1) {
                    found.push(at);
                }
            }
        }
        assert_eq!(found.len(), clicks.len(), "{rate} Hz, {longest} s: {found:?}");
        for (found, click) in found.iter().zip(clicks) {
            assert!(
                (found - click).abs() < 0.002,
                "{rate} Hz, {longest} s: {found} for {click}"
            );
        }
    }
}

#[test]
fn resampling_does_not_drift() {
    for rate in [8_000_u32, 44_100] {
        let mut resampler = Resampler::new(rate).unwrap();
        let mut out = Vec::new();
        for _ in 0..30 {
            let mut second = vec![0.0; rate as usize];
            second[rate as usize / 2] = 0.9;
            resampler.push(&second, &mut out).unwrap();
        }
        resampler.finish(&mut out).unwrap();
        assert_eq!(out.len(), 30 * 16_000);
        for (n, second) in out.chunks(16_000).enumerate() {
            let peak = (0..16_000).max_by_key(|at| second[*at]).unwrap();
            let exact = (rate / 2) as f64 * 16_000.0 / f64::from(rate);
            assert!((peak as f64 - exact).abs() <= 1.0, "{rate} Hz, second {n}: {peak}");
        }
    }
}

#[test]
fn silence_has_no_parts() {
    let faint = |t: f64| 0.0005 * (TAU * 50.0 * t).sin();
    for value in [&(|_| 0.0) as &dyn Fn(f64) -> f64, &faint] {
        for seconds in [0.5, 2.0, 30.0] {
            let (parts, summary) = parts(
                wav(8_000, 1, &signal(8_000, seconds, value)),
                plan(10.0, Channels::Mixed),
            );
            assert!(parts.is_empty());
            assert_eq!((summary.seconds, summary.sent_seconds), (seconds, 0.0));
        }
    }
}

#[test]
fn long_silence_is_not_sent_at_the_start_in_the_middle_and_at_the_end() {
    let speech = |t: f64| (30.0..35.0).contains(&t) || (60.0..65.0).contains(&t);
    let samples = signal(8_000, 100.0, |t| if speech(t) { voice(t) } else { 0.0 });
    let (parts, summary) = parts(wav(8_000, 1, &samples), plan(600.0, Channels::Mixed));
    let [part] = &parts[..] else { panic!("{}", parts.len()) };
    // Each side of each silence keeps 0.3 s; half a second stands for the one in the middle.
    assert!((part.start - 29.7).abs() < 0.03, "{}", part.start);
    assert!((part.end - 65.3).abs() < 0.03, "{}", part.end);
    assert!((part.seconds - (0.3 + 5.0 + 0.3 + 0.5 + 0.3 + 5.0 + 0.3)).abs() < 0.08);
    for (sent, recorded) in [(0.3, 30.0), (5.65, 35.3), (6.05, 59.7), (6.4, 60.0), (7.4, 61.0)] {
        let time = part.recording_time(sent);
        assert!((time - recorded).abs() < 0.05, "{time} for {recorded}");
    }
    assert_eq!(summary.sent_seconds, part.seconds);
}

#[test]
fn speech_that_is_faint_and_pauses_that_are_short_are_sent() {
    // -45 dBFS, with pauses of 1.5 s.
    let samples = signal(8_000, 30.0, |t| {
        if t % 3.0 < 1.5 {
            0.008 * (TAU * 300.0 * t).sin()
        } else {
            0.0
        }
    });
    let (parts, _) = parts(wav(8_000, 1, &samples), plan(600.0, Channels::Mixed));
    assert_eq!((parts[0].start, parts[0].end, parts[0].seconds), (0.0, 30.0, 30.0));
}

#[test]
fn the_cut_is_in_the_pause() {
    let pauses = [17.0, 35.0, 52.3];
    let samples = signal(8_000, 60.0, |t| {
        let pause = pauses.iter().any(|pause| (0.0..0.4).contains(&(t - pause)));
        if pause { 0.0 } else { voice(t) + 0.2 }
    });
    let (parts, _) = parts(wav(8_000, 1, &samples), plan(20.0, Channels::Mixed));
    let starts: Vec<_> = parts.iter().map(|part| part.start).collect();
    assert_eq!(starts.len(), 4);
    for (start, pause) in starts[1..].iter().zip(pauses) {
        assert!((pause + 0.1..=pause + 0.3).contains(start), "{start} for {pause}");
    }
    for two in parts.windows(2) {
        assert_eq!(two[0].end, two[1].start);
    }
}

#[test]
fn a_cut_in_left_out_silence_sends_none_of_it() {
    let samples = signal(8_000, 40.0, |t| if (15.0..22.0).contains(&t) { 0.0 } else { voice(t) });
    let (parts, _) = parts(wav(8_000, 1, &samples), plan(20.0, Channels::Mixed));
    assert!((parts[0].end - 15.3).abs() < 0.03 && (parts[1].start - 21.7).abs() < 0.03);
    for part in &parts[..2] {
        assert!(
            (part.seconds - (part.end - part.start)).abs() < 1e-9,
            "there is no gap inside"
        );
    }
}

fn interleaved(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter()
        .zip(right)
        .flat_map(|(left, right)| [*left, *right])
        .collect()
}

#[test]
fn channels_are_cut_on_their_own() {
    let left = signal(8_000, 40.0, |t| if t < 20.0 { voice(t) } else { 0.0 });
    let right = signal(8_000, 40.0, |t| if t > 18.0 { voice(1.1 * t) } else { 0.0 });
    let recording = wav(8_000, 2, &interleaved(&left, &right));
    let measured = look(recording.try_clone().unwrap(), None, &plan(600.0, Channels::Separate)).unwrap();
    assert_eq!(
        (measured.seconds, measured.channels, measured.identical_channels),
        (40.0, 2, false)
    );
    let (separate, summary) = parts(recording.try_clone().unwrap(), plan(15.0, Channels::Separate));
    assert_eq!((summary.channels, summary.identical_channels), (2, false));
    for channel in [0, 1] {
        let own: Vec<_> = separate.iter().filter(|part| part.channel == channel).collect();
        assert!(own.iter().enumerate().all(|(n, part)| part.index as usize == n));
        let (start, end) = (own[0].start, own[own.len() - 1].end);
        let expected = [(0.0, 20.3), (17.7, 40.0)][channel as usize];
        assert!((start - expected.0).abs() < 0.03 && (end - expected.1).abs() < 0.03);
    }
    let (mixed, _) = parts(recording, plan(600.0, Channels::Mixed));
    assert_eq!((mixed[0].channel, mixed[0].start, mixed[0].end), (0, 0.0, 40.0));
}

#[test]
fn identical_channels_are_sent_once() {
    let left = signal(8_000, 20.0, voice);
    // A codec's trace.
    let right: Vec<_> = left
        .iter()
        .enumerate()
        .map(|(n, s)| s + 0.004 * (n as f64).sin())
        .collect();
    for right in [&left, &right] {
        let recording = wav(8_000, 2, &interleaved(&left, right));
        assert!(
            look(recording.try_clone().unwrap(), None, &plan(600.0, Channels::Separate))
                .unwrap()
                .identical_channels
        );
        let (parts, summary) = parts(recording, plan(600.0, Channels::Separate));
        assert!(summary.identical_channels);
        assert_eq!((parts.len(), parts[0].channel), (1, 0));
    }
}

#[test]
fn one_differing_word_makes_channels_differ() {
    let left = signal(8_000, 20.0, voice);
    for at in [0.0, 10.2, 19.7] {
        let right = signal(8_000, 20.0, |t| {
            voice(t)
                + if (at..at + 0.3).contains(&t) {
                    0.2 * (TAU * 500.0 * t).sin()
                } else {
                    0.0
                }
        });
        let recording = wav(8_000, 2, &interleaved(&left, &right));
        let measured = look(recording, None, &plan(600.0, Channels::Separate)).unwrap();
        assert!(!measured.identical_channels, "{at}");
        assert_eq!(measured.seconds, 20.0);
    }
}

#[test]
fn one_channel_asked_for_separately_is_one_channel() {
    let recording = wav(8_000, 1, &signal(8_000, 5.0, voice));
    let (parts, summary) = parts(recording, plan(600.0, Channels::Separate));
    assert_eq!(
        (parts.len(), summary.channels, summary.identical_channels),
        (1, 1, false)
    );
}

#[test]
fn recordings_as_they_come_are_read() {
    for (bytes, channels, seconds) in [(MONO, 1, 14.148_125), (DUAL, 2, 14.148_125)] {
        let measured = look(file(bytes), Some("mp3"), &plan(600.0, Channels::Separate)).unwrap();
        assert_eq!(measured.channels, channels);
        assert_eq!(measured.seconds, seconds);
        let (parts, summary) = parts(file(bytes), plan(600.0, Channels::Mixed));
        assert_eq!(parts.len(), 1);
        assert_eq!(summary.seconds, seconds);
        assert_eq!(summary.corrupt_packets, 0);
    }
    let (parts, summary) = parts(file(MP4), plan(600.0, Channels::Separate));
    assert_eq!((parts.len(), summary.channels, summary.corrupt_packets), (1, 1, 0));
    assert_eq!(
        look(file(MP4), None, &plan(600.0, Channels::Separate)).unwrap().seconds,
        summary.seconds
    );
}

#[test]
fn an_mp3_of_variable_bit_rate_without_a_header_is_read_to_its_end() {
    // Empty frames, MPEG-2.5, 8 kHz, mono: some at 160 kbit/s, from which its length would be guessed, then many at 8 kbit/s.
    let frame = |rate: u8, length: usize| {
        let mut frame = vec![0_u8; length];
        frame[..4].copy_from_slice(&[0xff, 0xe3, rate << 4 | 0x08, 0xc0]);
        frame
    };
    let bytes = [frame(14, 1_440).repeat(30), frame(1, 72).repeat(970)].concat();
    assert_eq!(
        look(file(&bytes), None, &plan(600.0, Channels::Separate))
            .unwrap()
            .seconds,
        72.0
    );
    let (_, summary) = parts(file(&bytes), plan(600.0, Channels::Mixed));
    assert_eq!(summary.seconds, 72.0);
}

#[test]
fn telephone_wav_is_read() {
    // 8 kHz mu-law, as in RFC 3551: 0xff and 0x7f are silence, 0x80 and 0x00 the peaks.
    for format in [6_u16, 7] {
        let data: Vec<u8> = (0..16_000).map(|n| if n % 40 < 20 { 0x90 } else { 0x10 }).collect();
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0".to_vec();
        bytes.extend(format.to_le_bytes());
        bytes.extend([1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0, 0, 0]);
        bytes.extend(b"fact\x04\0\0\0");
        bytes.extend(16_000_u32.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(16_000_u32.to_le_bytes());
        bytes.extend(data);
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let (parts, summary) = parts(file(&bytes), plan(600.0, Channels::Mixed));
        assert_eq!((parts.len(), summary.seconds), (1, 2.0));
    }
}

#[test]
fn the_encoders_delay_in_an_mp4_is_no_part_of_the_recording() {
    // The clip's edit list starts at its encoder's 1024 samples of delay.
    assert_eq!(mp4::media_start(&mut file(MP4)), Some(1024));
    assert_eq!(mp4::media_start(&mut file(MONO)), None);
    for length in 0..200 {
        assert_eq!(mp4::media_start(&mut file(&MP4[..length])), None);
    }
}

#[test]
fn a_file_that_breaks_off_gives_what_is_there() {
    let (whole, _) = parts(file(MONO), plan(600.0, Channels::Mixed));
    let (half, summary) = parts(file(&MONO[..MONO.len() / 2]), plan(600.0, Channels::Mixed));
    assert!((summary.seconds - 7.2).abs() < 0.3, "{}", summary.seconds);
    let (whole, half) = (heard(&whole[0]), heard(&half[0]));
    assert_eq!(whole[..80_000], half[..80_000]);

    let recording = wav(8_000, 1, &signal(8_000, 10.0, voice));
    recording.set_len(44 + 2 * 8_000 * 4).unwrap();
    let (_, summary) = parts(recording, plan(600.0, Channels::Mixed));
    assert!((summary.seconds - 4.0).abs() < 0.2, "{}", summary.seconds);
}

#[test]
fn damage_in_the_middle_is_skipped_and_times_after_it_hold() {
    let (whole, _) = parts(file(MONO), plan(600.0, Channels::Mixed));
    let mut damaged = MONO.to_vec();
    // Side information and main data of some of its frames of 288 bytes, but not their headers.
    let first = 10 + usize::from(MONO[8]) * 128 + usize::from(MONO[9]);
    for frame in 100..110 {
        let at = first + frame * 288;
        assert_eq!(damaged[at..at + 2], [0xff, 0xe3]);
        damaged[at + 4..at + 64].fill(0x7f);
    }
    let (parts, summary) = parts(file(&damaged), plan(600.0, Channels::Mixed));
    assert!(
        (1..=12).contains(&summary.corrupt_packets),
        "{}",
        summary.corrupt_packets
    );
    let (whole, damaged) = (heard(&whole[0]), heard(&parts[0]));
    assert_eq!(summary.seconds, 14.148_125);
    let tails = whole.iter().rev().zip(damaged.iter().rev()).take(40_000);
    let differ = tails.filter(|(whole, damaged)| whole.abs_diff(**damaged) > 50).count();
    assert_eq!(differ, 0);
}

#[test]
fn what_is_not_audio_is_refused() {
    let refused = |bytes: &[u8]| {
        let plan = plan(600.0, Channels::Separate);
        split(file(bytes), Some("mp3"), &plan, &mut |_| panic!("a part")).unwrap_err()
    };
    assert!(matches!(refused(b""), SplitError::Empty));
    assert!(matches!(
        refused(b"<?xml version=\"1.0\"?><Error/>"),
        SplitError::Unsupported
    ));
    assert!(matches!(refused(&[0x55; 100_000]), SplitError::Unsupported));
    assert!(matches!(refused(&MP4[..MP4.len() / 2]), SplitError::Unsupported));
    assert!(matches!(
        look(file(b""), None, &plan(600.0, Channels::Separate)),
        Err(SplitError::Empty)
    ));

    let header = wav(8_000, 1, &[]);
    let plan = plan(600.0, Channels::Mixed);
    assert!(matches!(
        split(header, None, &plan, &mut |_| panic!("a part")),
        Err(SplitError::Empty)
    ));
}

#[test]
fn the_same_file_gives_the_same_parts() {
    let once = || {
        let (parts, _) = parts(file(DUAL), plan(3.0, Channels::Separate));
        let of = |part: Part| (part.index, part.channel, part.spans, part.audio);
        parts.into_iter().map(of).collect::<Vec<_>>()
    };
    let first = once();
    assert!(first.len() > 4);
    assert!(first == once());
}

#[test]
fn no_more_is_made_than_is_wanted() {
    let recording = wav(8_000, 1, &signal(8_000, 60.0, voice));
    let mut seen = 0;
    let summary = split(recording, None, &plan(10.0, Channels::Mixed), &mut |_| {
        seen += 1;
        if seen == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!((seen, summary.parts), (2, 2));
    assert!(summary.seconds < 30.0);
}

#[test]
fn the_longest_part_of_noise_is_under_the_limit_of_the_api() {
    let mut state = 1_u32;
    let noise: Vec<i16> = (0..16_000 * 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        })
        .collect();
    let bytes = flac::encode(&noise).unwrap().len() as f64;
    assert!(bytes / 20.0 * LONGEST.as_secs_f64() < 24.5 * 1024.0 * 1024.0);
}

#[test]
fn flac_of_any_length_decodes_to_the_same_samples() {
    for length in [1, 2, 15, 16, 17, 31, 33, 100, 4_095, 4_096, 4_097, 8_193, 12_288] {
        let samples: Vec<i16> = (0..length).map(|n| (n * 7_919 % 60_013 - 30_000) as i16).collect();
        let spans = Spans(Vec::new());
        let audio = flac::encode(&samples).unwrap();
        let part = Part {
            index: 0,
            channel: 0,
            start: 0.0,
            end: 0.0,
            audio,
            seconds: 0.0,
            spans,
        };
        assert_eq!(heard(&part), samples, "{length}");
    }
}

/// Stretches of noise and of silence, in milliseconds.
fn stretches() -> impl Strategy<Value = Vec<(bool, u32)>> {
    prop::collection::vec((any::<bool>(), 1_u32..5_000), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_sample_is_lost_or_sent_twice(stretches in stretches(), longest in 2_000_usize..12_000, piece in 1_usize..5_000) {
        let mut state = 7_u32;
        let mut recording = Vec::new();
        for (loud, milliseconds) in stretches {
            for _ in 0..milliseconds * 16 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 16) as i16;
                recording.push(if loud { noise / 8 } else { noise / 8_192 });
            }
        }
        let longest = longest * 16;
        let mut cutter = Cutter::new(0, longest, true);
        let mut parts = Vec::new();
        for samples in recording.chunks(piece) {
            cutter.push(samples).unwrap();
            parts.extend(cutter.parts());
        }
        cutter.finish().unwrap();
        parts.extend(cutter.parts());

        let mut reached = 0;
        let mut left_out = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(part.index as usize, index);
            let heard = heard(part);
            prop_assert!(heard.len() <= longest);
            prop_assert_eq!(part.seconds, heard.len() as f64 / 16_000.0);
            prop_assert_eq!(part.spans.0[0].sent, 0);
            let mut sent = 0;
            for span in &part.spans.0 {
                prop_assert!(span.recorded >= reached, "twice");
                left_out.push(reached as usize..span.recorded as usize);
                let (from, length) = (span.recorded as usize, span.length as usize);
                prop_assert!(heard[sent..span.sent as usize].iter().all(|sample| *sample == 0), "a gap is silent");
                prop_assert!(heard[span.sent as usize..][..length] == recording[from..from + length]);
                sent = (span.sent + span.length) as usize;
                reached = span.recorded + span.length;
            }
            prop_assert_eq!(sent, heard.len());
        }
        left_out.push(reached as usize..recording.len());
        for lost in left_out {
            // But for what shares a frame of 20 ms with silence.
            let loud = recording[lost.clone()].iter().filter(|sample| sample.unsigned_abs() > 8).count();
            prop_assert!(loud == 0, "{loud} of {lost:?}");
        }
    }

    #[test]
    fn recording_time_is_monotone_and_inside_the_spans(
        lengths in prop::collection::vec((1_u64..100_000, 0_u64..10_000, 0_u64..1_000_000), 1..8),
        times in prop::collection::vec(-1.0..60.0_f64, 2..50),
    ) {
        let mut spans: Vec<Span> = Vec::new();
        for (length, gap, left_out) in lengths {
            let (sent, recorded) = spans.last().map_or((0, 0), |last| (last.sent + last.length, last.recorded + last.length));
            spans.push(Span { sent: sent + if sent > 0 { gap } else { 0 }, recorded: recorded + left_out, length });
        }
        let all = Spans(spans.clone());
        let mut times = times;
        times.sort_by(f64::total_cmp);
        let mapped: Vec<_> = times.iter().map(|time| all.recording_time(*time)).collect();
        prop_assert!(mapped.is_sorted(), "{mapped:?}");
        for time in mapped {
            let sample = time * 16_000.0;
            let inside = |span: &Span| (span.recorded as f64 - 0.01..=(span.recorded + span.length) as f64 + 0.01).contains(&sample);
            prop_assert!(spans.iter().any(inside));
        }
        for span in &spans {
            let middle = span.length as f64 / 2.0;
            let time = all.recording_time((span.sent as f64 + middle) / 16_000.0);
            prop_assert!((time * 16_000.0 - (span.recorded as f64 + middle)).abs() < 0.01);
        }
    }
}
