//! Hearing the words of [`tones`](super::tones): sounds are told from silence by their energy, and each is looked at for the nine tones.
//! One sound of at most 0.4 s is in memory at a time.

use super::tones::{self, TONES, WORD_SECONDS, Word};

/// The samples are brought down to about this rate, in Hz, by averaging neighbours.
const RATE: u32 = 8000;
const STEPS_PER_SECOND: u32 = 200;
/// Quieter than this mean square (-54 dB of full scale 1) is silence,
const FLOOR: f32 = 4e-6;
/// and so is what is this much quieter than the sounds just before, which fade
const HUSHED: f32 = 0.01;
/// by this much in a step.
const FADING: f32 = 0.99;
/// A sound begins and ends where it has this share of its highest energy.
const EDGE: f32 = 0.2;
/// A longer sound is no word; it is looked at in pieces of this length, in steps.
const LONGEST_STEPS: usize = 80;
/// How much of a word must be there, and how much too long it may be, in seconds.
const WORD: std::ops::Range<f64> = WORD_SECONDS * 0.7..WORD_SECONDS * 1.3;
/// Tones are measured over this many seconds at once.
const WINDOW: f64 = 0.025;
/// Shorter sounds, in seconds, are too short to have a pitch and neither tones nor noise.
const CLICK: f64 = 0.02;
/// The share of the energy that must be in the tones.
const TONAL: f32 = 0.8;
/// The share that each of a chord's three tones must have.
const AUDIBLE: f32 = 0.1;
/// A silence that may make the stand-in invent text, in seconds.
const LONG_SILENCE: f64 = 5.0;

/// What was heard, with times in seconds.
#[derive(Debug)]
pub(super) struct Recognized {
    /// Whether it was tones at all, and not noise or real speech.
    pub(super) tones: bool,
    pub(super) words: Vec<Word>,
    /// Silences of 5 s or more.
    pub(super) silences: Vec<(f64, f64)>,
}

/// Hears audio while it is decoded.
#[derive(Default)]
pub(super) struct Ears {
    rate: f64,
    /// The sum of the `averaged` frames of the sample to come.
    sum: f32,
    averaged: usize,
    /// The step to come, `filled` up to there.
    step: Vec<f32>,
    filled: usize,
    /// Samples before the step.
    at: u64,
    level: f32,
    sound: Vec<f32>,
    energies: Vec<f32>,
    /// Whether `sound` goes on from one that was too long for a word.
    long: bool,
    /// Where the last sound ended.
    sound_end: f64,
    energy: f32,
    tonal: f32,
    words: Vec<Word>,
    silences: Vec<(f64, f64)>,
}

