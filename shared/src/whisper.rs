//! The transcription endpoint of OpenAI and of servers compatible with it.
//!
//! Wire format: OpenAI's OpenAPI description, `POST /audio/transcriptions`. Answers are read leniently, since compatible servers
//! (Groq, vLLM, speaches, whisper.cpp, LocalAI) leave fields out or type them otherwise; only `text` is required.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{
    Body, Client, StatusCode, Url,
    multipart::{Form, Part},
    redirect,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::{
    aws::Aws,
    config::{ConfigError, Env},
    retry::{Classify, Retry, retry_after},
    secrets::{Secret, SecretError},
};

/// The largest audio file that is sent, in bytes: the API's limit of 26,214,400 is on the whole request body.
pub const MAX_AUDIO_BYTES: u64 = 25_690_112;

const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
const DEFAULT_MODEL: &str = "whisper-1";
/// The largest answer that is read; the text of a day of speech is well below it.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The Whisper secret: `{"api_key"}`. An empty key sends no `Authorization`, for servers that want none.
#[derive(Deserialize)]
struct Credentials {
    api_key: String,
}

/// An audio file on its way to the API.
pub struct Audio<S> {
    /// Name with the extension by which the API knows the format.
    pub file_name: String,
    /// Media type, for example `audio/mpeg`.
    pub media_type: &'static str,
    /// Exact size in bytes.
    pub length: u64,
    /// The bytes.
    pub stream: S,
}

/// How to transcribe. What is `None` is left to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options {
    /// Language of the speech, ISO 639-1, for example `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Words and names to expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Model other than the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Two channels are heard as one, instead of each on its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcription {
    /// The words. Empty when nothing was said.
    pub text: String,
    /// The language as the server names it, for example `english`.
    pub language: Option<String>,
    /// Length of the audio in seconds, as the server measured it.
    pub duration: Option<f64>,
    /// Stretches of speech with their times; empty when the model gives none.
    pub segments: Vec<Segment>,
    /// Single words with their times; empty when the model gives none.
    pub words: Vec<Word>,
    /// Segments left out because the model made them up.
    pub dropped_segments: usize,
}

/// A stretch of speech.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Beginning, in seconds of the recording.
    pub start: f64,
    /// End, in seconds of the recording.
    pub end: f64,
    /// What was said.
    pub text: String,
    /// Channel of the recording it was said on, from 0, where channels are transcribed on their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
}

/// A word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// Beginning, in seconds of the recording.
    pub start: f64,
    /// End, in seconds of the recording.
    pub end: f64,
    /// The word.
    pub word: String,
    /// As in [`Segment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u8>,
}

/// Why there is no transcription. Messages are the server's own and may name the audio's properties, never its words.
#[derive(Debug, thiserror::Error)]
pub enum WhisperError {
    /// The Whisper secret is missing or unusable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The server refused the key, or this network or region.
    #[error("the transcription API refused the credentials (HTTP {0})")]
    Unauthorized(u16),
    /// The account has no credit or has reached a spending limit. Trying again can't help.
    #[error("the transcription API refused for reasons of billing ({0})")]
    Quota(String),
    /// Too many requests or tokens per minute.
    #[error("the transcription API answered 429, too many requests")]
    RateLimited(Option<Duration>),
    /// The server is overloaded or broken.
    #[error("the transcription API answered HTTP {0}")]
    Server(u16, Option<Duration>),
    /// The file is over the server's size limit.
    #[error("the audio is too large for the transcription API")]
    TooLarge,
    /// The audio is longer than the model takes.
    #[error("the audio is too long for the model: {0}")]
    TooLong(String),
    /// The audio is shorter than 0.1 s.
    #[error("the audio is too short")]
    TooShort,
    /// The audio can't be decoded, or not under this name.
    #[error("the audio can't be decoded: {0}")]
    UnsupportedAudio(String),
    /// The configured model does not exist there.
    #[error("the transcription API has no such model or endpoint: {0}")]
    ModelNotFound(String),
    /// Any other refusal.
    #[error("the transcription API answered HTTP {0}: {1}")]
    Rejected(u16, String),
    /// No connection, or it broke.
    #[error("the connection to the transcription API failed: {0}")]
    Connection(String),
    /// No answer in time.
    #[error("the transcription API did not answer in time")]
    Timeout,
    /// An error that would be retried, had the server not asked for the opposite.
    #[error("{0}, not to be retried")]
    Final(Box<WhisperError>),
    /// A success that can't be read.
    #[error("the transcription API's answer was not understood: {0}")]
    Unexpected(String),
}

