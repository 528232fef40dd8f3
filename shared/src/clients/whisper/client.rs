//! The client of the transcription API.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::Stream;
use reqwest::{
    Body, Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
    multipart::{Form, Part},
    redirect,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::{
    capabilities::{Capabilities, Limits, Sent},
    endpoint::{self, endpoint},
    error::{WhisperError, classify, connection},
    error_body::{ErrorBody, Parameter},
    format::Format,
    model::documented_price_per_minute,
    response::read_transcription,
    settings::WhisperSettings,
    speech::Transcription,
};
use crate::{
    clients::{
        attempt::{Attempt, Upstream},
        aws::Aws,
        body::{MAX_ERROR_BYTES, read_up_to},
        secrets::Secret,
        tls,
    },
    config::{ConfigError, Env},
    retry::retry_after,
};

const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
const DEFAULT_MODEL: &str = "whisper-1";
/// The maximum size of a response that is read; the text of a day of speech is much smaller.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// The maximum number of models whose capabilities are cached, because callers choose the names.
const MAX_MODELS: usize = 100;

/// The Whisper secret: `{"api_key"}`, optionally with `"header"`, the name of a header for the plain key, such as Azure's `api-key`. With an
/// empty key no header is sent, for servers that need none.
#[derive(Deserialize)]
#[serde(try_from = "RawCredentials")]
struct WhisperCredentials {
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Deserialize)]
struct RawCredentials {
    api_key: String,
    header: Option<String>,
}

impl TryFrom<RawCredentials> for WhisperCredentials {
    type Error = &'static str;

    fn try_from(raw: RawCredentials) -> Result<Self, Self::Error> {
        let key = raw.api_key.trim();
        if key.is_empty() {
            return Ok(Self { header: None });
        }
        let (name, value) = match raw.header.as_deref().filter(|name| !name.is_empty()) {
            None => (AUTHORIZATION, format!("Bearer {key}")),
            Some(name) => (name.parse().map_err(|_| "header is no header's name")?, key.to_owned()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| "api_key has characters that a header can't have")?;
        value.set_sensitive(true);
        Ok(Self {
            header: Some((name, value)),
        })
    }
}

/// An audio file to upload.
pub struct Audio<S> {
    /// File name, by whose extension the API recognizes the format.
    pub file_name: String,
    /// Media type, for example `audio/mpeg`.
    pub media_type: &'static str,
    /// Exact size in bytes.
    pub length: u64,
    /// The known or estimated length in seconds.
    pub seconds: f64,
    /// The bytes.
    pub stream: S,
}

/// Options of a transcription. The server chooses the options that are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WhisperOptions {
    /// Language of the speech, ISO 639-1, for example `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Text that guides the model, such as names to expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// A model other than the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether two channels are mixed instead of being transcribed separately.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
}

/// The maximum number of known speakers in a request.
pub const MAX_KNOWN_SPEAKERS: usize = 4;

/// A voice that the model is to recognize.
#[derive(Debug, Clone)]
pub struct KnownSpeaker {
    /// The label of its segments in the response.
    pub name: String,
    /// From 2 to 10 seconds of the voice, as FLAC.
    pub audio: Bytes,
}

/// A client of the transcription API.
pub struct Whisper {
    client: Client,
    endpoint: Url,
    model: String,
    secret: Secret<WhisperCredentials>,
    settings: WhisperSettings,
    /// The learned capabilities by model.
    learned: Mutex<HashMap<String, Capabilities>>,
}

