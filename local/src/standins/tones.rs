//! Synthetic speech for tests, which the stand-in for Whisper recognizes (see `whisper::tone_recognizer`). Each word of [`LEXICON`] is a chord
//! of three sines that lasts [`WORD_SECONDS`], followed by silence. Chords survive telephone audio, other sample rates and codecs.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

/// The length of each word in seconds.
pub const WORD_SECONDS: f64 = 0.2;

/// The frequencies of the sines in Hz.
pub(super) const TONES: [f64; 9] = [450.0, 730.0, 1030.0, 1340.0, 1660.0, 1990.0, 2310.0, 2640.0, 2960.0];
/// The amplitude of each of the three sines, where 1 is full scale.
const AMPLITUDE: f64 = 0.2;
/// The fade-in and fade-out of a word in seconds.
const FADE: f64 = 0.005;
/// The minimum silence between words in seconds.
const GAP: f64 = 0.1;
/// The pause in seconds that ends a sentence.
pub(super) const SENTENCE_PAUSE: f64 = 0.4;
const HEADER_BYTES: u64 = 44;
const CHUNK_BYTES: u64 = 64 * 1024;

/// All words, one for each combination of three of the nine tones.
#[rustfmt::skip]
pub const LEXICON: [&str; 84] = [
    "amber", "anchor", "apple", "autumn", "bamboo", "basket", "beacon", "berry", "bottle", "bridge", "butter", "candle",
    "canyon", "carpet", "castle", "cedar", "cherry", "circle", "cloud", "copper", "coral", "cotton", "crystal", "dancer",
    "desert", "dinner", "dragon", "eagle", "ember", "engine", "falcon", "feather", "finger", "forest", "garden", "ginger",
    "glacier", "hammer", "harbor", "hazel", "honey", "island", "ivory", "jacket", "jungle", "kettle", "ladder", "lantern",
    "lemon", "linen", "magnet", "maple", "marble", "meadow", "mirror", "needle", "nickel", "ocean", "olive", "orchid",
    "paper", "pebble", "pepper", "planet", "pocket", "quartz", "rabbit", "ribbon", "river", "rocket", "saddle", "salmon",
    "shadow", "silver", "spider", "summer", "temple", "thunder", "timber", "tunnel", "velvet", "walnut", "window", "winter",
];

/// The tones of each word, as indices, in the order of [`LEXICON`].
pub(super) fn chords() -> impl Iterator<Item = [usize; 3]> {
    let all = 0..TONES.len();
    all.clone().flat_map(move |low| {
        let all = all.clone();
        (low + 1..all.end).flat_map(move |mid| (mid + 1..all.end).map(move |high| [low, mid, high]))
    })
}

/// A word and its time in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Word {
    /// One of [`LEXICON`].
    pub word: &'static str,
    /// When the word starts.
    pub start: f64,
    /// When the word ends, which is [`WORD_SECONDS`] later.
    pub end: f64,
}

/// The words of one speaker, with their times.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    words: Vec<Word>,
    seconds: f64,
}

impl Script {
    /// These words at these seconds, in order.
    ///
    /// # Panics
    /// For a word that is not in [`LEXICON`], one that starts less than 0.1 s after the end of the one before, or one that ends after `seconds`.
    pub fn new<'a>(seconds: f64, words: impl IntoIterator<Item = (f64, &'a str)>) -> Self {
        let mut script = Script {
            words: Vec::new(),
            seconds,
        };
        for (start, word) in words {
            let known = LEXICON.iter().find(|known| **known == word);
            let known = known.unwrap_or_else(|| panic!("'{word}' is no word of the lexicon"));
            let earliest = script.words.last().map_or(0.0, |last| last.end + GAP - 1e-9);
            let end = start + WORD_SECONDS;
            assert!(
                start >= earliest && end <= seconds,
                "'{word}' at {start} s is too close to the word before, or to the end"
            );
            script.words.push(Word {
                word: known,
                start,
                end,
            });
        }
        script
    }

    /// `seconds` of speech that depend only on the seed: sentences of 4 to 12 words with 0.1 to 0.3 s between the words and 0.5 to 1.2 s between
    /// the sentences. The speech begins at 0.5 s and ends at least 0.2 s before the end.
    pub fn spoken(seconds: f64, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut words = Vec::new();
        let (mut ms, mut left) = (500, random.u32(4..=12));
        loop {
            let start = f64::from(ms) / 1000.0;
            if start + WORD_SECONDS > seconds - 0.2 {
                return Script::new(seconds, words);
            }
            words.push((start, LEXICON[random.usize(..LEXICON.len())]));
            ms += (WORD_SECONDS * 1000.0) as u32;
            left -= 1;
            if left == 0 {
                left = random.u32(4..=12);
                ms += random.u32(500..=1200);
            } else {
                ms += random.u32(100..=300);
            }
        }
    }

    /// Like [`Script::spoken`], for two speakers who take turns and never speak at the same time.
    pub fn dialogue(seconds: f64, seed: u64) -> [Self; 2] {
        let silent = || Script::new(seconds, []);
        let mut speakers = [silent(), silent()];
        let (mut turn, mut end) = (0, 0.0);
        for word in Script::spoken(seconds, seed).words {
            if word.start - end >= SENTENCE_PAUSE && end > 0.0 {
                turn = 1 - turn;
            }
            end = word.end;
            speakers[turn].words.push(word);
        }
        speakers
    }

    /// Removes the words between `from` and `to`, which leaves a long silence.
    pub fn silent_between(mut self, from: f64, to: f64) -> Self {
        self.words.retain(|word| word.end <= from || word.start >= to);
        self
    }

    /// The words in order.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The words, separated by spaces.
    pub fn text(&self) -> String {
        self.words.iter().map(|word| word.word).collect::<Vec<_>>().join(" ")
    }

    /// The length, including the silence at the end.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// A 16-bit PCM wav file of scripts. It is generated while it is read, so that memory use does not depend on its length.