impl Classify for WhisperError {
    fn retry(&self) -> Retry {
        match self {
            Self::RateLimited(after) | Self::Server(_, after) => Retry::After(*after),
            Self::Connection(_) => Retry::After(None),
            _ => Retry::Never,
        }
    }
}

impl WhisperError {
    /// Whether a later request may fare better.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Secret(SecretError::Unavailable(..)) | Self::Timeout) || self.retry() != Retry::Never
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "whisper_secret_unavailable",
            Self::Secret(_) => "whisper_not_configured",
            Self::Unauthorized(_) => "whisper_unauthorized",
            Self::Quota(_) => "whisper_quota_exceeded",
            Self::RateLimited(_) => "whisper_rate_limited",
            Self::Server(..) | Self::Connection(_) => "whisper_unavailable",
            Self::TooLarge => "audio_too_large",
            Self::TooLong(_) => "audio_too_long",
            Self::TooShort => "audio_too_short",
            Self::UnsupportedAudio(_) => "audio_unsupported",
            Self::ModelNotFound(_) => "whisper_model_not_found",
            Self::Rejected(..) | Self::Unexpected(_) => "whisper_error",
            Self::Timeout => "whisper_timeout",
            Self::Final(error) => error.code(),
        }
    }

    /// What to tell a caller.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "The transcription API's key can't be read right now",
            Self::Secret(_) => "No usable transcription API key is configured",
            Self::Unauthorized(_) => "The transcription API refused the configured key",
            Self::Quota(_) => "The transcription API's account has no credit left or has reached its spending limit",
            Self::RateLimited(_) => "The transcription API is limiting the rate of requests",
            Self::Server(..) | Self::Connection(_) => "The transcription API is not reachable right now",
            Self::TooLarge => "The recording is larger than the transcription API takes",
            Self::TooLong(_) => "The recording is longer than the configured model takes",
            Self::TooShort => "The recording is shorter than the 0.1 seconds that the transcription API needs",
            Self::UnsupportedAudio(_) => "The recording's audio is corrupted or of an unsupported format",
            Self::ModelNotFound(_) => "The transcription API does not have the configured model",
            Self::Rejected(..) | Self::Unexpected(_) => "The transcription API gave an unexpected answer",
            Self::Timeout => "The transcription API did not answer in time",
            Self::Final(error) => error.sentence(),
        }
    }
}

/// A client of the transcription API.
pub struct Whisper {
    client: Client,
    endpoint: Url,
    model: String,
    secret: Secret<Credentials>,
}

impl Whisper {
    /// Reads `WHISPER_SECRET`, `WHISPER_BASE_URL` and `WHISPER_MODEL`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let endpoint =
            endpoint(env.optional("WHISPER_BASE_URL").unwrap_or(DEFAULT_BASE_URL)).ok_or(ConfigError::Invalid {
                name: "WHISPER_BASE_URL",
                expected: "an http or https URL, such as https://api.openai.com/v1",
            })?;
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| ConfigError::HttpClient(error.to_string()))?;
        Ok(Self {
            client,
            endpoint,
            model: env.optional("WHISPER_MODEL").unwrap_or(DEFAULT_MODEL).to_owned(),
            secret: Secret::new(aws.secrets_manager(), env.required("WHISPER_SECRET")?),
        })
    }

    /// Reads the key ahead of the first request.
    pub async fn preload(&self) {
        self.secret.preload().await;
    }

    /// The model that transcribes.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Sends the audio once, as it streams in; not retried here, since the stream is used up.
    pub async fn transcribe<S, E>(
        &self,
        audio: Audio<S>,
        options: &Options,
        deadline: Instant,
    ) -> Result<Transcription, WhisperError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let part = Part::stream_with_length(Body::wrap_stream(audio.stream), audio.length)
            .file_name(audio.file_name)
            .mime_str(audio.media_type)
            .map_err(|error| WhisperError::Unexpected(error.to_string()))?;
        let model = options.model.as_ref().unwrap_or(&self.model).clone();
        let timed = gives_times(&model);
        let mut form = Form::new().text("model", model).text("temperature", "0");
        for (name, value) in [("language", &options.language), ("prompt", &options.prompt)] {
            if let Some(value) = value {
                form = form.text(name, value.clone());
            }
        }
        // Times are always asked for where they can be had: later wishes for them must not cost a second transcription.
        form = match timed {
            true => form
                .text("response_format", "verbose_json")
                .text("timestamp_granularities[]", "segment")
                .text("timestamp_granularities[]", "word"),
            false => form.text("response_format", "json"),
        };
        let form = form.part("file", part);
        let mut request = self.client.post(self.endpoint.clone()).multipart(form);
        let key = self.secret.get().await?;
        if !key.api_key.is_empty() {
            request = request.bearer_auth(&key.api_key);
        }
        timeout_at(deadline, async {
            read_answer(request.send().await.map_err(connection)?).await
        })
        .await
        .map_err(|_| WhisperError::Timeout)?
    }
}

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

