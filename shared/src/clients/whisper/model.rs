//! Properties of models according to OpenAI's documentation: initial capabilities and prices.

use super::format::Format;

/// The most complete response format that OpenAI documents for the model, or the most complete format for models of other providers.
pub(super) fn documented_format(model: &str) -> Format {
    if is_gpt(model) && model.contains("diarize") {
        Format::Diarized
    } else if is_gpt(model) {
        Format::Json
    } else {
        Format::Words
    }
}

/// The maximum length in seconds of one upload for the model; `None` if only the file's size is limited.
///
/// The gpt models accept 1400 s, but they return at most 2,000 tokens, which fast speech exceeds after eight minutes; the rest would be missing
/// without an error.
pub(super) fn documented_longest(model: &str) -> Option<f64> {
    is_gpt(model).then_some(420.0)
}

/// OpenAI's price for a minute of audio in USD. Unknown models count as the most expensive one, so that a budget is not exceeded.
pub(super) fn documented_price_per_minute(model: &str) -> f64 {
    match model {
        "gpt-transcribe" => 0.0045,
        _ if model.contains("mini-transcribe") => 0.003,
        _ => 0.006,
    }
}

/// Whether the model is one of OpenAI's gpt models, possibly with the prefix of a gateway's provider.
fn is_gpt(model: &str) -> bool {
    model.rsplit('/').next().is_some_and(|name| name.starts_with("gpt-")) && model.contains("transcribe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_begin_as_openai_documents_its_models_and_with_everything_for_others() {
        for (model, format, longest, price) in [
            ("whisper-1", Format::Words, None, 0.006),
            ("gpt-4o-transcribe", Format::Json, Some(420.0), 0.006),
            ("openai/gpt-4o-mini-transcribe", Format::Json, Some(420.0), 0.003),
            ("gpt-4o-transcribe-diarize", Format::Diarized, Some(420.0), 0.006),
            ("gpt-transcribe", Format::Json, Some(420.0), 0.0045),
            ("Systran/faster-distil-large-v3", Format::Words, None, 0.006),
            ("parakeet-tdt-0.6b-v3", Format::Words, None, 0.006),
        ] {
            assert_eq!(documented_format(model), format, "{model}");
            assert_eq!(documented_longest(model), longest, "{model}");
            assert_eq!(documented_price_per_minute(model), price, "{model}");
        }
    }
}
