//! Settings of the transcription server.

use super::format::Format;
use crate::config::{ConfigError, Env};

/// What the environment says about the server, so that it need not be learned.
#[derive(Debug, Default)]
pub(super) struct WhisperSettings {
    pub(super) format: Option<Format>,
    pub(super) max_seconds: Option<f64>,
    pub(super) max_bytes: Option<u64>,
    pub(super) price_per_minute: Option<f64>,
}

impl WhisperSettings {
    pub(super) fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let invalid = |name, expected| ConfigError::Invalid { name, expected };
        let number = |name: &'static str, least: f64, most: f64, expected| match env.optional(name) {
            None => Ok(None),
            Some(text) => match text.parse::<f64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
                _ => Err(invalid(name, expected)),
            },
        };
        let format = env.optional("WHISPER_RESPONSE_FORMAT").map(|name| {
            let expected = "verbose_json, json, text or diarized_json, or empty";
            Format::parse(name).ok_or(invalid("WHISPER_RESPONSE_FORMAT", expected))
        });
        Ok(Self {
            format: format.transpose()?,
            max_seconds: number(
                "WHISPER_MAX_SECONDS",
                10.0,
                86_400.0,
                "a number of seconds from 10 to 86400, or empty",
            )?,
            max_bytes: number(
                "WHISPER_MAX_BYTES",
                262_144.0,
                1e9,
                "a number of bytes from 262144 to 1000000000, or empty",
            )?
            .map(|bytes| bytes as u64),
            price_per_minute: number(
                "WHISPER_PRICE_PER_MINUTE",
                0.0,
                100.0,
                "US dollars from 0 to 100, such as 0.006, or empty",
            )?,
        })
    }
}
