//! What is known of a model by its name.

/// Whether the model answers `verbose_json`, with segments and words.
pub fn gives_times(model: &str) -> bool {
    model.contains("whisper")
}

/// The longest audio in seconds that is sent to the model at once; `None` when only the file's size counts.
///
/// The gpt models take 1400 s, but they answer with at most 2,000 tokens, which fast speech fills in eight minutes; the rest would be missing
/// without a word.
pub fn longest_audio(model: &str) -> Option<f64> {
    (!gives_times(model) && model.contains("gpt")).then_some(420.0)
}

/// What OpenAI asks for a minute of audio, in USD. Unknown models count as the dearest, so that a budget holds.
pub fn price_per_minute(model: &str) -> f64 {
    match model {
        "gpt-transcribe" => 0.0045,
        _ if model.contains("mini-transcribe") => 0.003,
        _ => 0.006,
    }
}
