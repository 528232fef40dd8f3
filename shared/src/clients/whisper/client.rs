//! The client of the transcription API.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{
    Body, Client, Url,
    multipart::{Form, Part},
    redirect,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::{
    error::{ErrorBody, WhisperError, classify, connection},
    model::gives_times,
    response::read_transcription,
    speech::Transcription,
};
use crate::{
    clients::{aws::Aws, secrets::Secret},
    config::{ConfigError, Env},
    retry::retry_after,
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
pub struct WhisperOptions {
    /// Language of the speech, ISO 639-1, for example `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Words and names to expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Model other than the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Two channels are transcribed as one, instead of each on its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
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
        options: &WhisperOptions,
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
    let error = classify(status, after, &ErrorBody::read(&body));
    // OpenAI's own word on whether to retry, which its SDKs follow too.
    Err(match (should_retry, error) {
        (Some(true), WhisperError::Rejected(..)) => WhisperError::Server(status.as_u16(), after),
        (Some(false), error @ (WhisperError::Server(..) | WhisperError::RateLimited(_))) => {
            WhisperError::Final(Box::new(error))
        }
        (_, error) => error,
    })
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
}