/// `{base}/v1/audio/transcriptions`, whether or not the base already has `/v1` or names the whole endpoint.
fn endpoint(base: &str) -> Option<Url> {
    let base = base.trim_end_matches('/');
    let text = if base.ends_with("/audio/transcriptions") {
        base.to_owned()
    } else if base.ends_with("/v1") {
        format!("{base}/audio/transcriptions")
    } else {
        format!("{base}/v1/audio/transcriptions")
    };
    Url::parse(&text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
}

async fn read_answer(mut response: reqwest::Response) -> Result<Transcription, WhisperError> {
    let status = response.status();
    let after = retry_after(response.headers());
    let should_retry = response.headers().get("x-should-retry").map(|value| value == "true");
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(connection)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(WhisperError::Unexpected("it is too long".into()));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return read_transcription(&body);
    }
    let error = classify(status, after, &Problem::read(&body));
    // OpenAI's own word on whether to retry, which its SDKs follow too.
    Err(match (should_retry, error) {
        (Some(true), WhisperError::Rejected(..)) => WhisperError::Server(status.as_u16(), after),
        (Some(false), error @ (WhisperError::Server(..) | WhisperError::RateLimited(_))) => {
            WhisperError::Final(Box::new(error))
        }
        (_, error) => error,
    })
}

fn read_transcription(body: &[u8]) -> Result<Transcription, WhisperError> {
    #[derive(Deserialize)]
    struct Answer {
        text: String,
        language: Option<Value>,
        duration: Option<Value>,
        usage: Option<Value>,
        segments: Option<Vec<Value>>,
        words: Option<Vec<Value>>,
    }
    // The parser's own message could quote the words.
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        WhisperError::Unexpected(format!("no JSON object with a text, at line {line} column {column}"))
    })?;
    let used = answer.usage.as_ref().and_then(|usage| number(usage.get("seconds")?));
    let duration = answer.duration.as_ref().and_then(number).or(used);
    let duration = duration.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let heard: Vec<HeardSegment> = answer
        .segments
        .iter()
        .flatten()
        .filter_map(HeardSegment::read)
        .collect();
    let words = answer.words.iter().flatten().filter_map(|word| {
        let (start, end) = times(word)?;
        Some(Word {
            start,
            end,
            word: word.get("word")?.as_str()?.to_owned(),
            channel: None,
        })
    });
    let mut transcription = Transcription {
        text: answer.text.trim().to_owned(),
        language: answer.language.as_ref().and_then(Value::as_str).map(str::to_owned),
        duration,
        words: words.collect(),
        ..Transcription::default()
    };
    let (kept, dropped) = without_inventions(heard);
    if !dropped.is_empty() {
        transcription.text = kept
            .iter()
            .map(|segment| segment.text.trim())
            .collect::<Vec<_>>()
            .join(" ");
        let invented = |word: &Word| {
            dropped
                .iter()
                .any(|s| (s.start..s.end).contains(&((word.start + word.end) / 2.0)))
        };
        transcription.words.retain(|word| !invented(word));
    }
    transcription.dropped_segments = dropped.len();
    transcription.segments = kept;
    Ok(transcription)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// Start and end in seconds. LocalAI gives whole nanoseconds.
