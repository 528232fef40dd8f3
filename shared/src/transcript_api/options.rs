//! The options of a `POST` for a transcript.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use crate::{clients::whisper::WhisperOptions, http::ApiError, transcription::MAX_PROMPT};

/// Which timestamps a response contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// Timestamps of segments.
    Segment,
    /// Timestamps of segments and words.
    Word,
}

/// The fields that every request for a transcript can have.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TranscriptOptions {
    /// ISO 639-1 code of the language. Without it the model detects the language.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z]{2}$", example = "en"))]
    language: Option<String>,
    /// Text that guides the model, such as names that occur in the call.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 1000))]
    prompt: Option<String>,
    /// Transcription model. Without it, the deployment's.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^[A-Za-z0-9_./:-]{1,100}$", example = "whisper-1")
    )]
    model: Option<String>,
    /// Which timestamps the response contains.
    pub timestamps: Option<Timestamps>,
    /// Whether speakers are distinguished by channel; the default is `true`.
    speakers: Option<bool>,
    /// Whether a stored transcript is replaced by a new, paid one.
    pub(super) force: Option<bool>,
    /// Whether only the price is estimated.
    pub(super) dry_run: Option<bool>,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    unknown: BTreeMap<String, IgnoredAny>,
}

impl TranscriptOptions {
    /// Whether the request only asks for the price.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run == Some(true)
    }

    /// Validates the fields and converts them to the options for Whisper. `others` lists the request's other fields, for the error about an
    /// unknown field.
    pub fn options(&self, others: &str) -> Result<WhisperOptions, ApiError> {
        let invalid = |sentence: &str| ApiError::bad_request("invalid_parameter", sentence);
        if let Some(name) = self.unknown.keys().next() {
            let name: String = name.chars().take(64).collect();
            return Err(ApiError::bad_request(
                "invalid_body",
                format!(
                    "The body can't be used: unknown field {name:?}, expected one of {others}language, prompt, model, timestamps, speakers, \
                 force, dry_run."
                ),
            ));
        }
        let is_code = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
        if self.language.as_deref().is_some_and(|language| !is_code(language)) {
            return Err(invalid(
                "language must be an ISO 639-1 code of two lower-case letters, such as en.",
            ));
        }
        let is_prompt = |text: &str| (1..=MAX_PROMPT).contains(&text.chars().count());
        if self.prompt.as_deref().is_some_and(|prompt| !is_prompt(prompt)) {
            return Err(invalid("prompt must have 1 to 1000 characters."));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        let is_model = |text: &str| (1..=100).contains(&text.len()) && text.bytes().all(allowed);
        if self.model.as_deref().is_some_and(|model| !is_model(model)) {
            return Err(invalid(
                "model must be the name of a transcription model, such as whisper-1.",
            ));
        }
        Ok(WhisperOptions {
            language: self.language.clone(),
            prompt: self.prompt.clone(),
            model: self.model.clone(),
            mixed: self.speakers == Some(false),
        })
    }
}
