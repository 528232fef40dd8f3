//! The audio of recordings: where it is, whether it can be fetched, and its bytes.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, Response, StatusCode, Url, header};
use tokio::time::{Instant, timeout_at};

use super::{
    client::Twilio,
    error::{TwilioError, accepted, connection},
    recording::{Recording, media_url},
    sid::{AccountSid, RecordingSid},
};
use crate::retry::with_retries;

/// Where a recording's media is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPlace {
    /// With Twilio.
    Twilio,
    /// In the customer's own storage, at a host of `EXTERNAL_MEDIA_HOSTS`.
    External(Url),
    /// In storage at another host.
    OutOfBounds,
}

impl Twilio {
    /// The address of a recording's media, when it is not with Twilio.
    pub fn external_media<'a>(&self, recording: &'a Recording) -> Option<&'a str> {
        recording
            .media_url
            .as_deref()
            .filter(|_| self.media_place(recording) != MediaPlace::Twilio)
    }

    /// Where a recording's media is: outside when its address is neither at Twilio nor at the configured host.
    pub fn media_place(&self, recording: &Recording) -> MediaPlace {
        let Some(url) = recording.media_url.as_deref().and_then(|text| Url::parse(text).ok()) else {
            return MediaPlace::Twilio;
        };
        let host = url.host_str().unwrap_or_default();
        let plain = url.username().is_empty() && url.password().is_none();
        if self.external_origins.contains(&url.origin().ascii_serialization()) && plain {
            MediaPlace::External(url)
        } else if host == "twilio.com" || host.ends_with(".twilio.com") || Some(host) == self.base.host_str() {
            MediaPlace::Twilio
        } else {
            MediaPlace::OutOfBounds
        }
    }

    /// The address of a recording's MP3, on the configured host.
    pub fn media_url(&self, account: &AccountSid, recording: &str) -> String {
        media_url(self.base.as_str(), account.as_str(), recording)
    }

    /// The recording that a caller's media address names. It must be one of the configured account, at Twilio or at the configured host;
    /// the error says what is wrong. The address itself is never fetched: [`Twilio::media_url`] is.
    pub fn recording_at(&self, address: &str, account: &AccountSid) -> Result<RecordingSid, &'static str> {
        // The URL parser would quietly drop or rewrite these.
        if address.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
            return Err("it has characters that a URL must not have");
        }
        // An empty user name (`https://@host`) leaves no trace in the parsed URL.
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

    /// Opens a recording's MP3. Its bytes must be read before `deadline`. Not retried here: its reader has to begin anew
    /// after a broken download anyway, and tries within tries would multiply.
    ///
    /// `both_channels` asks for each side of the call on a channel of its own, and falls back to one where Twilio does not have two.
    pub async fn media(
        &self,
        sid: &RecordingSid,
        both_channels: bool,
        deadline: Instant,
    ) -> Result<Media, TwilioError> {
        let address = self.media_url(&self.account_sid().await?, sid.as_str());
        if both_channels {
            let url = self.parse_url(&format!("{address}?RequestedChannels=2"))?;
            match self.open(self.send(Method::GET, url), deadline).await {
                Err(TwilioError::Rejected { status: 400, .. }) => {}
                opened => return opened,
            }
        }
        let url = self.parse_url(&address)?;
        self.open(self.send(Method::GET, url), deadline).await
    }

    /// Opens a recording that Twilio keeps in the customer's own storage: without credentials, and without following where it redirects.
    pub async fn external(&self, url: Url, deadline: Instant) -> Result<Media, TwilioError> {
        let request = self.outside.get(url).header(header::ACCEPT_ENCODING, "identity");
        let sent = async { request.send().await.map_err(connection) };
        self.open(sent, deadline).await.map_err(|error| match error {
            TwilioError::Timeout => TwilioError::Timeout,
            error => TwilioError::ExternalStorage(Box::new(error)),
        })
    }

    async fn open(
        &self,
        sent: impl Future<Output = Result<Response, TwilioError>>,
        deadline: Instant,
    ) -> Result<Media, TwilioError> {
        let answer = timeout_at(deadline, sent).await;
        let response = accepted(answer.map_err(|_| TwilioError::Timeout)??).await?;
        Ok(Media {
            length: response.content_length(),
            response,
            deadline,
        })
    }

    /// The HTTP status that a recording's MP3 answers with, without reading it. Errors are for want of any answer.
    ///
    /// `HEAD` keeps the connection usable for the next probe. Twilio does not document it, so any answer other than a
    /// plain success or absence is checked with a `GET` that is dropped after its header.
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
        let head = self.send(Method::HEAD, url.clone()).await?.status();
        let status = match head {
            StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE => head,
            _ => self.send(Method::GET, url).await?.status(),
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS => Err(TwilioError::RateLimited(None)),
            _ => Ok(status.as_u16()),
        }
    }
}

/// A recording's audio, not yet read.
pub struct Media {
    /// Size in bytes, when Twilio says so.
    pub length: Option<u64>,
    response: Response,
    deadline: Instant,
}

impl Media {
    /// The audio's bytes. Ends with an error when the connection breaks or the deadline passes.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, TwilioError>> + Send + 'static {
        let deadline = self.deadline;
        let chunks = Box::pin(self.response.bytes_stream());
        futures_util::stream::unfold(Some(chunks), move |chunks| async move {
            let mut chunks = chunks?;
            match timeout_at(deadline, chunks.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(chunks))),
                Ok(Some(Err(error))) => Some((Err(connection(error)), None)),
                Err(_) => Some((Err(TwilioError::Timeout), None)),
            }
        })
    }
}
