//! Recognizes the words of [`tones`]: sounds are detected by their energy, and each sound is analyzed for the nine tones. At most one sound of
//! up to 0.4 s is in memory.

use crate::standins::tones::{self, TONES, WORD_SECONDS, Word};

/// The samples are reduced to about this rate in Hz by averaging neighbors.
const RATE: u32 = 8000;
const STEPS_PER_SECOND: u32 = 200;
/// A lower mean square than this (-54 dB of full scale) is silence.
const FLOOR: f32 = 4e-6;
/// A step with less than this fraction of the level of the preceding sounds is silence as well.
const HUSHED: f32 = 0.01;
/// The factor by which that level decreases in each step.
const FADING: f32 = 0.99;
/// A sound begins and ends where it has this fraction of its maximum energy.
const EDGE: f32 = 0.2;
/// A longer sound, in steps, is not a word and is analyzed in pieces of this length.
const LONGEST_STEPS: usize = 80;
/// The accepted lengths of a word in seconds.
const WORD: std::ops::Range<f64> = WORD_SECONDS * 0.7..WORD_SECONDS * 1.3;
/// The length of the window in seconds in which tones are measured.
const WINDOW: f64 = 0.025;
/// Sounds that are shorter than this, in seconds, have no pitch and count neither as tones nor as noise.
const CLICK: f64 = 0.02;
/// The fraction of the energy that must be in the tones.
const TONAL: f32 = 0.8;
/// The fraction that each of a chord's three tones must have.
const AUDIBLE: f32 = 0.1;
/// The minimum silence in seconds in which the stand-in may hallucinate text.
const LONG_SILENCE: f64 = 5.0;

/// The result, with times in seconds.
#[derive(Debug)]
pub(super) struct Recognized {
    /// Whether the audio consists of tones, and not of noise or real speech.
    pub(super) tones: bool,
    pub(super) words: Vec<Word>,
    /// Silences of 5 s or more.
    pub(super) silences: Vec<(f64, f64)>,
}

/// Recognizes words during decoding.
#[derive(Default)]
pub(super) struct ToneRecognizer {
    rate: f64,
    /// The sum of `averaged` frames for the next sample.
    sum: f32,
    averaged: usize,
    /// The samples of the next step, of which `filled` are set.
    step: Vec<f32>,
    filled: usize,
    /// The number of samples before the step.
    at: u64,
    level: f32,
    sound: Vec<f32>,
    energies: Vec<f32>,
    /// Whether `sound` continues a sound that was too long for a word.
    long: bool,
    /// Where the last sound ended.
    sound_end: f64,
    energy: f32,
    tonal: f32,
    words: Vec<Word>,
    silences: Vec<(f64, f64)>,
}

impl ToneRecognizer {
    /// Processes the next interleaved samples.
    pub(super) fn push(&mut self, rate: u32, channels: usize, samples: &[f32]) {
        let every = (rate / RATE).max(1) as usize;
        if self.step.is_empty() {
            self.rate = f64::from(rate) / every as f64;
            self.step = vec![0.0; (self.rate / f64::from(STEPS_PER_SECOND)).round() as usize];
        }
        let scale = 1.0 / (every * channels) as f32;
        let mut at = 0;
        // Plain locals and indices, because this code runs for every sample, also in debug builds.
        while at + channels <= samples.len() {
            let (mut sum, mut averaged, mut filled) = (self.sum, self.averaged, self.filled);
            let step = self.step.as_mut_slice();
            let length = step.len();
            while filled < length && at + channels <= samples.len() {
                let mut channel = 0;
                while channel < channels {
                    sum += samples[at];
                    at += 1;
                    channel += 1;
                }
                averaged += 1;
                if averaged == every {
                    step[filled] = sum * scale;
                    filled += 1;
                    (sum, averaged) = (0.0, 0);
                }
            }
            (self.sum, self.averaged, self.filled) = (sum, averaged, filled);
            if filled == length {
                self.finish_step();
            }
        }
    }