impl Whisper {
    /// Reads `WHISPER_SECRET`, `WHISPER_BASE_URL`, `WHISPER_MODEL` and the properties of the server: `WHISPER_RESPONSE_FORMAT`,
    /// `WHISPER_MAX_SECONDS`, `WHISPER_MAX_BYTES`, `WHISPER_PRICE_PER_MINUTE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let base = env.optional("WHISPER_BASE_URL").unwrap_or(DEFAULT_BASE_URL);
        let endpoint = endpoint(base).ok_or(ConfigError::Invalid {
            name: "WHISPER_BASE_URL",
            expected: endpoint::EXPECTED,
        })?;
        let client = tls::client_builder(&endpoint)?
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
            settings: WhisperSettings::from_env(env)?,
            learned: Mutex::default(),
        })
    }

    /// Reads the key before the first request.
    pub async fn preload(&self) {
        self.secret.preload().await;
    }

    /// The configured model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The price of a minute of audio in USD.
    pub fn price_per_minute(&self, model: &str) -> f64 {
        let said = self.settings.price_per_minute;
        said.unwrap_or_else(|| documented_price_per_minute(model))
    }

    /// Whether the model tells the voices on one channel apart, as far as is known.
    pub fn is_diarizing(&self, model: &str) -> bool {
        self.capabilities(model).format == Format::Diarized
    }

    /// The currently known limits of one upload.
    pub fn limits(&self, model: &str) -> Limits {
        self.capabilities(model).limits()
    }

    fn capabilities(&self, model: &str) -> Capabilities {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let known = learned.get(model).cloned();
        known.unwrap_or_else(|| Capabilities::new(&self.settings, model))
    }

    /// Changes the capabilities of a model, and returns the result of `change`.
    fn learn(&self, model: &str, change: impl FnOnce(&mut Capabilities) -> bool) -> bool {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.len() >= MAX_MODELS && !learned.contains_key(model) {
            learned.clear();
        }
        let known = learned.entry(model.to_owned());
        change(known.or_insert_with(|| Capabilities::new(&self.settings, model)))
    }

    /// Uploads the audio once while it is streamed. There are no retries here, because the stream can't be read again.
    ///
    /// If the server rejects a parameter or a limit, the next request is adapted: see [`WhisperError::Adapted`] and [`Whisper::limits`].
    pub async fn transcribe<S, E>(
        &self,
        audio: Audio<S>,
        options: &WhisperOptions,
        known: &[KnownSpeaker],
        deadline: Instant,
    ) -> Result<Transcription, WhisperError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let (length, seconds) = (audio.length, audio.seconds);
        let part = Part::stream_with_length(Body::wrap_stream(audio.stream), length)
            .file_name(audio.file_name)
            .mime_str(audio.media_type)
            .map_err(|error| WhisperError::Unexpected(error.to_string()))?;
        let model = options.model.as_ref().unwrap_or(&self.model);
        let capabilities = self.capabilities(model);
        let mut form = Form::new().text("model", model.clone());
        for (name, value) in fields(&capabilities, options) {
            form = form.text(name, value.to_owned());
        }
        if capabilities.format == Format::Diarized && capabilities.takes(Parameter::KnownSpeakers) {
            for speaker in known {
                let audio = format!("data:audio/flac;base64,{}", STANDARD.encode(&speaker.audio));
                form = form.text("known_speaker_names[]", speaker.name.clone());
                form = form.text("known_speaker_references[]", audio);
            }
        }
        let form = form.part("file", part);
        let mut request = self.client.post(self.endpoint.clone()).multipart(form);
        let key = self.secret.get().await?;
        if let Some((name, value)) = &key.header {
            request = request.header(name, value);
        }
        let sent = Sent {
            capabilities: &capabilities,
            bytes: length,
            seconds,
        };
        let answer = timeout_at(deadline, async {
            let response = request.send().await.map_err(connection)?;
            self.read_answer(response, model, &sent, options).await
        });
        let mut attempt = Attempt::begin(Upstream::Whisper);
        let answer = answer.await.map_err(|_| WhisperError::Timeout).flatten();
        match &answer {
            Err(error) if error.is_failure(*model != self.model) => attempt.fail(error.status(), error.code(), error),
            _ => attempt.succeed(),
        }
        answer
    }

    async fn read_answer(
        &self,
        response: Response,
        model: &str,
        sent: &Sent<'_>,
        options: &WhisperOptions,
    ) -> Result<Transcription, WhisperError> {
        let status = response.status();
        let after = retry_after(response.headers());
        let should_retry = response.headers().get("x-should-retry").map(|value| value == "true");
        let most = if status.is_success() {
            MAX_ANSWER_BYTES
        } else {
            MAX_ERROR_BYTES
        };
        let (body, whole) = read_up_to(response, most).await.map_err(connection)?;
        if status.is_success() {
            if !whole {
                return Err(WhisperError::Unexpected("it is too long".into()));
            }
            let plain = sent.capabilities.format == Format::Text;
            return match read_transcription(&body, plain, sent.seconds) {
                Ok(transcription) => {
                    self.learn_times(model, sent, &transcription);
                    Ok(transcription)
                }
                // An error with status 200 is treated like one with status 400.
                Err(Some(error)) => Err(self.refusal(StatusCode::BAD_REQUEST, None, &error, model, sent, options)),
                Err(None) => Err(WhisperError::Unexpected("it is no transcription".into())),
            };
        }
        let error = self.refusal(status, after, &ErrorBody::read(&body), model, sent, options);
        // OpenAI's SDKs follow this header as well.
        Err(match (should_retry, error) {
            (Some(true), WhisperError::Rejected(..)) => WhisperError::Server(status.as_u16(), after),
            (Some(false), error @ (WhisperError::Server(..) | WhisperError::RateLimited(_))) => {
                WhisperError::Final(Box::new(error))
            }
            (_, error) => error,
        })
    }

    /// Learns from a rejected request, and returns its error.
    fn refusal(
        &self,
        status: StatusCode,
        after: Option<Duration>,
        body: &ErrorBody,
        model: &str,
        sent: &Sent<'_>,
        options: &WhisperOptions,
    ) -> WhisperError {
        let error = classify(status, after, body, options.prompt.as_deref());
        match &error {
            WhisperError::TooLarge => {
                self.learn(model, |known| known.refuse_size(sent, body));
            }
            WhisperError::TooLong(_) => {
                self.learn(model, |known| known.refuse_length(sent, body));
            }
            WhisperError::Rejected(..) | WhisperError::Server(..) => {
                if let Some(parameter) = body.refused_parameter(status)
                    && self.learn(model, |known| known.refuse(sent.capabilities, parameter))
                {
                    tracing::info!(?parameter, "the transcription API does not take the parameter");
                    return WhisperError::Adapted(body.sentence(options.prompt.as_deref()));
                }
            }
            _ => {}
        }
        error
    }

    /// Some servers accept every format and return only the text.
    fn learn_times(&self, model: &str, sent: &Sent<'_>, answer: &Transcription) {
        if sent.capabilities.times && answer.is_without_times() {
            self.learn(model, |known| {
                known.times = false;
                true
            });
        }
    }
}

