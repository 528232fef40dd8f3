//! Tone recognition at every sample rate, after codecs and cuts.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use shared::split::{AudioFile, Channels, Plan, split};

use super::*;
use crate::standins::{
    audio,
    tones::{Script, Wav},
};

fn recognize(file: impl AsRef<[u8]> + Send + Sync + 'static) -> Recognized {
    let mut recognizer = ToneRecognizer::default();
    audio::decode(Cursor::new(file), |rate, channels, samples| {
        recognizer.push(rate, channels, samples)
    })
    .unwrap();
    recognizer.finish()
}

/// Asserts that the recognized words are these, `offset` seconds later, with times accurate to 20 ms.
fn assert_words<'a>(recognized: &[Word], spoken: impl IntoIterator<Item = &'a Word>, offset: f64, context: &str) {
    let spoken: Vec<_> = spoken.into_iter().collect();
    let texts = |word: &Word| word.word;
    assert_eq!(
        recognized.iter().map(texts).collect::<Vec<_>>(),
        spoken.iter().map(|word| word.word).collect::<Vec<_>>(),
        "{context}"
    );
    for (recognized, spoken) in recognized.iter().zip(spoken) {
        let late = (
            recognized.start - spoken.start - offset,
            recognized.end - spoken.end - offset,
        );
        assert!(
            late.0.abs() <= 0.02 && late.1.abs() <= 0.02,
            "{context}: {recognized:?} for {spoken:?}"
        );
    }
}

#[test]
fn words_and_times_are_the_same_at_every_sample_rate() {
    for rate in [8000, 11_025, 16_000, 22_050, 44_100, 48_000] {
        let script = Script::spoken(30.0, u64::from(rate));
        let recognized = recognize(Wav::new(rate, [script.clone()]).bytes());
        assert!(recognized.tones);
        assert_words(&recognized.words, script.words(), 0.0, &format!("{rate} Hz"));
    }
}

#[test]
fn every_word_is_recognized() {
    let spaced = |(at, word)| (at as f64 * 0.3, word);
    let script = Script::new(26.0, tones::LEXICON.into_iter().enumerate().map(spaced));
    let recognized = recognize(Wav::new(8000, [script.clone()]).bytes());
    assert_words(&recognized.words, script.words(), 0.0, "lexicon");
}

#[test]
fn two_speakers_in_turn_are_recognized_in_one_channel_and_in_two() {
    let dual = Wav::new(8000, Script::dialogue(60.0, 3));
    let together = Script::spoken(60.0, 3);
    for wav in [dual.mixed(), dual] {
        let recognized = recognize(wav.bytes());
        assert_words(&recognized.words, together.words(), 0.0, "dialogue");
    }
}

/// Both files are `Wav::new(8000, [Script::spoken(6.0, 7)])`, encoded by ffmpeg with `-b:a 8k` and with `-ar 16000 -c:a aac -b:a 8k`.
#[test]
fn words_are_recognized_after_lossy_codecs() {
    let script = Script::spoken(6.0, 7);
    let mp3 = recognize(include_bytes!("../fixtures/tones.mp3"));
    assert_words(&mp3.words, script.words(), 0.0, "mp3");
    // The decoder does not remove the encoder's 1024 samples before the start.
    let mp4 = recognize(include_bytes!("../fixtures/tones.mp4"));
    assert_words(&mp4.words, script.words(), 0.064, "mp4");
}

#[test]
fn a_cut_shifts_all_words_and_loses_only_those_that_it_splits() {
    let script = Script::spoken(20.0, 11);
    let samples: Vec<f32> = Wav::new(8000, [script.clone()]).bytes()[44..]
        .chunks(2)
        .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
        .collect();
    for cut in (1..100).map(|cut| cut * 1301) {
        let (mut before, mut after) = (ToneRecognizer::default(), ToneRecognizer::default());
        before.push(8000, 1, &samples[..cut]);
        after.push(8000, 1, &samples[cut..]);
        let seconds = cut as f64 / 8000.0;
        // How much of the word is on each side of the cut. An ambiguous piece is not checked.
        let clear = |of: f64| !(0.6..0.8).contains(&(of / WORD_SECONDS));
        let split = script
            .words()
            .iter()
            .find(|word| word.start < seconds && seconds < word.end);
        let sides = split.map_or((0.0, 0.0), |word| (seconds - word.start, word.end - seconds));
        if !clear(sides.0) || !clear(sides.1) {
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
fn parts_of_any_length_have_the_words_and_times_of_the_recording() {
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
            longest_span: None,
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
            let recognized = recognize(part.audio.clone());
            assert_eq!(recognized.silences, [], "{context}");
            words[usize::from(part.channel)].extend(recognized.words.iter().map(|word| Word {
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
fn an_hour_is_recognized_in_the_memory_of_one_sound() {
    let script = Script::spoken(3600.0, 1).silent_between(1000.0, 1100.0);
    let mut recognizer = ToneRecognizer::default();
    for chunk in Wav::new(8000, [script.clone()]).chunks().skip(1) {
        let samples: Vec<f32> = chunk
            .chunks(2)
            .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0)
            .collect();
        recognizer.push(8000, 1, &samples);
        assert!(recognizer.sound.capacity() <= 2 * LONGEST_STEPS * recognizer.step.len());
    }
    let recognized = recognizer.finish();
    assert_words(&recognized.words, script.words(), 0.0, "an hour");
    let [(start, end)] = recognized.silences[..] else {
        panic!("{:?}", recognized.silences)
    };
    assert!(start < 1000.5 && end > 1099.5, "{start} {end}");
}

#[test]
fn noise_speech_and_silence_are_not_tones() {
    let noise: Vec<f32> = std::iter::repeat_with(|| fastrand::f32() * 0.5 - 0.25)
        .take(40_000)
        .collect();
    let mut recognizer = ToneRecognizer::default();
    recognizer.push(8000, 1, &noise);
    let recognized = recognizer.finish();
    assert!(!recognized.tones && recognized.words.is_empty());
    for clip in &crate::clips::CLIPS {
        let recognized = recognize(clip.mp3);
        assert!(!recognized.tones && recognized.words.is_empty(), "{}", clip.name);
    }
    let silence = ToneRecognizer::default().finish();
    assert!(!silence.tones && silence.silences.is_empty());
}

#[test]
fn words_at_the_same_time_are_not_recognized_but_are_tones() {
    let one = Script::new(2.0, [(0.2, "river"), (1.0, "castle")]);
    let other = Script::new(2.0, [(0.25, "lemon")]);
    let recognized = recognize(Wav::new(8000, [one, other]).mixed().bytes());
    assert!(recognized.tones);
    assert_eq!(
        recognized.words.iter().map(|word| word.word).collect::<Vec<_>>(),
        ["castle"]
    );
}
