//! The media of recordings: its location, its availability and its bytes.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, Response, StatusCode, Url, Version, header};
use tokio::time::{Instant, timeout_at};

use super::{
    client::{Answer, Rest, Twilio},
    error::{TwilioError, accepted, connection},
    recording::{Recording, media_url},
    sid::{AccountSid, RecordingSid},
};
use crate::{clients::attempt::Attempt, retry::with_retries};

/// Where a recording's media is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPlace {
    /// At Twilio.
    Twilio,
    /// In the customer's storage, on a host of `EXTERNAL_MEDIA_HOSTS`.
    External(Url),
    /// On another host, from which media is not fetched.
    NotAllowed,
}

/// The formats of media at Twilio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaFormat {
    /// What Twilio stores: 16-bit PCM, 8 kHz.
    Wav,
    /// 32 kbit/s, made of the WAV by Twilio.
    Mp3,
}

impl MediaFormat {
    /// The extension of files in this format.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
        }
    }
}

impl Twilio {
    /// The URL of a recording's media, if it is not stored at Twilio.
    pub fn external_media<'a>(&self, recording: &'a Recording) -> Option<&'a str> {
        recording
            .media_url
            .as_deref()
            .filter(|_| self.media_place(recording) != MediaPlace::Twilio)
    }

    /// Where a recording's media is stored, decided by the host of its URL.
    pub fn media_place(&self, recording: &Recording) -> MediaPlace {
        let Some(url) = recording.media_url.as_deref().and_then(|text| Url::parse(text).ok()) else {
            return MediaPlace::Twilio;
        };
        let host = url.host_str().unwrap_or_default();
        let has_no_credentials = url.username().is_empty() && url.password().is_none();
        if self.external_origins.contains(&url.origin().ascii_serialization()) && has_no_credentials {
            MediaPlace::External(url)
        } else if host == "twilio.com" || host.ends_with(".twilio.com") || Some(host) == self.base.host_str() {
            MediaPlace::Twilio
        } else {
            MediaPlace::NotAllowed
        }
    }

    /// The URL of a recording's MP3, on the configured host.
    pub fn media_url(&self, account: &AccountSid, recording: &str) -> String {
        media_url(self.base.as_str(), account.as_str(), recording)
    }

    /// The recording that a media URL from a caller refers to. It must belong to the configured account and be on Twilio's or the configured
    /// host. The URL itself is never fetched: [`Twilio::media_url`] is used instead.
    pub fn recording_at(&self, address: &str, account: &AccountSid) -> Result<RecordingSid, &'static str> {
        // The URL parser would silently remove or rewrite these characters.
        if address.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
            return Err("it has characters that a URL must not have");
        }
        // The parsed URL does not show an empty user name (`https://@host`).
        if address.contains('@') {
            return Err("it has a user name or password");
        }
        let url = Url::parse(address).map_err(|_| "it is not a URL")?;
        let origin = (url.scheme(), url.host_str(), url.port_or_known_default());
        let base = (
            self.base.scheme(),
            self.base.host_str(),
            self.base.port_or_known_default(),
        );
        if origin != base && origin != ("https", Some("api.twilio.com"), Some(443)) {
            return Err("its scheme, host and port are not Twilio's");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has a query or fragment");
        }
        let mut segments = url.path().split('/').skip(1);
        let mut next = || segments.next().unwrap_or_default();
        if (next(), next()) != ("2010-04-01", "Accounts") {
            return Err("its path is not a recording's");
        }
        if AccountSid::parse(next()).as_ref() != Some(account) {
            return Err("it belongs to another account");
        }
        let (collection, file, rest) = (next(), next(), segments.next());
        let sid = file
            .strip_suffix(".mp3")
            .or_else(|| file.strip_suffix(".wav"))
            .unwrap_or(file);
        match RecordingSid::parse(sid) {
            Some(sid) if collection == "Recordings" && rest.is_none() => Ok(sid),
            _ => Err("its path is not a recording's"),
        }
    }

    /// Opens a recording's MP3. Its bytes must be read before `deadline`. This method does not retry, because the caller must start again after
    /// a broken download anyway, and nested retries would multiply.
    ///
    /// With `both_channels`, Twilio is asked for one channel per side of the call. If Twilio does not have two channels, the mono recording is
    /// opened.
    pub async fn media(
        &self,
        sid: &RecordingSid,
        both_channels: bool,
        deadline: Instant,
    ) -> Result<Media, TwilioError> {
        self.media_from(sid, MediaFormat::Mp3, both_channels, None, deadline)
            .await
    }

    /// The same in this format, or what follows a download that broke. If the file is another one meanwhile, or the server ignores ranges, all
    /// bytes are sent: [`Media::begins_at`] and [`Media::validator`] tell.
    pub async fn media_from(
        &self,
        sid: &RecordingSid,
        format: MediaFormat,
        both_channels: bool,
        rest: Option<&Rest>,
        deadline: Instant,
    ) -> Result<Media, TwilioError> {
        let mp3 = self.media_url(&self.account_sid().await?, sid.as_str());
        let address = format!("{}{}", mp3.trim_end_matches("mp3"), format.extension());
        if both_channels {
            let url = self.parse_url(&format!("{address}?RequestedChannels=2"))?;
            match self.open_media(url, rest, deadline).await {
                Err(TwilioError::Rejected { status: 400, .. }) => {}
                opened => return opened,
            }
        }
        let url = self.parse_url(&address)?;
        self.open_media(url, rest, deadline).await
    }

    async fn open_media(&self, url: Url, rest: Option<&Rest>, deadline: Instant) -> Result<Media, TwilioError> {
        let opened = timeout_at(deadline, self.open(Method::GET, url, rest));
        let Answer { response, attempt } = opened.await.map_err(|_| TwilioError::Timeout)??;
        Media::new(response, Some(attempt), deadline)
    }

    /// Opens a recording in the customer's storage, without credentials and without following redirects.
    pub async fn external(&self, url: Url, deadline: Instant) -> Result<Media, TwilioError> {
        let request = self
            .external_client
            .get(url)
            .header(header::ACCEPT_ENCODING, "identity");
        let opened = timeout_at(deadline, async {
            accepted(request.send().await.map_err(connection)?).await
        });
        let response = opened.await.map_err(|_| TwilioError::Timeout)?;
        let media = response.and_then(|response| Media::new(response, None, deadline));
        media.map_err(|error| TwilioError::ExternalStorage(Box::new(error)))
    }

    /// The HTTP status of a recording's MP3, without downloading it. An error means that there was no response.
    ///
    /// `HEAD` keeps the connection usable for the next request. Twilio does not document it, so any status other than 200, 404 or 410 is checked
    /// with a `GET` whose body is not read.
    pub async fn probe_media(
        &self,
        account: &AccountSid,
        recording: &str,
        deadline: Instant,
    ) -> Result<u16, TwilioError> {
        let url = self.parse_url(&self.media_url(account, recording))?;
        let status = with_retries(2, deadline, || self.probe_once(url.clone()));
        match timeout_at(deadline, status).await {
            Ok(Err(TwilioError::RateLimited(_))) => Ok(429),
            Ok(result) => result,
            Err(_) => Err(TwilioError::Timeout),
        }
    }

    async fn probe_once(&self, url: Url) -> Result<u16, TwilioError> {
        let status = match self.status(Method::HEAD, url.clone()).await? {
            head @ (StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE) => head,
            _ => self.status(Method::GET, url).await?,
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS => Err(TwilioError::RateLimited(None)),
            _ => Ok(status.as_u16()),
        }
    }

    async fn status(&self, method: Method, url: Url) -> Result<StatusCode, TwilioError> {
        let Answer { response, attempt } = self.send(method, url, None).await?;
        attempt.succeed();
        Ok(response.status())
    }
}

