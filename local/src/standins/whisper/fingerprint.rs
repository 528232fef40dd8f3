//! Recognizes a clip from its decoded audio by the loudness of three frequency bands in steps of 50 ms. Bit rate, container, sample rate,
//! channels, and silence before and after hardly change this fingerprint; other speech does.

const STEPS_PER_SECOND: u64 = 20;
/// Upper edges of the bands in Hz, all within the range of an 8 kHz telephone recording.
const EDGES: [f32; 3] = [400.0, 1200.0, 3200.0];
/// Audio with a lower RMS than this (full scale is 1; -60 dB) is silence.
const SILENCE: f32 = 0.001;
/// A step with less than this fraction of the loudest step is a pause.
const PAUSE: f32 = 0.03;
/// A pause of this many steps (0.75 s) separates phrases.
const LONG_PAUSE: usize = 15;
/// The maximum shift and length difference, in steps, of two recordings of one clip. Encoders shift by a step or two.
const SHIFT: i64 = 5;
/// The minimum similarity of the same clip. With other codecs it is above 0.94, and for another clip below 0.6 (see the tests).
const SAME: f32 = 0.9;

/// The fingerprint of audio, which is extended during decoding: 12 bytes for each 50 ms.
#[derive(Default)]
pub(super) struct Fingerprint {
    steps: Vec<[f32; 3]>,
    low_pass: [f32; 3],
    sums: [f32; 3],
    in_step: u32,
    frames: u64,
}

impl Fingerprint {
    /// Processes the next interleaved samples.
    pub(super) fn push(&mut self, rate: u32, channels: usize, samples: &[f32]) {
        let [low, mid, high] = EDGES.map(|edge| 1.0 - (-std::f32::consts::TAU * edge / rate as f32).exp());
        let scale = 1.0 / channels as f32;
        let mut at = 0;
        // Plain locals and indices, because this code runs for every sample, also in debug builds.
        while at + channels <= samples.len() {
            let ([mut below_low, mut below_mid, mut below_high], [mut sum_low, mut sum_mid, mut sum_high]) =
                (self.low_pass, self.sums);
            let step_ends = ((self.steps.len() as u64 + 1) * u64::from(rate)).div_ceil(STEPS_PER_SECOND);
            let here = ((samples.len() - at) / channels).min((step_ends - self.frames) as usize);
            let end = at + here * channels;
            while at < end {
                let mut mono = samples[at];
                at += 1;
                let mut channel = 1;
                while channel < channels {
                    mono += samples[at];
                    at += 1;
                    channel += 1;
                }
                mono *= scale;
                below_low += low * (mono - below_low);
                below_mid += mid * (mono - below_mid);
                below_high += high * (mono - below_high);
                sum_low += below_low * below_low;
                sum_mid += (below_mid - below_low) * (below_mid - below_low);
                sum_high += (below_high - below_mid) * (below_high - below_mid);
            }
            self.low_pass = [below_low, below_mid, below_high];
            self.sums = [sum_low, sum_mid, sum_high];
            self.frames += here as u64;
            self.in_step += here as u32;
            if self.frames == step_ends {
                let count = self.in_step as f32;
                self.steps.push(self.sums.map(|sum| (sum / count).sqrt()));
                self.sums = [0.0; 3];
                self.in_step = 0;
            }
        }
    }

    fn loudness(step: &[f32; 3]) -> f32 {
        step.iter().sum()
    }

    fn loudest(&self) -> f32 {
        self.steps.iter().map(Self::loudness).fold(0.0, f32::max)
    }

    pub(super) fn is_silence(&self) -> bool {
        self.loudest() < SILENCE
    }

    /// The steps that are not pauses, as ranges.
    fn sounds(&self) -> Vec<std::ops::Range<usize>> {
        let pause = self.loudest() * PAUSE;
        let mut sounds: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, _) in self
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| Self::loudness(step) > pause)
        {
            match sounds.last_mut() {
                Some(sound) if sound.end == at => sound.end = at + 1,
                _ => sounds.push(at..at + 1),
            }
        }
        sounds
    }

    /// The steps between long pauses, with compressed values so that loud vowels do not dominate. The length of the pauses does not matter,
    /// because the caller may have shortened them.
    fn phrases(&self) -> Vec<Vec<[f32; 3]>> {
        let mut phrases: Vec<std::ops::Range<usize>> = Vec::new();
        for sound in self.sounds() {
            match phrases.last_mut() {
                Some(phrase) if sound.start - phrase.end < LONG_PAUSE => phrase.end = sound.end,
                _ => phrases.push(sound),
            }
        }
        let compressed =
            |phrase: std::ops::Range<usize>| self.steps[phrase].iter().map(|step| step.map(f32::sqrt)).collect();
        phrases.into_iter().map(compressed).collect()
    }

    /// Whether both are recordings of the same clip.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.similarity(other) > SAME
    }

    fn similarity(&self, other: &Self) -> f32 {
        let (ours, theirs) = (self.phrases(), other.phrases());
        if ours.is_empty() || ours.len() != theirs.len() {
            return 0.0;
        }
        let pairs = std::iter::zip(&ours, &theirs);
        let (mut alike, mut steps) = (0.0, 0);
        for (a, b) in pairs {
            if a.len().abs_diff(b.len()) as i64 > SHIFT {
                return 0.0;
            }
            let similarity = (-SHIFT..=SHIFT)
                .map(|shift| correlation(a, b, shift))
                .fold(0.0, f32::max);
            alike += similarity * a.len() as f32;
            steps += a.len();
        }
        alike / steps as f32
    }

    /// Start and end in seconds of each of `count` sentences. The longest pauses are assumed to be between sentences.
    pub(super) fn sentences(&self, count: usize) -> Vec<(f64, f64)> {
        let sounds = self.sounds();
        let mut breaks: Vec<usize> = (1..sounds.len()).collect();
        breaks.sort_by_key(|&at| std::cmp::Reverse(sounds[at].start - sounds[at - 1].end));
        breaks.truncate(count.saturating_sub(1));
        breaks.sort_unstable();
        breaks.push(sounds.len());
        let seconds = |step: usize| step as f64 / STEPS_PER_SECOND as f64;
        let mut first = 0;
        let mut spans = Vec::new();
        for next in breaks.into_iter().filter(|&next| next > 0) {
            spans.push((seconds(sounds[first].start), seconds(sounds[next - 1].end)));
            first = next;
        }
        spans
    }
}

