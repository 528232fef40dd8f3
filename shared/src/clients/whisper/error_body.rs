//! Parses error bodies in the formats of different servers.

use reqwest::StatusCode;
use serde_json::Value;

/// A parameter that a server can reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    ResponseFormat,
    TimestampGranularities,
    ChunkingStrategy,
    Language,
    Prompt,
    Temperature,
    KnownSpeakers,
}

/// An error body: OpenAI's `{"error": {message, type, param, code}}`, the same fields at the top level (vLLM), `{"error": "text"}`
/// (whisper.cpp), `{"detail": ...}` (FastAPI), `{"errors": [...]}` (gateways), or plain text.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    pub(super) message: String,
    pub(super) kind: String,
    pub(super) code: String,
    param: String,
}

/// Messages are truncated to this length.
const MAX_MESSAGE: usize = 2000;

impl ErrorBody {
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let Ok(body) = serde_json::from_str::<Value>(&text) else {
            let text = text.trim();
            let message = if text.starts_with(['<', '{', '[', '"']) {
                ""
            } else {
                text
            };
            return Self {
                message: message.chars().take(MAX_MESSAGE).collect(),
                ..Self::default()
            };
        };
        Self::find(&body).unwrap_or_default()
    }

    /// The error in a body with status 200, which some servers return.
    pub(super) fn in_success(body: &Value) -> Option<Self> {
        let has_error = ["error", "errors", "detail"]
            .iter()
            .any(|name| body.get(name).is_some_and(|value| !value.is_null()));
        let is_error = body.get("object").and_then(Value::as_str) == Some("error");
        (has_error || is_error).then(|| Self::find(body)).flatten()
    }

    fn find(body: &Value) -> Option<Self> {
        let error = ["error", "detail", "errors"]
            .iter()
            .find_map(|name| body.get(name).filter(|value| !value.is_null()));
        match error {
            Some(Value::Array(list)) => list.first().map(Self::from_object),
            Some(error @ Value::Object(_)) => Some(Self::from_object(error)),
            Some(error) => Some(Self {
                message: text(Some(error)),
                ..Self::default()
            }),
            None if body.is_object() => Some(Self::from_object(body)),
            None => None,
        }
    }

    fn from_object(error: &Value) -> Self {
        let first = |names: &[&str]| {
            let found = names.iter().map(|name| text(error.get(name)));
            found.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
        };
        // FastAPI: `"loc": ["body", "language"]`.
        let place = error
            .get("loc")
            .and_then(Value::as_array)
            .and_then(|place| place.last());
        let param = first(&["param", "parameter"]);
        Self {
            message: first(&["message", "msg", "detail"]),
            kind: first(&["type"]),
            code: first(&["code"]),
            param: if param.is_empty() { text(place) } else { param },
        }
    }

    /// The rejected parameter; `None` if the error is about something else.
    ///
    /// Gateways return a server's 400 as 500. A message of a 500 that only mentions a language can also be a fault of the server, so such a
    /// response counts as a rejection only if its wording is unambiguous.
    pub(super) fn refused_parameter(&self, status: StatusCode) -> Option<Parameter> {
        let number = status.as_u16();
        if matches!(number, 401 | 403 | 404 | 408 | 409 | 413 | 429) || number < 400 {
            return None;
        }
        let message = self.message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let by_name = match self.param.trim_end_matches("[]") {
            "timestamp_granularities" => Some(Parameter::TimestampGranularities),
            "response_format" => Some(Parameter::ResponseFormat),
            "chunking_strategy" => Some(Parameter::ChunkingStrategy),
            "language" => Some(Parameter::Language),
            "prompt" => Some(Parameter::Prompt),
            "temperature" => Some(Parameter::Temperature),
            "known_speaker_names" | "known_speaker_references" => Some(Parameter::KnownSpeakers),
            _ => None,
        };
        if by_name.is_some() {
            return by_name;
        }
        if says(&["timestamp_granularit"]) {
            return Some(Parameter::TimestampGranularities);
        }
        if says(&["response_format", "response format", "verbose_json", "diarized_json"]) {
            return Some(Parameter::ResponseFormat);
        }
        if says(&["known_speaker"]) {
            return Some(Parameter::KnownSpeakers);
        }
        if says(&["chunking_strategy"]) {
            return Some(Parameter::ChunkingStrategy);
        }
        let refuses = says(&[
            "support",
            "invalid",
            "unknown",
            "unrecognized",
            "unexpected",
            "not allowed",
            "not permitted",
            "extra",
        ]);
        if number >= 500 || !refuses {
            return None;
        }
        if says(&["language"]) && !says(&["language model"]) {
            Some(Parameter::Language)
        } else if says(&["prompt"]) {
            Some(Parameter::Prompt)
        } else if says(&["temperature"]) {
            Some(Parameter::Temperature)
        } else {
            None
        }
    }

    /// Whether the error can be about the audio and not about another parameter.
    pub(super) fn may_be_about_audio(&self) -> bool {
        matches!(self.param.as_str(), "" | "file" | "audio" | "messages")
    }

    /// Whether the message says that the file is too large.
    pub(super) fn is_too_large(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.param == "audio_filesize_mb"
            || self.code == "request_too_large"
            || [
                "file size exceeded",
                "content size limit",
                "file is too large",
                "file too large",
                "entity too large",
            ]
            .iter()
            .any(|words| message.contains(words))
    }

    /// Whether the message says that the audio is too long.
    pub(super) fn is_too_long(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        [
            "longer than",
            "maximum for this model",
            "clip duration",
            "duration exceeds",
            "duration exceeded",
            "decode duration",
            "audio is too long",
            "audio too long",
            "maximum audio length",
            "maximum audio duration",
        ]
        .iter()
        .any(|words| message.contains(words))
            || (message.contains("duration") && message.contains("exceed"))
    }

    /// The size in the message, in bytes.
    pub(super) fn bytes_named(&self) -> Option<u64> {
        let named = numbers(&self.message).filter_map(|(number, unit)| {
            let bytes = match unit.as_str() {
                "mb" | "megabytes" => number * 1e6,
                "mib" => number * 1_048_576.0,
                "kb" => number * 1e3,
                _ if number >= 65_536.0 => number,
                _ => return None,
            };
            (bytes < 1e12).then_some(bytes as u64)
        });
        named.min()
    }

    /// The lengths in the message, in seconds.
    pub(super) fn seconds_named(&self) -> Vec<f64> {
        let named = numbers(&self.message).filter_map(|(number, unit)| match unit.as_str() {
            "s" | "sec" | "secs" | "second" | "seconds" => Some(number),
            "m" | "min" | "mins" | "minute" | "minutes" => Some(number * 60.0),
            _ => None,
        });
        named.filter(|seconds| *seconds >= 1.0).collect()
    }

    /// The server's message for the log and for callers; empty if it is not safe to show.
    ///
    /// It is truncated to one line of 200 characters. A message that contains a key, a URL, or parts of the prompt, which may have names in it,
    /// is not shown.
    pub(super) fn sentence(&self, prompt: Option<&str>) -> String {
        let line: String = self
            .message
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        let line = line.trim().trim_end_matches('.');
        let repeats = prompt.is_some_and(|prompt| {
            let mut words = prompt.split(|letter: char| !letter.is_alphanumeric());
            words.any(|word| word.chars().count() > 3 && line.contains(word))
        });
        let secret = line
            .split(|letter: char| letter.is_whitespace() || "'\"`(),;".contains(letter))
            .any(|word| {
                word.starts_with("sk-")
                    || word.contains("://")
                    || word.starts_with("eyJ")
                    || word.contains("***")
                    || (word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            });
        let printable = !line.chars().any(char::is_control);
        match repeats || secret || !printable {
            true => String::new(),
            false => line.to_owned(),
        }
    }
}

