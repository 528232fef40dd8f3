//! The prompt of a deployment: names and products that occur in its calls.

use crate::{
    clients::whisper::WhisperOptions,
    config::{ConfigError, Env},
    transcripts::Variant,
};

/// Stands for the name of the call's customer in a prompt.
const CUSTOMER_NAME: &str = "{customer_name}";
/// The maximum number of characters of a prompt.
pub const MAX_PROMPT: usize = 1000;
/// The maximum number of characters of a name in a prompt.
const MAX_NAME: usize = 100;

/// The prompt for requests that have none of their own.
///
/// It is an option of the transcript like a request's prompt, with `{customer_name}` as it is written there: the name belongs to the recording, and a
/// call whose name becomes known later keeps its transcript.
#[derive(Debug, Clone)]
pub struct Vocabulary(Option<String>);

impl Vocabulary {
    /// Reads `TRANSCRIPTION_PROMPT` (optional).
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let prompt = env.optional("TRANSCRIPTION_PROMPT").map(str::to_owned);
        let is_valid = |prompt: &String| {
            let rest = prompt.replace(CUSTOMER_NAME, "");
            prompt.chars().count() <= MAX_PROMPT && !rest.contains(['{', '}'])
        };
        match prompt.as_ref().is_none_or(is_valid) {
            true => Ok(Self(prompt)),
            false => Err(ConfigError::Invalid {
                name: "TRANSCRIPTION_PROMPT",
                expected: "at most 1000 characters without braces, except {customer_name}",
            }),
        }
    }

    /// The options with this prompt, unless they have a prompt.
    pub fn in_options(&self, options: WhisperOptions) -> WhisperOptions {
        WhisperOptions {
            prompt: options.prompt.or_else(|| self.0.clone()),
            ..options
        }
    }

    /// The options of a request without options.
    pub fn default_options(&self) -> WhisperOptions {
        self.in_options(WhisperOptions::default())
    }

    /// The variants that answer a request without a variant, in this order: the one of [`Vocabulary::default_options`], and the one without a prompt,
    /// because a transcript that was paid for before the prompt was set is still a transcript.
    pub fn default_variants(&self) -> Vec<Variant> {
        let mut variants = vec![Variant::of(&self.default_options())];
        if self.0.is_some() {
            variants.push(Variant::of(&WhisperOptions::default()));
        }
        variants
    }
}

/// Whether the prompt needs the customer's name.
pub(super) fn needs_customer_name(options: &WhisperOptions) -> bool {
    options
        .prompt
        .as_ref()
        .is_some_and(|prompt| prompt.contains(CUSTOMER_NAME))
}

/// The options with the name in their prompt; nothing stands for a name that is not known.
pub(super) fn with_customer_name(options: &WhisperOptions, name: Option<&str>) -> WhisperOptions {
    let name: String = name
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let name: String = name
        .chars()
        .filter(|letter| !letter.is_control())
        .take(MAX_NAME)
        .collect();
    let filled = |prompt: &String| {
        let filled = prompt.replace(CUSTOMER_NAME, &name);
        let ends: &[char] = if name.is_empty() { &[' ', ','] } else { &[] };
        Some(filled.trim_matches(ends).to_owned()).filter(|prompt| !prompt.is_empty())
    };
    WhisperOptions {
        prompt: options.prompt.as_ref().and_then(filled),
        ..options.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(prompt: &str) -> Result<Vocabulary, ConfigError> {
        Vocabulary::from_env(&Env::from_iter([("TRANSCRIPTION_PROMPT", prompt)]))
    }

    #[test]
    fn a_requests_own_prompt_wins_and_a_prompt_is_another_variant() {
        let vocabulary = vocabulary("Acme, Wonderwall").unwrap();
        let own = WhisperOptions {
            prompt: Some("Contoso".into()),
            ..WhisperOptions::default()
        };
        assert_eq!(vocabulary.in_options(own.clone()), own);
        assert_eq!(vocabulary.default_options().prompt.as_deref(), Some("Acme, Wonderwall"));
        let variants = vocabulary.default_variants();
        assert_eq!(variants.len(), 2);
        assert_eq!(variants[1].as_str(), "default");
        let none = self::vocabulary("").unwrap().default_variants();
        assert_eq!(none, [Variant::of(&WhisperOptions::default())]);
    }

    #[test]
    fn the_name_is_filled_in_as_one_line_and_an_unknown_one_leaves_nothing() {
        let options = WhisperOptions {
            prompt: Some("Acme, {customer_name}".into()),
            ..WhisperOptions::default()
        };
        let prompt = |name: Option<&str>| with_customer_name(&options, name).prompt.unwrap();
        assert_eq!(prompt(Some("Zoë\n  O'Neil\u{7}")), "Acme, Zoë O'Neil");
        assert_eq!(prompt(None), "Acme");
        assert!(prompt(Some(&"x".repeat(5000))).len() < 200);
        let only = WhisperOptions {
            prompt: Some("{customer_name}".into()),
            ..WhisperOptions::default()
        };
        assert_eq!(with_customer_name(&only, None), WhisperOptions::default());
        assert!(needs_customer_name(&options) && !needs_customer_name(&WhisperOptions::default()));
    }

    #[test]
    fn a_prompt_that_would_reach_the_model_with_braces_is_refused_at_the_start() {
        for prompt in ["{name}", "Acme {customer name}", "}", &"x".repeat(1001)] {
            assert!(vocabulary(prompt).is_err(), "{prompt}");
        }
        assert!(vocabulary(&"ä".repeat(1000)).is_ok());
    }
}