#[derive(Clone, Debug)]
pub struct Wav {
    rate: u32,
    /// The scripts that are spoken on each channel.
    channels: Vec<Vec<Arc<Script>>>,
    /// The samples of the words in the scripts.
    voices: Arc<HashMap<&'static str, Vec<i16>>>,
    frames: u64,
}

impl Wav {
    /// A file with `rate` samples per second (at least 8000, for the highest tone), a channel for each script, and the length of the longest
    /// script.
    pub fn new(rate: u32, scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts: Vec<_> = scripts.into_iter().map(Arc::new).collect();
        let used = |word: &str| {
            scripts
                .iter()
                .any(|script| script.words.iter().any(|spoken| spoken.word == word))
        };
        let voices = std::iter::zip(LEXICON, chords())
            .filter(|(word, _)| used(word))
            .map(|(word, chord)| (word, voice(rate, chord)))
            .collect();
        let seconds = scripts.iter().map(|script| script.seconds).fold(0.0, f64::max);
        Wav {
            rate,
            voices: Arc::new(voices),
            channels: scripts.into_iter().map(|script| vec![script]).collect(),
            frames: (seconds * f64::from(rate)).round() as u64,
        }
    }

    /// The same with all speakers mixed on one channel, at lower volume.
    pub fn mixed(&self) -> Self {
        Wav {
            channels: vec![self.channels.concat()],
            ..self.clone()
        }
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// The file's size in bytes.
    pub fn length(&self) -> u64 {
        HEADER_BYTES + self.frames * self.frame_bytes()
    }

    fn frame_bytes(&self) -> u64 {
        self.channels.len() as u64 * 2
    }

    /// Up to 64 KiB of the file from byte `at`; empty at the end.
    pub fn chunk(&self, at: u64) -> Bytes {
        let Some(at) = at.checked_sub(HEADER_BYTES) else {
            let data = u32::try_from(self.length() - HEADER_BYTES).unwrap_or(u32::MAX);
            return wav_header(self.rate, self.channels.len() as u16, data).slice(at as usize..);
        };
        let frame_bytes = self.frame_bytes();
        let first = at / frame_bytes;
        if first >= self.frames {
            return Bytes::new();
        }
        let end = (first + CHUNK_BYTES / frame_bytes).min(self.frames);
        let mut data = vec![0; ((end - first) * frame_bytes) as usize];
        for (channel, scripts) in self.channels.iter().enumerate() {
            for script in scripts {
                self.speak(script, scripts.len() as i16, first..end, &mut data[channel * 2..]);
            }
        }
        Bytes::from(data).slice((at % frame_bytes) as usize..)
    }

    /// Adds the speech in these frames to `data`, which begins with the script's channel.
    fn speak(&self, script: &Script, share: i16, frames: std::ops::Range<u64>, data: &mut [u8]) {
        let frame_bytes = self.frame_bytes() as usize;
        let frame = |seconds: f64| (seconds * f64::from(self.rate)).round() as u64;
        let first = script.words.partition_point(|word| frame(word.end) + 1 < frames.start);
        for word in &script.words[first..] {
            let start = frame(word.start);
            if start >= frames.end {
                break;
            }
            let voice = self.voices[word.word].as_slice();
            let mut from = frames.start.saturating_sub(start) as usize;
            let to = voice.len().min((frames.end - start) as usize);
            // Plain indices, because this code runs for every sample, also in debug builds.
            while from < to {
                let at = (start + from as u64 - frames.start) as usize * frame_bytes;
                let sample = i16::from_le_bytes([data[at], data[at + 1]]) + voice[from] / share;
                [data[at], data[at + 1]] = sample.to_le_bytes();
                from += 1;
            }
        }
    }

    /// The whole file in chunks.
    pub fn chunks(&self) -> impl Iterator<Item = Bytes> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let chunk = self.chunk(at);
            at += chunk.len() as u64;
            Some(chunk).filter(|chunk| !chunk.is_empty())
        })
    }

    /// The whole file in memory.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length() as usize);
        self.chunks().for_each(|chunk| bytes.extend_from_slice(&chunk));
        bytes
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut impl io::Write) -> io::Result<()> {
        self.chunks().try_for_each(|chunk| to.write_all(&chunk))
    }
}

