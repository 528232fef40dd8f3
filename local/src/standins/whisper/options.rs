//! The options in the fields of a request.

use axum::http::StatusCode;

use super::error::Refusal;

const MODELS: [&str; 5] = [
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-transcribe",
];
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Format {
    Json,
    Text,
    Srt,
    Vtt,
    VerboseJson,
}

pub(super) struct Options {
    pub(super) model: String,
    pub(super) format: Format,
    pub(super) temperature: f64,
    pub(super) segments: bool,
    pub(super) words: bool,
}

impl Options {
    pub(super) fn parse(fields: &[(String, String)]) -> Result<Self, Refusal> {
        let invalid = |param, message: String| Refusal::bad_request(Some(param), Some("invalid_value"), message);
        let mut model = None;
        let mut format = Format::Json;
        let mut temperature = 0.0;
        let (mut segments, mut words) = (false, false);
        for (name, value) in fields {
            match name.as_str() {
                "model" => model = Some(value.clone()),
                "language" => {
                    if !matches!(value.as_bytes(), [b'a'..=b'z', b'a'..=b'z']) {
                        let message = format!(
                            "Invalid language '{value}'. Language parameter must be specified in ISO-639-1 format."
                        );
                        return Err(Refusal::bad_request(
                            Some("language"),
                            Some("invalid_language_format"),
                            message,
                        ));
                    }
                }
                "prompt" => {}
                "response_format" => {
                    format = match value.as_str() {
                        "json" => Format::Json,
                        "text" => Format::Text,
                        "srt" => Format::Srt,
                        "vtt" => Format::Vtt,
                        "verbose_json" => Format::VerboseJson,
                        _ => {
                            let message = format!(
                                "Invalid response_format '{value}': json, text, srt, verbose_json or vtt is expected."
                            );
                            return Err(invalid("response_format", message));
                        }
                    }
                }
                "temperature" => {
                    temperature = value
                        .parse()
                        .ok()
                        .filter(|value| (0.0..=1.0).contains(value))
                        .ok_or_else(|| {
                            invalid(
                                "temperature",
                                format!("Invalid temperature '{value}': a number from 0 to 1 is expected."),
                            )
                        })?;
                }
                "timestamp_granularities[]" => match value.as_str() {
                    "segment" => segments = true,
                    "word" => words = true,
                    _ => {
                        let message = format!("Invalid timestamp granularity '{value}': word or segment is expected.");
                        return Err(invalid("timestamp_granularities", message));
                    }
                },
                _ => {
                    return Err(Refusal::bad_request(
                        None,
                        None,
                        format!("Unrecognized request argument supplied: {name}"),
                    ));
                }
            }
        }
        let missing = || {
            Refusal::bad_request(
                Some("model"),
                Some("missing_required_parameter"),
                "Missing required parameter: 'model'.",
            )
        };
        let model = model.ok_or_else(missing)?;
        if !MODELS.contains(&model.as_str()) {
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            let refusal = Refusal::bad_request(None, Some("model_not_found"), message);
            return Err(Refusal {
                status: StatusCode::NOT_FOUND,
                ..refusal
            });
        }
        if model != "whisper-1" && !matches!(format, Format::Json | Format::Text) {
            let message =
                format!("This response_format is not compatible with model '{model}'. Use 'json' or 'text' instead.");
            return Err(Refusal::bad_request(
                Some("response_format"),
                Some("unsupported_value"),
                message,
            ));
        }
        if (segments || words) && format != Format::VerboseJson {
            let message = "timestamp_granularities need response_format verbose_json.";
            return Err(invalid("timestamp_granularities", message.into()));
        }
        Ok(Options {
            model,
            format,
            temperature,
            segments: segments || !words,
            words,
        })
    }
}