/// A string or number. Python gateways send `"None"` for a missing value.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) if text != "None" && text != "null" => text.chars().take(MAX_MESSAGE).collect(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// The numbers in a text, each with the following word in lower case.
fn numbers(text: &str) -> impl Iterator<Item = (f64, String)> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|letter: char| letter.is_ascii_digit())?;
            rest = &rest[start..];
            let end = rest
                .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
                .unwrap_or(rest.len());
            let number = rest[..end].trim_end_matches('.').parse::<f64>();
            rest = &rest[end..];
            let unit = rest.trim_start_matches([' ', '-']);
            let unit: String = unit.chars().take_while(char::is_ascii_alphabetic).collect();
            if let Ok(number) = number {
                return Some((number, unit.to_ascii_lowercase()));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_parameter_is_found_in_the_answers_of_every_known_server() {
        use Parameter::*;
        for (status, body, refused) in [
            // OpenAI, gpt models.
            (
                400,
                r#"{"error":{"message":"response_format 'verbose_json' is not compatible with model 'gpt-4o-transcribe-api-ev3'. Use 'json' or 'text' instead.","type":"invalid_request_error","param":"response_format","code":"unsupported_value"}}"#,
                Some(ResponseFormat),
            ),
            // vLLM.
            (
                400,
                r#"{"object":"error","message":"Currently only support response_format `text` or `json`","type":"BadRequestError","param":null,"code":400}"#,
                Some(ResponseFormat),
            ),
            // LiteLLM as a gateway for vLLM.
            (
                500,
                r#"{"error":{"message":"litellm.BadRequestError: OpenAIException - Currently only support response_format `text` or `json`. Received Model Group=whisper-tiny\nAvailable Model Group Fallbacks=None LiteLLM Retried: 1 times, LiteLLM Max Retries: 2","type":"None","param":"None","code":"500"}}"#,
                Some(ResponseFormat),
            ),
            // Groq.
            (
                400,
                r#"{"error":{"message":"`timestamp_granularities[]` not supported by this model","type":"invalid_request_error"}}"#,
                Some(TimestampGranularities),
            ),
            (
                400,
                r#"{"error":{"message":"unknown param `timestamp_granularities`","type":"invalid_request_error"}}"#,
                Some(TimestampGranularities),
            ),
            // FastAPI.
            (
                422,
                r#"{"detail":[{"type":"enum","loc":["body","response_format"],"msg":"Input should be 'text' or 'json'","input":"verbose_json"}]}"#,
                Some(ResponseFormat),
            ),
            (
                422,
                r#"{"detail":[{"type":"extra_forbidden","loc":["body","temperature"],"msg":"Extra inputs are not permitted"}]}"#,
                Some(Temperature),
            ),
            (
                400,
                r#"{"error":{"message":"chunking_strategy is required for diarization models"}}"#,
                Some(ChunkingStrategy),
            ),
            (
                400,
                r#"{"error":{"message":"Unsupported language: 'xx'. Must be one of ['en']","type":"BadRequestError","code":400}}"#,
                Some(Language),
            ),
            // Not about a parameter.
            (
                400,
                r#"{"error":{"message":"Audio file might be corrupted or unsupported"}}"#,
                None,
            ),
            (
                400,
                r#"{"error":{"message":"This model does not support the format you provided.","param":"messages"}}"#,
                None,
            ),
            (
                500,
                r#"{"error":{"message":"Internal server error: language detection is not supported on this worker"}}"#,
                None,
            ),
            (429, r#"{"error":{"message":"response_format"}}"#, None),
            (
                422,
                r#"{"detail":[{"loc":["body","file"],"msg":"field required"}]}"#,
                None,
            ),
        ] {
            let found = ErrorBody::read(body.as_bytes()).refused_parameter(StatusCode::from_u16(status).unwrap());
            assert_eq!(found, refused, "{status} {body}");
        }
    }

    #[test]
    fn a_shown_sentence_has_no_key_no_url_and_none_of_the_prompt() {
        let sentence = |message: &str| {
            ErrorBody {
                message: message.into(),
                ..ErrorBody::default()
            }
            .sentence(Some("Ask for Katharina Brandt"))
        };
        assert_eq!(
            sentence("Audio file might be corrupted."),
            "Audio file might be corrupted"
        );
        assert_eq!(sentence("first\nsecond"), "first");
        assert_eq!(sentence(&"x ".repeat(500)).chars().count(), 199);
        for hidden in [
            "Incorrect API key provided: sk-1***",
            "see https://example.com/secret",
            "prompt 'Ask for Katharina Brandt' is too long",
            "key abcdefghijklmnopqrstuvwxyz0123456789 refused",
            "a\u{1b}[31mcolour",
        ] {
            assert_eq!(sentence(hidden), "", "{hidden}");
        }
    }

    #[test]
    fn any_body_is_read() {
        for body in [
            &b""[..],
            b"\xff\xfe",
            b"[]",
            b"null",
            b"{}",
            b"{\"errors\":[]}",
            b"{\"error\":[1]}",
            b"<html>",
        ] {
            let read = ErrorBody::read(body);
            assert!(!read.sentence(None).contains('<'));
        }
        assert_eq!(ErrorBody::read(b"{\"errors\":[{\"message\":\"no\"}]}").message, "no");
        assert_eq!(
            ErrorBody::read(b"upstream connect error").message,
            "upstream connect error"
        );
    }
}