/// Pearson's correlation of `a` and `b` shifted by `shift` steps. Missing steps count as silence.
fn correlation(a: &[[f32; 3]], b: &[[f32; 3]], shift: i64) -> f32 {
    let step = |of: &[[f32; 3]], at: i64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| of.get(at).copied())
            .unwrap_or_default()
    };
    let range = shift.min(0)..(a.len() as i64).max(b.len() as i64 + shift);
    let pairs = range.flat_map(|at| std::iter::zip(step(a, at), step(b, at - shift)));
    let (mut n, mut sa, mut sb, mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in pairs {
        n += 1.0;
        sa += x;
        sb += y;
        saa += x * x;
        sbb += y * y;
        sab += x * y;
    }
    let spread = ((saa - sa * sa / n) * (sbb - sb * sb / n)).sqrt();
    if spread > 0.0 {
        (sab - sa * sb / n) / spread
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::{clips::CLIPS, standins::audio::decode};

    fn fingerprint(bytes: &'static [u8]) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        decode(Cursor::new(bytes), |rate, channels, samples| {
            fingerprint.push(rate, channels, samples)
        })
        .unwrap();
        fingerprint
    }

    #[test]
    fn a_clip_matches_itself_in_every_encoding_and_no_other() {
        let clips: Vec<_> = CLIPS
            .iter()
            .flat_map(|clip| {
                [Some(clip.mp3), clip.dual_mp3, clip.mp4]
                    .into_iter()
                    .flatten()
                    .map(|bytes| (clip.name, fingerprint(bytes)))
            })
            .collect();
        for (name, one) in &clips {
            for (other_name, other) in &clips {
                let similarity = one.similarity(other);
                assert_eq!(
                    one.matches(other),
                    name == other_name,
                    "{name} and {other_name}: {similarity}"
                );
                assert!(name != other_name || similarity > 0.94, "{name}: {similarity}");
            }
        }
    }

    #[test]
    fn different_speech_of_the_same_length_is_not_similar() {
        let all: Vec<_> = CLIPS
            .iter()
            .map(|clip| fingerprint(clip.mp3).phrases().concat())
            .collect();
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                let length = one.len().min(other.len());
                let similarity = (-SHIFT..=SHIFT)
                    .map(|shift| correlation(&one[..length], &other[..length], shift))
                    .fold(0.0, f32::max);
                assert!(similarity < 0.6, "{similarity}");
            }
        }
    }

    #[test]
    fn a_clip_matches_itself_without_its_long_silences() {
        use shared::split::{AudioFile, Channels, LONGEST, Plan, split};
        for clip in &CLIPS {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, clip.mp3).unwrap();
            let plan = Plan {
                longest: LONGEST,
                longest_span: None,
                channels: Channels::Mixed,
            };
            let mut parts = Vec::new();
            let recording = AudioFile {
                file: &file,
                extension: Some("mp3"),
                promised_seconds: None,
                cancelled: &std::sync::atomic::AtomicBool::new(false),
            };
            split(&recording, &plan, &mut |part| {
                parts.push(part.audio);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
            let mut sent = Fingerprint::default();
            decode(Cursor::new(parts.remove(0)), |rate, channels, samples| {
                sent.push(rate, channels, samples)
            })
            .unwrap();
            let similarity = sent.similarity(&fingerprint(clip.mp3));
            assert!(similarity > 0.94, "{}: {similarity}", clip.name);
        }
    }

    #[test]
    fn sentences_are_separated_by_the_longest_pauses() {
        let spans = fingerprint(CLIPS[0].mp3).sentences(2);
        assert_eq!(spans.len(), 2);
        assert!(
            spans[0].0 > 0.5 && spans[0].1 < 13.0 && spans[1].0 > 20.0 && spans[1].1 < 37.0,
            "{spans:?}"
        );
    }

    #[test]
    fn only_inaudible_sound_is_silence() {
        let mut fingerprint = Fingerprint::default();
        fingerprint.push(8000, 1, &[0.0; 8000]);
        assert!(fingerprint.is_silence());
        fingerprint.push(8000, 1, &[0.1; 800]);
        assert!(!fingerprint.is_silence());
    }
}