fn times(value: &Value) -> Option<(f64, f64)> {
    let nanoseconds = |value: &Value| value.is_u64() && value.as_f64().is_some_and(|number| number >= 1e6);
    let (start, end) = (value.get("start")?, value.get("end")?);
    let scale = if nanoseconds(start) || nanoseconds(end) {
        1e-9
    } else {
        1.0
    };
    let (start, end) = (number(start)? * scale, number(end)? * scale);
    (start.is_finite() && end.is_finite() && start >= 0.0 && end >= start).then_some((start, end))
}

/// A segment with what the model thinks of it.
struct HeardSegment {
    segment: Segment,
    no_speech: f64,
    logprob: f64,
    compression: f64,
}

impl HeardSegment {
    fn read(value: &Value) -> Option<Self> {
        let (start, end) = times(value)?;
        let measure = |name, otherwise| value.get(name).and_then(number).unwrap_or(otherwise);
        Some(Self {
            segment: Segment {
                start,
                end,
                text: value.get("text")?.as_str()?.trim().to_owned(),
                channel: None,
            },
            no_speech: measure("no_speech_prob", 0.0),
            logprob: measure("avg_logprob", 0.0),
            compression: measure("compression_ratio", 1.0),
        })
    }

    /// Whisper's own thresholds for silence that it put words to, and for text that repeats itself.
    fn is_invented(&self) -> bool {
        (self.no_speech > 0.6 && self.logprob < -1.0) || self.compression > 2.4
    }
}

/// How often people say the same in a row. Short answers they do repeat.
fn often_said(text: &str) -> usize {
    match text.split_whitespace().count() {
        ..3 => 5,
        _ => 2,
    }
}

/// Splits off the segments that the model made up: words on silence, and the same words in a row more often than people say them.
fn without_inventions(heard: Vec<HeardSegment>) -> (Vec<Segment>, Vec<Segment>) {
    let (mut kept, mut dropped): (Vec<Segment>, Vec<Segment>) = (Vec::new(), Vec::new());
    let mut repeated = 0;
    for heard in heard {
        let again = kept
            .last()
            .is_some_and(|last| !last.text.is_empty() && last.text == heard.segment.text);
        repeated = if again { repeated + 1 } else { 0 };
        if heard.is_invented() || repeated >= often_said(&heard.segment.text) {
            dropped.push(heard.segment);
        } else {
            kept.push(heard.segment);
        }
    }
    (kept, dropped)
}

/// An error body, whatever its shape: OpenAI's `{"error": {message, type, code}}`, whisper.cpp's `{"error": "text"}`, FastAPI's `{"detail": ...}`.
#[derive(Debug, Default)]
struct Problem {
    message: String,
    kind: String,
    code: String,
}

impl Problem {
    fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let error = body.get("error").or_else(|| body.get("detail")).unwrap_or(&Value::Null);
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.chars().take(300).collect(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        match error {
            Value::Object(_) => Self {
                message: text(error.get("message")),
                kind: text(error.get("type")),
                code: text(error.get("code")),
            },
            Value::Array(list) => Self {
                message: text(list.first().and_then(|first| first.get("msg"))),
                ..Self::default()
            },
            other => Self {
                message: text(Some(other)),
                ..Self::default()
            },
        }
    }
}

fn classify(status: StatusCode, after: Option<Duration>, problem: &Problem) -> WhisperError {
    const BILLING: [&str; 7] = [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    ];
    let (message, number) = (problem.message.as_str(), status.as_u16());
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if let Some(word) = BILLING
        .iter()
        .find(|word| problem.code == **word || problem.kind == **word)
    {
        return WhisperError::Quota((*word).to_owned());
    }
    match number {
        401 | 403 => WhisperError::Unauthorized(number),
        // Before the 5xx rule: the body of a 413 may call itself a server_error.
        413 => WhisperError::TooLarge,
        429 => WhisperError::RateLimited(after),
        408 | 409 | 500.. => WhisperError::Server(number, after),
        404 => WhisperError::ModelNotFound(message.to_owned()),
        _ if problem.code == "audio_too_short" || says(&["too short"]) => WhisperError::TooShort,
        _ if says(&["longer than", "maximum for this model"]) => WhisperError::TooLong(message.to_owned()),
        _ if problem.code == "model_not_found" => WhisperError::ModelNotFound(message.to_owned()),
        _ if problem.code == "unsupported_format"
            || says(&[
                "corrupted",
                "unsupported",
                "not supported",
                "does not support the format",
                "could not be decoded",
                "invalid file format",
            ]) =>
        {
            WhisperError::UnsupportedAudio(message.to_owned())
        }
        _ => WhisperError::Rejected(number, message.to_owned()),
    }
}