    fn finish_step(&mut self) {
        let energy = energy(&self.step) / self.step.len() as f32;
        self.level = (self.level * FADING).max(energy);
        if energy > FLOOR && energy > self.level * HUSHED {
            self.sound.extend_from_slice(&self.step);
            self.energies.push(energy);
            if self.energies.len() == LONGEST_STEPS {
                self.long = true;
                self.finish_sound(self.at + self.step.len() as u64);
            }
        } else {
            self.finish_sound(self.at);
            self.long = false;
        }
        self.at += self.step.len() as u64;
        self.filled = 0;
    }

    /// Analyzes the sound that ended at sample `end`.
    fn finish_sound(&mut self, end: u64) {
        let loud = self.energies.iter().copied().fold(0.0, f32::max) * EDGE;
        let steps = self.energies.iter().position(|energy| *energy > loud);
        let Some((first, last)) = steps.zip(self.energies.iter().rposition(|energy| *energy > loud)) else {
            return;
        };
        let step = self.step.len();
        let seconds = |sample: u64| sample as f64 / self.rate;
        let begin = end - self.sound.len() as u64;
        let (start, end) = (
            seconds(begin + (first * step) as u64),
            seconds(begin + ((last + 1) * step) as u64),
        );
        self.record_silence_until(start);
        self.sound_end = end;
        let sound = &self.sound[first * step..(last + 1) * step];
        if end - start >= CLICK {
            let energy = energy(sound);
            let tones = self.tones(sound);
            self.energy += energy;
            self.tonal += tones.iter().sum::<f32>().min(energy);
            let whole = !self.long && WORD.contains(&(end - start));
            if let Some(word) = word(tones, energy).filter(|_| whole) {
                self.words.push(Word { word, start, end });
            }
        }
        self.sound.clear();
        self.energies.clear();
    }

    /// The energy of each tone, by Goertzel's algorithm.
    fn tones(&self, sound: &[f32]) -> [f32; TONES.len()] {
        let windows = (sound.len() as f64 / self.rate / WINDOW).max(1.0) as usize;
        let mut energies = [0.0; TONES.len()];
        for window in sound.chunks(sound.len().div_ceil(windows)) {
            let length = window.len();
            for (energy, tone) in energies.iter_mut().zip(TONES) {
                let twice = (2.0 * (std::f64::consts::TAU * tone / self.rate).cos()) as f32;
                let (mut one, mut two, mut at) = (0.0_f32, 0.0_f32, 0);
                while at < length {
                    (one, two) = (window[at] + twice * one - two, one);
                    at += 1;
                }
                *energy += (one * one + two * two - twice * one * two) * 2.0 / length as f32;
            }
        }
        energies
    }

    fn record_silence_until(&mut self, end: f64) {
        if end - self.sound_end >= LONG_SILENCE {
            self.silences.push((self.sound_end, end));
        }
    }

    /// The result after all samples were pushed.
    pub(super) fn finish(mut self) -> Recognized {
        self.finish_sound(self.at);
        if self.rate > 0.0 {
            self.record_silence_until(self.at as f64 / self.rate);
        }
        Recognized {
            tones: self.energy > 0.0 && self.tonal >= self.energy * TONAL,
            words: self.words,
            silences: self.silences,
        }
    }
}

fn energy(samples: &[f32]) -> f32 {
    let (mut sum, mut at) = (0.0, 0);
    while at < samples.len() {
        sum += samples[at] * samples[at];
        at += 1;
    }
    sum
}

/// The word whose three tones have most of the energy.
fn word(energies: [f32; TONES.len()], energy: f32) -> Option<&'static str> {
    let loud = |tone: &usize| energies[*tone] >= energy * AUDIBLE;
    let chord: Vec<usize> = (0..TONES.len()).filter(loud).collect();
    let sum: f32 = chord.iter().map(|tone| energies[*tone]).sum();
    let at = tones::chords().position(|known| known[..] == chord)?;
    (sum >= energy * TONAL).then_some(tones::LEXICON[at])
}

#[cfg(test)]
mod tests;