/// The position of the first byte of a response: that of `Content-Range: bytes 100-199/200` in a partial one.
fn begins_at(response: &Response) -> Result<u64, TwilioError> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(0);
    }
    let range = response.headers().get(header::CONTENT_RANGE);
    let first = range
        .and_then(|range| range.to_str().ok())
        .and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    first.ok_or_else(|| TwilioError::Unexpected("a partial response without its range".into()))
}

/// What the server calls this version of the file: its strong `ETag`, or else its `Last-Modified`.
fn validator(response: &Response) -> Option<String> {
    let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let etag = header(header::ETAG).filter(|etag| !etag.starts_with("W/"));
    etag.or_else(|| header(header::LAST_MODIFIED))
}

/// Whether the end of the body is known from its framing. Otherwise the body ends with the connection, and half of it looks like all of it.
fn has_end(response: &Response) -> bool {
    let encoding = response.headers().get(header::TRANSFER_ENCODING);
    let is_chunked = encoding.is_some_and(|encoding| encoding.as_bytes().ends_with(b"chunked"));
    is_chunked || response.content_length().is_some() || response.version() >= Version::HTTP_2
}

/// An open download of a recording's audio.
pub struct Media {
    /// Size in bytes of what follows, if Twilio sent it.
    pub length: Option<u64>,
    /// The position of the first byte in the file.
    pub begins_at: u64,
    /// What the server calls this version of the file, if it says it.
    pub validator: Option<String>,
    /// Whether a body that ends too early is noticed.
    pub has_end: bool,
    response: Response,
    /// The request to Twilio; there is none to the customer's storage.
    attempt: Option<Attempt>,
    deadline: Instant,
}

impl Media {
    fn new(response: Response, mut attempt: Option<Attempt>, deadline: Instant) -> Result<Self, TwilioError> {
        let begins_at = begins_at(&response).inspect_err(|error| fail(&mut attempt, error))?;
        if let Some(attempt) = &mut attempt {
            attempt.answered();
        }
        Ok(Self {
            length: response.content_length(),
            validator: validator(&response),
            has_end: has_end(&response),
            begins_at,
            response,
            attempt,
            deadline,
        })
    }

    /// The audio's bytes. The stream ends with an error if the connection breaks or the deadline passes.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, TwilioError>> + Send + 'static {
        let deadline = self.deadline;
        let chunks = Box::pin(self.response.bytes_stream());
        futures_util::stream::unfold(Some((chunks, self.attempt)), move |download| async move {
            let (mut chunks, mut attempt) = download?;
            let error = match timeout_at(deadline, chunks.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(chunk))) => return Some((Ok(chunk), Some((chunks, attempt)))),
                Ok(Some(Err(error))) => connection(error),
                Err(_) => TwilioError::Timeout,
            };
            fail(&mut attempt, &error);
            Some((Err(error), None))
        })
    }
}

fn fail(attempt: &mut Option<Attempt>, error: &TwilioError) {
    if let Some(attempt) = attempt {
        attempt.fail(None, error.code(), error);
    }
}
