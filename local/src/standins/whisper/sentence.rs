//! Sentences and words of a transcript, with their times.

use crate::standins::tones;

/// The maximum length of a segment of synthetic speech in seconds.
const SEGMENT_SECONDS: f64 = 30.0;

pub(super) struct Sentence {
    pub(super) text: String,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) words: Vec<Word>,
    pub(super) hallucinated: bool,
}

pub(super) struct Word {
    /// The word without punctuation.
    pub(super) word: String,
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Sentence {
    /// A sentence whose time is distributed to its words by their numbers of letters.
    pub(super) fn spread(text: &str, start: f64, end: f64) -> Self {
        let letters = |word: &str| word.chars().count() as f64;
        let per_letter = (end - start) / text.split(' ').map(letters).sum::<f64>();
        let mut at = start;
        let timed = |word: &str| {
            let start = at;
            at = (start + letters(word) * per_letter).min(end);
            Word {
                word: without_punctuation(word).to_owned(),
                start,
                end: at,
            }
        };
        Sentence {
            text: text.to_owned(),
            words: text.split(' ').map(timed).collect(),
            start,
            end,
            hallucinated: false,
        }
    }
}

/// A word without the punctuation after it.
pub(super) fn without_punctuation(word: &str) -> &str {
    word.trim_end_matches([',', '.', '?'])
}

pub(super) fn text(sentences: &[Sentence]) -> String {
    let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    texts.join(" ")
}

/// Groups recognized words into sentences, which end at pauses or at the maximum length.
pub(super) fn sentences(words: &[tones::Word]) -> Vec<Sentence> {
    let mut sentences: Vec<Sentence> = Vec::new();
    for tones::Word { word, start, end } in words {
        let timed = Word {
            word: (*word).to_owned(),
            start: *start,
            end: *end,
        };
        match sentences.last_mut() {
            Some(last) if start - last.end < tones::SENTENCE_PAUSE && end - last.start <= SEGMENT_SECONDS => {
                last.end = *end;
                last.text.push(' ');
                last.text.push_str(word);
                last.words.push(timed);
            }
            _ => sentences.push(Sentence {
                text: timed.word.clone(),
                start: *start,
                end: *end,
                words: vec![timed],
                hallucinated: false,
            }),
        }
    }
    sentences
}