fn connection(error: reqwest::Error) -> WhisperError {
    let error = error.without_url();
    let cause = std::error::Error::source(&error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    WhisperError::Connection(format!("{error}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_url_works_with_and_without_its_version() {
        for (base, expected) in [
            (
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/audio/transcriptions",
            ),
            (
                "https://api.openai.com/",
                "https://api.openai.com/v1/audio/transcriptions",
            ),
            (
                "https://api.groq.com/openai/v1/",
                "https://api.groq.com/openai/v1/audio/transcriptions",
            ),
            (
                "http://localhost:8080/v1/audio/transcriptions",
                "http://localhost:8080/v1/audio/transcriptions",
            ),
        ] {
            assert_eq!(endpoint(base).unwrap().as_str(), expected);
        }
        assert!(endpoint("ftp://example.com").is_none());
        assert!(endpoint("api.openai.com").is_none());
    }

    #[test]
    fn compatible_servers_answers_are_read() {
        for (body, text, duration) in [
            (
                r#"{"text":" Hello. ","usage":{"type":"duration","seconds":9}}"#,
                "Hello.",
                Some(9.0),
            ),
            (
                r#"{"text":"Hi","duration":"12.5","segments":[{"no_speech_prob":null}],"language":"english"}"#,
                "Hi",
                Some(12.5),
            ),
            (r#"{"text":"","detected_language":"en"}"#, "", None),
        ] {
            let heard = read_transcription(body.as_bytes()).unwrap();
            assert_eq!((heard.text.as_str(), heard.duration), (text, duration));
        }
        let error = read_transcription(br#""what was said""#).unwrap_err();
        assert!(!error.to_string().contains("said"), "{error}");
        assert!(matches!(read_transcription(b"{}"), Err(WhisperError::Unexpected(_))));
        assert!(matches!(
            read_transcription(b"<html>"),
            Err(WhisperError::Unexpected(_))
        ));
    }

    #[test]
    fn words_put_to_silence_and_loops_are_dropped_and_counted() {
        let segment = |start: u32, text: &str, no_speech: f64, logprob: f64, compression: f64| serde_json::json!({"start": start, "end": start + 2, "text": text, "no_speech_prob": no_speech, "avg_logprob": logprob, "compression_ratio": compression});
        let word = |start: f64, word: &str| serde_json::json!({"start": start, "end": start + 0.4, "word": word});
        let heard = read_transcription(
            serde_json::json!({
                "text": "Hello. Thanks for watching. I will call back. I will call back. I will call back. I will call back. la la la",
                "segments": [
                    segment(0, " Hello.", 0.01, -0.2, 1.1),
                    segment(2, " Thanks for watching.", 0.9, -1.5, 1.0),
                    segment(4, " I will call back.", 0.1, -0.2, 1.0),
                    segment(6, " I will call back.", 0.1, -0.2, 1.0),
                    segment(8, " I will call back.", 0.1, -0.2, 1.0),
                    segment(10, " I will call back.", 0.1, -0.2, 1.0),
                    segment(12, " la la la", 0.1, -0.2, 3.5),
                ],
                "words": [word(0.5, "Hello"), word(2.5, "Thanks"), word(4.5, "I"), word(12.5, "la")],
            })
            .to_string()
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(
            (heard.text.as_str(), heard.dropped_segments),
            ("Hello. I will call back. I will call back.", 4)
        );
        assert_eq!(
            heard.words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>(),
            ["Hello", "I"]
        );
    }

    #[test]
    fn short_answers_are_repeated_by_people_too() {
        let yes = |n: u32| serde_json::json!({"start": n * 5, "end": n * 5 + 1, "text": " Yes."});
        let segments: Vec<_> = (0..8).map(yes).collect();
        let body = serde_json::json!({"text": "Yes.", "segments": segments}).to_string();
        let heard = read_transcription(body.as_bytes()).unwrap();
        assert_eq!((heard.segments.len(), heard.dropped_segments), (5, 3));
    }

    #[test]
    fn all_invention_on_silence_is_an_empty_transcript() {
        let body = r#"{"text":"Thank you.","segments":[{"start":0,"end":30,"text":"Thank you.","no_speech_prob":0.95,"avg_logprob":-1.2}]}"#;
        let heard = read_transcription(body.as_bytes()).unwrap();
        assert_eq!(
            (heard.text.as_str(), heard.dropped_segments, heard.segments.len()),
            ("", 1, 0)
        );
    }

    #[test]
    fn times_in_nanoseconds_are_read_as_such() {
        let body = r#"{"text":"Hi","segments":[{"start":0,"end":1500000000,"text":"Hi"}]}"#;
        assert_eq!(read_transcription(body.as_bytes()).unwrap().segments[0].end, 1.5);
    }

    #[test]
    fn every_error_class_is_told_apart() {
        for (status, body, code, transient) in [
            (
                400,
                r#"{"error":{"message":"Audio file is too short. Minimum audio length is 0.1 seconds.","type":"invalid_request_error","param":"file","code":"audio_too_short"}}"#,
                "audio_too_short",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"audio duration 1830.530612 seconds is longer than 1400 seconds which is the maximum for this model","type":"invalid_request_error","param":null,"code":"invalid_value"}}"#,
                "audio_too_long",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"This model does not support the format you provided.","code":"unsupported_format","param":"messages"}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Audio file might be corrupted or unsupported","type":"invalid_request_error","code":"invalid_value"}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid file format. Supported formats: ['flac']"}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"The audio file could not be decoded or its format is not supported."}}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"chunking_strategy is required for diarization models"}}"#,
                "whisper_error",
                false,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
                "whisper_unauthorized",
                false,
            ),
            (
                403,
                r#"{"error":{"message":"Country, region, or territory not supported"}}"#,
                "whisper_unauthorized",
                false,
            ),
            (
                404,
                r#"{"detail":"Model 'x' is not installed"}"#,
                "whisper_model_not_found",
                false,
            ),
            (
                413,
                r#"{"error":{"message":"413: Maximum content size limit (26214400) exceeded","type":"server_error","param":null,"code":null}}"#,
                "audio_too_large",
                false,
            ),
            (
                413,
                r#"{"error":{"message":"Request Entity Too Large","type":"invalid_request_error","code":"request_too_large"}}"#,
                "audio_too_large",
                false,
            ),
            (422, r#"{"detail":[{"msg":"field required"}]}"#, "whisper_error", false),
            (
                429,
                r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#,
                "whisper_rate_limited",
                true,
            ),
            (
                429,
                r#"{"error":{"message":"Slow down","type":"rate_limit_error","code":"slow_down"}}"#,
                "whisper_rate_limited",
                true,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                "whisper_quota_exceeded",
                false,
            ),
            (
                429,
                r#"{"error":{"message":"","type":"requests","code":"project_spend_limit_exceeded"}}"#,
                "whisper_quota_exceeded",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Billing hard limit has been reached","code":"billing_hard_limit_reached"}}"#,
                "whisper_quota_exceeded",
                false,
            ),
            (
                500,
                r#"{"error":{"message":"The server had an error","type":"server_error"}}"#,
                "whisper_unavailable",
                true,
            ),
            (
                503,
                r#"{"error":{"message":"overloaded","type":"service_unavailable_error","code":"server_is_overloaded"}}"#,
                "whisper_unavailable",
                true,
            ),
            (502, "<html>Bad gateway</html>", "whisper_unavailable", true),
            (
                400,
                r#"{"error":"failed to read audio data, unsupported"}"#,
                "audio_unsupported",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"bad","type":"BadRequestError","param":null,"code":400}}"#,
                "whisper_error",
                false,
            ),
        ] {
            let error = classify(
                StatusCode::from_u16(status).unwrap(),
                None,
                &Problem::read(body.as_bytes()),
            );
            assert_eq!(
                (error.code(), error.is_transient()),
                (code, transient),
                "{status} {body}"
            );
        }
    }
}