impl Ears {
    /// Takes the next interleaved samples.
    pub(super) fn push(&mut self, rate: u32, channels: usize, samples: &[f32]) {
        let every = (rate / RATE).max(1) as usize;
        if self.step.is_empty() {
            self.rate = f64::from(rate) / every as f64;
            self.step = vec![0.0; (self.rate / f64::from(STEPS_PER_SECOND)).round() as usize];
        }
        let scale = 1.0 / (every * channels) as f32;
        let mut at = 0;
        // Plain locals and indices: this runs for every sample, also in builds that do not optimise.
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
                self.take_step();
            }
        }
    }

    fn take_step(&mut self) {
        let energy = energy(&self.step) / self.step.len() as f32;
        self.level = (self.level * FADING).max(energy);
        if energy > FLOOR && energy > self.level * HUSHED {
            self.sound.extend_from_slice(&self.step);
            self.energies.push(energy);
            if self.energies.len() == LONGEST_STEPS {
                self.long = true;
                self.take_sound(self.at + self.step.len() as u64);
            }
        } else {
            self.take_sound(self.at);
            self.long = false;
        }
        self.at += self.step.len() as u64;
        self.filled = 0;
    }

    /// Looks at the sound that ended at sample `end`.
    fn take_sound(&mut self, end: u64) {
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
        self.silence_until(start);
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

    fn silence_until(&mut self, end: f64) {
        if end - self.sound_end >= LONG_SILENCE {
            self.silences.push((self.sound_end, end));
        }
    }

    /// What was heard, now that there is no more.
    pub(super) fn finish(mut self) -> Recognized {
        self.take_sound(self.at);
        if self.rate > 0.0 {
            self.silence_until(self.at as f64 / self.rate);
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

/// The word whose three tones make up the energy.
fn word(energies: [f32; TONES.len()], energy: f32) -> Option<&'static str> {
    let loud = |tone: &usize| energies[*tone] >= energy * AUDIBLE;
    let chord: Vec<usize> = (0..TONES.len()).filter(loud).collect();
    let sum: f32 = chord.iter().map(|tone| energies[*tone]).sum();
    let at = tones::chords().position(|known| known[..] == chord)?;
    (sum >= energy * TONAL).then_some(tones::LEXICON[at])
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::ops::ControlFlow;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use shared::split::{AudioFile, Channels, Plan, split};

    use super::super::audio;
    use super::tones::{Script, Wav};
    use super::*;

    fn hear(file: impl AsRef<[u8]> + Send + Sync + 'static) -> Recognized {
        let mut ears = Ears::default();
        audio::decode(Cursor::new(file), |rate, channels, samples| {
            ears.push(rate, channels, samples)
        })
        .unwrap();
        ears.finish()
    }

    /// That `heard` are these words, `offset` seconds later and with times right to 20 ms.
    fn assert_words<'a>(heard: &[Word], spoken: impl IntoIterator<Item = &'a Word>, offset: f64, context: &str) {
        let spoken: Vec<_> = spoken.into_iter().collect();
        let texts = |word: &Word| word.word;
        assert_eq!(
            heard.iter().map(texts).collect::<Vec<_>>(),
            spoken.iter().map(|word| word.word).collect::<Vec<_>>(),
            "{context}"
        );
        for (heard, spoken) in heard.iter().zip(spoken) {
            let late = (heard.start - spoken.start - offset, heard.end - spoken.end - offset);
            assert!(
                late.0.abs() <= 0.02 && late.1.abs() <= 0.02,
                "{context}: {heard:?} for {spoken:?}"
            );
        }
    }

    #[test]
    fn words_and_times_are_the_same_at_every_sample_rate() {
        for rate in [8000, 11_025, 16_000, 22_050, 44_100, 48_000] {
            let script = Script::spoken(30.0, u64::from(rate));
            let heard = hear(Wav::new(rate, [script.clone()]).bytes());
            assert!(heard.tones);
            assert_words(&heard.words, script.words(), 0.0, &format!("{rate} Hz"));
        }
    }

    #[test]
    fn every_word_is_heard_as_itself() {
        let spaced = |(at, word)| (at as f64 * 0.3, word);
        let script = Script::new(26.0, tones::LEXICON.into_iter().enumerate().map(spaced));
        let heard = hear(Wav::new(8000, [script.clone()]).bytes());
        assert_words(&heard.words, script.words(), 0.0, "lexicon");
    }

    #[test]
    fn two_speakers_in_turn_are_heard_together() {
        let dual = Wav::new(8000, Script::dialogue(60.0, 3));
        let together = Script::spoken(60.0, 3);
        for wav in [dual.mixed(), dual] {
            let heard = hear(wav.bytes());
            assert_words(&heard.words, together.words(), 0.0, "dialogue");
        }
    }

    /// Both files are `Wav::new(8000, [Script::spoken(6.0, 7)])` by ffmpeg: `-b:a 8k`, and `-ar 16000 -c:a aac -b:a 8k`.
    #[test]
    fn codecs_leave_the_words_what_they_are() {
        let script = Script::spoken(6.0, 7);
        let mp3 = hear(include_bytes!("fixtures/tones.mp3"));
        assert_words(&mp3.words, script.words(), 0.0, "mp3");
        // The encoder's 1024 samples before the start are not left out by the decoder.
        let mp4 = hear(include_bytes!("fixtures/tones.mp4"));
        assert_words(&mp4.words, script.words(), 0.064, "mp4");
    }

    #[test]
    fn a_cut_shifts_all_words_and_loses_those_it_goes_through() {
        let script = Script::spoken(20.0, 11);
        let samples: Vec<f32> = Wav::new(8000, [script.clone()]).bytes()[44..]
            .chunks(2)
            .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
            .collect();
        for cut in (1..100).map(|cut| cut * 1301) {
            let (mut before, mut after) = (Ears::default(), Ears::default());
            before.push(8000, 1, &samples[..cut]);
            after.push(8000, 1, &samples[cut..]);
            let seconds = cut as f64 / 8000.0;
            // How much of the word is on either side of the cut; a piece that is neither whole nor lost is not looked at.
            let judged = |of: f64| !(0.6..0.8).contains(&(of / WORD_SECONDS));
            let split = script
                .words()
                .iter()
                .find(|word| word.start < seconds && seconds < word.end);
            let sides = split.map_or((0.0, 0.0), |word| (seconds - word.start, word.end - seconds));
            if !judged(sides.0) || !judged(sides.1) {
                continue;
            }
            let whole = |of: f64| of > WORD_SECONDS * 0.7;
            let context = format!("cut at {seconds} s");
            let texts = |words: &[Word]| words.iter().map(|word| word.word).collect::<Vec<_>>();
            let spoken = |is_there: &dyn Fn(&Word) -> bool| {
                texts(&script.words().iter().copied().filter(is_there).collect::<Vec<_>>())
            };
            let (before, after) = (before.finish().words, after.finish().words);
            assert_eq!(
                texts(&before),
                spoken(&|word| word.end <= seconds || whole(seconds - word.start)),
                "{context}"
            );
            assert_eq!(
                texts(&after),
                spoken(&|word| word.start >= seconds || whole(word.end - seconds)),
                "{context}"
            );
            let untouched = script.words().iter().filter(|word| word.start >= seconds);
            let first = usize::from(whole(sides.1));
            assert_words(&after[first..], untouched, -seconds, &context);
        }
    }

    #[test]
    fn parts_of_any_length_tell_the_words_at_the_times_of_the_recording() {
        let dialogue = Script::dialogue(120.0, 5).map(|script| script.silent_between(60.0, 80.0));
        let wav = Wav::new(8000, dialogue.clone());
        let together = Script::spoken(120.0, 5).silent_between(60.0, 80.0);
        for (longest, channels) in [
            (7, Channels::Mixed),
            (20, Channels::Mixed),
            (600, Channels::Mixed),
            (13, Channels::Separate),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            wav.write(&mut file).unwrap();
            let plan = Plan {
                longest: Duration::from_secs(longest),
                channels,
            };
            let mut words = [Vec::new(), Vec::new()];
            let context = format!("{channels:?}, at most {longest} s");
            let recording = AudioFile {
                file: &file,
                extension: None,
                promised_seconds: None,
                cancelled: &AtomicBool::new(false),
            };
            split(&recording, &plan, &mut |part| {
                let heard = hear(part.audio.clone());
                assert_eq!(heard.silences, [], "{context}");
                words[usize::from(part.channel)].extend(heard.words.iter().map(|word| Word {
                    start: part.recording_time(word.start),
                    end: part.recording_time(word.end),
                    ..*word
                }));
                ControlFlow::Continue(())
            })
            .unwrap();
            if channels == Channels::Mixed {
                assert_words(&words[0], together.words(), 0.0, &context);
            } else {
                assert_words(&words[0], dialogue[0].words(), 0.0, &context);
                assert_words(&words[1], dialogue[1].words(), 0.0, &context);
            }
        }
    }

    #[test]
    fn an_hour_is_heard_in_the_memory_of_one_sound() {
        let script = Script::spoken(3600.0, 1).silent_between(1000.0, 1100.0);
        let mut ears = Ears::default();
        for chunk in Wav::new(8000, [script.clone()]).chunks().skip(1) {
            let samples: Vec<f32> = chunk
                .chunks(2)
                .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
                .collect();
            ears.push(8000, 1, &samples);
            assert!(ears.sound.capacity() <= 2 * LONGEST_STEPS * ears.step.len());
        }
        let heard = ears.finish();
        assert_words(&heard.words, script.words(), 0.0, "an hour");
        let [(start, end)] = heard.silences[..] else {
            panic!("{:?}", heard.silences)
        };
        assert!(start < 1000.5 && end > 1099.5, "{start} {end}");
    }

    #[test]
    fn only_tones_are_tones() {
        let noise: Vec<f32> = std::iter::repeat_with(|| fastrand::f32() * 0.5 - 0.25)
            .take(40_000)
            .collect();
        let mut ears = Ears::default();
        ears.push(8000, 1, &noise);
        let heard = ears.finish();
        assert!(!heard.tones && heard.words.is_empty());
        for clip in &crate::demo::CLIPS {
            let heard = hear(clip.mp3);
            assert!(!heard.tones && heard.words.is_empty(), "{}", clip.name);
        }
        let silence = Ears::default().finish();
        assert!(!silence.tones && silence.silences.is_empty());
    }

    #[test]
    fn those_who_speak_at_once_are_not_understood_but_are_tones() {
        let one = Script::new(2.0, [(0.2, "river"), (1.0, "castle")]);
        let other = Script::new(2.0, [(0.25, "lemon")]);
        let heard = hear(Wav::new(8000, [one, other]).mixed().bytes());
        assert!(heard.tones);
        assert_eq!(heard.words.iter().map(|word| word.word).collect::<Vec<_>>(), ["castle"]);
    }
}