/// The form fields except model and file.
fn fields<'a>(
    capabilities: &Capabilities,
    options: &'a WhisperOptions,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let optional = [
        (Parameter::Temperature, "temperature", Some("0")),
        (Parameter::Language, "language", options.language.as_deref()),
        (Parameter::Prompt, "prompt", options.prompt.as_deref()),
        (
            Parameter::ChunkingStrategy,
            "chunking_strategy",
            capabilities.chunking.then_some("auto"),
        ),
    ];
    let optional =
        optional.map(|(parameter, name, value)| Some((name, value.filter(|_| capabilities.takes(parameter))?)));
    let format = capabilities.format.fields().iter().copied();
    optional.into_iter().flatten().chain(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_has_a_key_and_perhaps_the_header_for_it() {
        let header = |secret: &str| serde_json::from_str::<WhisperCredentials>(secret).map(|read| read.header);
        let (name, value) = header(r#"{"api_key":" sk-1\n"}"#).unwrap().unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("authorization", "Bearer sk-1")
        );
        let (name, value) = header(r#"{"api_key":"k","header":"api-key"}"#).unwrap().unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("api-key", "k"));
        assert!(header(r#"{"api_key":""}"#).unwrap().is_none());
        assert!(header(r#"{"api_key":"k","header":"api key"}"#).is_err());
        assert!(header(r#"{"api_key":"a\nb"}"#).is_err());
    }

    #[test]
    fn settings_that_can_not_be_used_are_named() {
        assert!(WhisperSettings::from_env(&Env::from_iter([("WHISPER_MAX_SECONDS", "")])).is_ok());
        for (name, value) in [
            ("WHISPER_RESPONSE_FORMAT", "srt"),
            ("WHISPER_MAX_SECONDS", "0"),
            ("WHISPER_MAX_SECONDS", "NaN"),
            ("WHISPER_MAX_BYTES", "25MB"),
            ("WHISPER_PRICE_PER_MINUTE", "-1"),
        ] {
            let error = WhisperSettings::from_env(&Env::from_iter([(name, value)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
