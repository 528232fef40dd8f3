mod channels;
mod cutting;
mod damage;
mod encoding;
mod formats;
mod headers;
mod hostile;
mod matrix;
mod peaks;
mod properties;
mod reports;

use std::{
    f64::consts::TAU,
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
    sync::atomic::AtomicBool,
    time::Duration,
};

use super::{cut::Cutter, decode::decode, part::Span, resample::Resampler, *};

const MONO: &[u8] = include_bytes!("../../../../local/demo/clips/appointment.mp3");
const DUAL: &[u8] = include_bytes!("../../../../local/demo/clips/appointment.dual.mp3");
const MP4: &[u8] = include_bytes!("../../../../local/demo/clips/callback-request.mp4");

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

/// A signal of this length, given as a function of time.
fn signal(rate: u32, seconds: f64, value: impl Fn(f64) -> f64) -> Vec<f64> {
    let samples = (seconds * f64::from(rate)) as usize;
    (0..samples).map(|n| value(n as f64 / f64::from(rate))).collect()
}

/// A signal like a voice: loud, with changing amplitude, and never silent for long.
fn voice(t: f64) -> f64 {
    (TAU * 220.0 * t).sin() * (0.12 + 0.1 * (TAU * 0.7 * t).sin())
}

fn plan(longest: f64, channels: Channels) -> Plan {
    Plan {
        longest: Duration::from_secs_f64(longest),
        channels,
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

fn recording(file: &File) -> AudioFile<'_> {
    AudioFile {
        file,
        extension: None,
        promised_seconds: None,
        cancelled: &NEVER,
    }
}

fn analyzed(file: &File, channels: Channels) -> Analysis {
    analyze(&recording(file), &plan(600.0, channels)).unwrap()
}

fn parts(file: File, plan: Plan) -> (Vec<Part>, Analysis) {
    let mut parts = Vec::new();
    let analysis = split(&recording(&file), &plan, &mut |part| {
        parts.push(part);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(analysis.parts as usize, parts.len());
    let sent: f64 = parts.iter().map(|part| part.seconds).sum();
    assert!((analysis.sent_seconds - sent).abs() < 1e-6);
    (parts, analysis)
}

/// The samples of a part and their rate.
fn decoded(part: &Part) -> (Vec<i16>, u32) {
    let mut samples = Vec::new();
    let mut rate = 0;
    decode(&recording(&file(&part.audio)), &mut |block| {
        assert_eq!(block.channels, 1);
        rate = block.rate;
        samples.extend(block.samples.iter().map(|sample| (sample * 32768.0) as i16));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    (samples, rate)
}

/// The samples of a part.
fn samples_of(part: &Part) -> Vec<i16> {
    decoded(part).0
}

fn interleaved(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter()
        .zip(right)
        .flat_map(|(left, right)| [*left, *right])
        .collect()
}