fn voice(rate: u32, chord: [usize; 3]) -> Vec<i16> {
    let samples = (WORD_SECONDS * f64::from(rate)).round() as u32;
    let sample = |n: u32| {
        let (at, left) = (f64::from(n) / f64::from(rate), f64::from(samples - n) / f64::from(rate));
        let swell = (at.min(left) / FADE).min(1.0);
        let sum: f64 = chord
            .iter()
            .map(|tone| (TAU * TONES[*tone] * at + *tone as f64).sin())
            .sum();
        (sum * swell * AMPLITUDE * 32767.0).round() as i16
    };
    (0..samples).map(sample).collect()
}

/// The header of a 16-bit PCM wav file.
pub(crate) fn wav_header(rate: u32, channels: u16, data_bytes: u32) -> Bytes {
    let frame = channels * 2;
    let mut header = BytesMut::with_capacity(HEADER_BYTES as usize);
    header.put_slice(b"RIFF");
    header.put_u32_le(data_bytes.saturating_add(36));
    header.put_slice(b"WAVEfmt ");
    header.put_u32_le(16);
    header.put_u16_le(1);
    header.put_u16_le(channels);
    header.put_u32_le(rate);
    header.put_u32_le(rate * u32::from(frame));
    header.put_u16_le(frame);
    header.put_u16_le(16);
    header.put_slice(b"data");
    header.put_u32_le(data_bytes);
    header.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_chord() {
        assert_eq!(chords().count(), LEXICON.len());
        assert!(LEXICON.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn spoken_text_depends_only_on_the_seed_and_has_natural_pauses() {
        let script = Script::spoken(300.0, 1);
        assert_eq!(script, Script::spoken(300.0, 1));
        assert_ne!(script.text(), Script::spoken(300.0, 2).text());
        let pauses = script.words().windows(2).map(|pair| pair[1].start - pair[0].end);
        let (sentences, gaps): (Vec<f64>, Vec<f64>) = pauses.partition(|pause| *pause >= SENTENCE_PAUSE);
        assert!(
            sentences.len() > 40 && gaps.len() > 300,
            "{} {}",
            sentences.len(),
            gaps.len()
        );
        assert!(gaps.iter().all(|gap| (0.0999..0.3001).contains(gap)));
        assert!(sentences.iter().all(|pause| (0.4999..1.2001).contains(pause)));
    }

    #[test]
    fn a_dialogue_has_the_words_of_both_speakers_one_at_a_time() {
        let both = Script::dialogue(60.0, 9);
        assert!(both.iter().all(|script| script.words().len() > 20));
        let mut words = [both[0].words(), both[1].words()].concat();
        words.sort_by(|one, other| one.start.total_cmp(&other.start));
        assert_eq!(words, Script::spoken(60.0, 9).words());
    }

    #[test]
    fn a_chunk_does_not_depend_on_where_reading_starts() {
        let wav = Wav::new(11_025, Script::dialogue(10.0, 4));
        let bytes = wav.bytes();
        assert_eq!(bytes.len() as u64, wav.length());
        assert_eq!((wav.channels(), wav.mixed().channels()), (2, 1));
        for at in (0..bytes.len()).step_by(997).chain([bytes.len()]) {
            let chunk = wav.chunk(at as u64);
            assert_eq!(chunk, bytes[at..at + chunk.len()], "{at}");
            assert_eq!(chunk.is_empty(), at == bytes.len());
        }
    }

    #[test]
    #[should_panic(expected = "'hello' is no word of the lexicon")]
    fn an_unknown_word_cannot_be_spoken() {
        Script::new(1.0, [(0.0, "hello")]);
    }
}
