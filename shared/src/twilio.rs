//! Twilio's Recordings resource, API version 2010-04-01.
//!
//! Wire formats: Twilio's OpenAPI description (`twilio_api_v2010`) and the Recordings resource documentation.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jiff::{Timestamp, civil::Date, fmt::rfc2822};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use crate::{
    aws::Aws,
    config::{ConfigError, Env},
    retry::{Classify, Retry, retry_after, with_retries},
    secrets::{Secret, SecretError},
};

const ATTEMPTS: u32 = 4;
const TOKEN_REFRESH: Duration = Duration::from_secs(30);
/// One JSON answer takes at most this long.
const JSON_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 3;
/// Where Twilio's API is, unless `TWILIO_BASE_URL` says otherwise.
pub const DEFAULT_BASE_URL: &str = "https://api.twilio.com";

/// `AC` and 16 to 32 hexadecimal digits. Twilio's own have 32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSid(String);

/// `RE` and 16 to 32 hexadecimal digits. Twilio's own have 32.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RecordingSid(String);

impl TryFrom<String> for RecordingSid {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a recording SID is RE and 16 to 32 hexadecimal digits")
    }
}

impl AccountSid {
    /// Accepts an account SID; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        is_sid("AC", text).then(|| Self(text.to_owned()))
    }
}

impl RecordingSid {
    /// Accepts a recording SID; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        is_sid("RE", text).then(|| Self(text.to_owned()))
    }

    /// The SID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RecordingSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_sid(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|digits| (16..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The Twilio secret: `{"account_sid","auth_token"}`, optionally with `"api_key_sid","api_key_secret"`, which then sign in instead of the token.
#[derive(Deserialize)]
pub struct Credentials {
    account_sid: String,
    auth_token: Option<String>,
    api_key_sid: Option<String>,
    api_key_secret: Option<String>,
}

impl Credentials {
    fn basic(&self) -> Option<(&str, &str)> {
        match (&self.api_key_sid, &self.api_key_secret) {
            (Some(sid), Some(secret)) if !sid.is_empty() => Some((sid, secret)),
            _ => Some((
                &self.account_sid,
                self.auth_token.as_deref().filter(|token| !token.is_empty())?,
            )),
        }
    }

    fn webhook_token(&self) -> Result<String, TwilioError> {
        let token = self.auth_token.clone().filter(|token| !token.is_empty());
        token.ok_or(TwilioError::IncompleteSecret)
    }
}

/// One row of the Recordings resource. Twilio may leave any field out.
#[derive(Debug, Clone, Deserialize)]
pub struct Recording {
    /// The recording's SID.
    pub sid: String,
    /// The account it belongs to.
    pub account_sid: Option<String>,
    /// The call's parent leg.
    pub call_sid: Option<String>,
    /// Length in seconds; `None` until known.
    #[serde(default, deserialize_with = "seconds")]
    pub duration: Option<u64>,
    /// Where the recording is in its life.
    #[serde(default)]
    pub status: Status,
    /// Number of audio channels.
    pub channels: Option<u32>,
    /// How the recording was made, for example `RecordVerb`.
    pub source: Option<String>,
    /// Why an `absent` recording is absent.
    pub error_code: Option<i64>,
    /// Path of this resource, relative to the host.
    pub uri: Option<String>,
    /// Where the media is. On the customer's own host when Twilio stores it there.
    pub media_url: Option<String>,
    /// When it was created.
    #[serde(default, deserialize_with = "rfc2822_time")]
    pub date_created: Option<Timestamp>,
    /// When it was last changed.
    #[serde(default, deserialize_with = "rfc2822_time")]
    pub date_updated: Option<Timestamp>,
    /// When recording began.
    #[serde(default, deserialize_with = "rfc2822_time")]
    pub start_time: Option<Timestamp>,
    /// What it cost, as decimal text.
    #[serde(default, deserialize_with = "text_or_number")]
    pub price: Option<String>,
    /// The price's currency.
    pub price_unit: Option<String>,
    /// Which side was recorded; Twilio sends it on some resources only.
    pub track: Option<String>,
    /// Present when the media is encrypted with the customer's key.
    pub encryption_details: Option<serde_json::Value>,
}

/// A recording's status. Twilio may add words, so unknown ones are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status(String);

/// The three groups in which the API counts and filters recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusGroup {
    /// `completed`.
    Completed,
    /// `in-progress`, `paused`, `stopped`, `processing`, and words Twilio may add.
    InProgress,
    /// `failed`, `absent`, `deleted`.
    Failed,
}

impl Status {
    /// The word as Twilio sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StatusGroup {
    /// The group in which a status is counted.
    pub fn of(status: &str) -> Self {
        match status {
            "completed" => Self::Completed,
            "failed" | "absent" | "deleted" => Self::Failed,
            _ => Self::InProgress,
        }
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

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

impl Recording {
    /// The address of the media, when it is not with Twilio.
    pub fn external_media(&self, twilio: &Twilio) -> Option<&str> {
        self.media_url
            .as_deref()
            .filter(|_| self.media_place(twilio) != MediaPlace::Twilio)
    }

    /// Where the media is: outside when its address is neither at Twilio nor at the configured host.
    pub fn media_place(&self, twilio: &Twilio) -> MediaPlace {
        let Some(url) = self.media_url.as_deref().and_then(|text| Url::parse(text).ok()) else {
            return MediaPlace::Twilio;
        };
        let host = url.host_str().unwrap_or_default();
        let plain = url.username().is_empty() && url.password().is_none();
        if twilio.external_origins.contains(&url.origin().ascii_serialization()) && plain {
            MediaPlace::External(url)
        } else if host == "twilio.com" || host.ends_with(".twilio.com") || Some(host) == twilio.base.host_str() {
            MediaPlace::Twilio
        } else {
            MediaPlace::OutOfBounds
        }
    }
}

/// The origin that an entry of `EXTERNAL_MEDIA_HOSTS` stands for.
fn external_origin(entry: &str) -> Option<String> {
    let url = match entry.contains("://") {
        true => Url::parse(entry),
        false => Url::parse(&format!("https://{entry}")),
    };
    let url = url
        .ok()
        .filter(|url| url.has_host() && url.path() == "/" && url.query().is_none())?;
    matches!(url.scheme(), "http" | "https").then(|| url.origin().ascii_serialization())
}

/// Twilio sends durations as text; `-1` and other oddities mean unknown.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(text_or_number(deserializer)?.and_then(|text| text.parse().ok()))
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn rfc2822_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| {
        let zoned = rfc2822::parse(&text).ok()?;
        Some(zoned.timestamp())
    }))
}

/// One page of the account's recordings.
#[derive(Debug)]
pub struct Page {
    /// The rows, in Twilio's order.
    pub recordings: Vec<Recording>,
    /// The next page, `None` on the last.
    pub next: Option<PageQuery>,
}

/// The query string of a page: Twilio's own `next_page_uri` is followed verbatim, on the configured host and this resource only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery(String);

impl PageQuery {
    /// The first page, of recordings created from `after` to `before` (UTC days, both included).
    pub fn first(page_size: u64, after: Option<Date>, before: Option<Date>) -> Self {
        let mut query = format!("PageSize={page_size}");
        if let Some(day) = after {
            query.push_str(&format!("&DateCreated%3E={day}"));
        }
        if let Some(day) = before {
            query.push_str(&format!("&DateCreated%3C={day}"));
        }
        Self(query)
    }

    /// A page by its query string, as [`PageQuery::as_str`] gave it. `None` when it can't be one.
    pub fn parse(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        (text.len() <= 1000 && text.bytes().all(harmless)).then(|| Self(text.to_owned()))
    }

    /// The query string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The digits of a phone number, which a SIP address has before its host. `None` for names.
fn number_in(address: &str) -> Option<&str> {
    let user = address
        .strip_prefix("sip:")
        .or(address.strip_prefix("sips:"))
        .unwrap_or(address);
    let user = user.split(['@', ';']).next().unwrap_or_default();
    let digits = user.strip_prefix('+').unwrap_or(user);
    let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(digits)
}

#[derive(Deserialize)]
struct RawPage {
    recordings: Vec<Recording>,
    next_page_uri: Option<String>,
}

/// Why Twilio did not give what was asked. No variant holds a URL or a credential.
#[derive(Debug, thiserror::Error)]
pub enum TwilioError {
    /// The Twilio secret is missing or unusable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Twilio secret lacks a usable account SID or token.
    #[error("the Twilio secret needs account_sid and auth_token, or api_key_sid and api_key_secret")]
    IncompleteSecret,
    /// Twilio refused the credentials.
    #[error("Twilio refused the credentials (HTTP {0})")]
    Unauthorized(u16),
    /// There is no such resource.
    #[error("Twilio has no such resource")]
    NotFound,
    /// Too many requests at once for the account.
    #[error("Twilio answered 429, too many requests")]
    RateLimited(Option<Duration>),
    /// Twilio is unwell.
    #[error("Twilio answered HTTP {0}")]
    Server(u16, Option<Duration>),
    /// Twilio refused the request; its error code, if it sent one.
    #[error("Twilio answered HTTP {status} with code {code:?}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// Twilio's own error code, see twilio.com/docs/api/errors.
        code: Option<i64>,
    },
    /// No connection, or it broke.
    #[error("the connection to Twilio failed: {0}")]
    Connection(String),
    /// The customer's own storage did not give a recording that is kept there.
    #[error("external storage, asked without credentials as one asks Twilio: {0}")]
    ExternalStorage(Box<TwilioError>),
    /// No answer in time.
    #[error("Twilio did not answer in time")]
    Timeout,
    /// An answer that can't be read.
    #[error("Twilio's answer was not understood: {0}")]
    Unexpected(String),
}

impl Classify for TwilioError {
    fn retry(&self) -> Retry {
        match self {
            Self::RateLimited(after) | Self::Server(_, after) => Retry::After(*after),
            Self::Connection(_) => Retry::After(None),
            Self::ExternalStorage(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

impl TwilioError {
    /// Whether a later request may fare better.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Secret(SecretError::Unavailable(..)) | Self::Timeout) || self.retry() != Retry::Never
    }

    /// When to try again, if Twilio said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry() {
            Retry::After(after) => after,
            Retry::Never => None,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "twilio_secret_unavailable",
            Self::Secret(_) | Self::IncompleteSecret => "twilio_not_configured",
            Self::Unauthorized(_) => "twilio_unauthorized",
            Self::NotFound => "recording_not_found",
            Self::RateLimited(_) => "twilio_rate_limited",
            Self::Server(..) | Self::Connection(_) => "twilio_unavailable",
            Self::Rejected { .. } | Self::Unexpected(_) => "twilio_error",
            Self::ExternalStorage(_) => "external_storage_refused",
            Self::Timeout => "twilio_timeout",
        }
    }

    /// What to tell a caller.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Secret(SecretError::Unavailable(..)) => "The Twilio credentials can't be read right now",
            Self::Secret(_) | Self::IncompleteSecret => "No usable Twilio credentials are configured",
            Self::Unauthorized(_) => "Twilio refused the configured credentials",
            Self::NotFound => "Recording not found",
            Self::RateLimited(_) => "Twilio is limiting the rate of requests",
            Self::Server(..) | Self::Connection(_) => "Twilio is not reachable right now",
            Self::Rejected { .. } | Self::Unexpected(_) => "Twilio gave an unexpected answer",
            Self::ExternalStorage(_) => "The external storage that keeps the recording did not give it",
            Self::Timeout => "Twilio did not answer in time",
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

/// The address of a recording's MP3 on the host `base`.
pub fn media_url(base: &str, account: &str, recording: &str) -> String {
    let base = base.trim_end_matches('/');
    format!("{base}/2010-04-01/Accounts/{account}/Recordings/{recording}.mp3")
}

/// Twilio's API for one account. Credentials go to the configured host alone.
pub struct Twilio {
    client: Client,
    /// For other hosts than Twilio's.
    outside: Client,
    /// From where recordings in external storage may be fetched.
    external_origins: Vec<String>,
    base: Url,
    secret: Secret<Credentials>,
}

impl Twilio {
    /// Reads `TWILIO_SECRET`, `TWILIO_BASE_URL` and `EXTERNAL_MEDIA_HOSTS`: host names, which are reached by HTTPS, or whole origins.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let base = Url::parse(env.optional("TWILIO_BASE_URL").unwrap_or(DEFAULT_BASE_URL))
            .ok()
            .filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.host().is_some()
                    && url.path() == "/"
                    && url.query().is_none()
            })
            .ok_or(ConfigError::Invalid {
                name: "TWILIO_BASE_URL",
                expected: "a URL with a host and no path, such as https://api.twilio.com",
            })?;
        let external_hosts = env.optional("EXTERNAL_MEDIA_HOSTS").unwrap_or_default().split(',');
        let external_hosts = external_hosts.map(str::trim).filter(|host| !host.is_empty());
        let external_origins = external_hosts.map(external_origin).collect::<Option<Vec<_>>>();
        let https_only = base.scheme() == "https";
        let client = || {
            Client::builder()
                .no_proxy()
                .connect_timeout(Duration::from_secs(3))
                .pool_idle_timeout(Duration::from_secs(20))
        };
        let outside = client().redirect(redirect::Policy::none()).build();
        let client = client()
            .https_only(https_only)
            // reqwest drops the Authorization header when a redirect leaves the host.
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            // A media address holds the account's and the recording's SIDs.
            .referer(false)
            .build()
            .map_err(|error| ConfigError::HttpClient(error.to_string()))?;
        Ok(Self {
            client,
            outside: outside.map_err(|error| ConfigError::HttpClient(error.to_string()))?,
            external_origins: external_origins.ok_or(ConfigError::Invalid {
                name: "EXTERNAL_MEDIA_HOSTS",
                expected: "host names separated by commas, such as recordings.example.com",
            })?,
            base,
            secret: Secret::new(aws.secrets_manager(), env.required("TWILIO_SECRET")?),
        })
    }

    /// Reads the credentials ahead of the first request.
    pub async fn preload(&self) {
        self.secret.preload().await;
    }

    /// The configured account.
    pub async fn account_sid(&self) -> Result<AccountSid, TwilioError> {
        AccountSid::parse(&self.secret.get().await?.account_sid).ok_or(TwilioError::IncompleteSecret)
    }

    /// The host that recordings are fetched from.
    pub fn base_url(&self) -> &Url {
        &self.base
    }

    /// The address of a recording's MP3, on the configured host.
    pub fn media_url(&self, account: &AccountSid, recording: &str) -> String {
        media_url(self.base.as_str(), &account.0, recording)
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

    /// Reads one page of the account's recordings.
    pub async fn list(&self, page: &PageQuery, deadline: Instant) -> Result<Page, TwilioError> {
        let resource = format!("/2010-04-01/Accounts/{}/Recordings.json", self.account_sid().await?);
        let url = self.url(&format!("{resource}?{}", page.as_str()))?;
        let raw: RawPage = self.json(url, deadline).await?;
        let next = match raw.next_page_uri {
            None => None,
            Some(uri) => {
                let query = uri
                    .strip_prefix(resource.as_str())
                    .and_then(|rest| rest.strip_prefix('?'));
                let next = query.and_then(PageQuery::parse);
                Some(next.ok_or_else(|| TwilioError::Unexpected("next_page_uri leads elsewhere".into()))?)
            }
        };
        Ok(Page {
            recordings: raw.recordings,
            next,
        })
    }

    /// The token that Twilio signs webhooks with.
    pub async fn auth_token(&self) -> Result<String, TwilioError> {
        self.secret.get().await?.webhook_token()
    }

    /// The same, read again for a webhook that was not signed with it: the token may have been replaced, and Twilio does not send a callback
    /// again that was refused. Not more often than every 30 s.
    pub async fn new_auth_token(&self) -> Result<String, TwilioError> {
        self.secret.refresh(TOKEN_REFRESH).await?.webhook_token()
    }

    /// The other party's number of a call, digits only: whom we called, or who called us. `None` where there is no number, or no call.
    ///
    /// `direction` is `inbound` or `trunking-originating` for calls from outside: <https://www.twilio.com/docs/voice/api/call-resource>
    pub async fn number_of(&self, call_sid: &str, deadline: Instant) -> Result<Option<String>, TwilioError> {
        #[derive(Deserialize)]
        struct Call {
            from: Option<String>,
            to: Option<String>,
            direction: Option<String>,
        }
        if !is_sid("CA", call_sid) {
            return Ok(None);
        }
        let account = self.account_sid().await?;
        let url = self.url(&format!("/2010-04-01/Accounts/{account}/Calls/{call_sid}.json"))?;
        let call: Call = match self.json(url, deadline).await {
            Err(TwilioError::NotFound) => return Ok(None),
            answer => answer?,
        };
        let inbound = matches!(call.direction.as_deref(), Some("inbound" | "trunking-originating"));
        let address = if inbound { call.from } else { call.to };
        Ok(address.and_then(|address| number_in(&address).map(str::to_owned)))
    }

    /// Reads one recording's metadata.
    pub async fn recording(&self, sid: &RecordingSid, deadline: Instant) -> Result<Recording, TwilioError> {
        let account = self.account_sid().await?;
        let url = self.url(&format!("/2010-04-01/Accounts/{account}/Recordings/{sid}.json"))?;
        self.json(url, deadline).await
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

    async fn json<T: DeserializeOwned>(&self, url: Url, deadline: Instant) -> Result<T, TwilioError> {
        with_retries(ATTEMPTS, deadline, || {
            let end = deadline.min(Instant::now() + JSON_TIMEOUT);
            let answer = timeout_at(end, self.json_once(url.clone()));
            async move { answer.await.map_err(|_| TwilioError::Timeout)? }
        })
        .await
    }

    async fn json_once<T: DeserializeOwned>(&self, url: Url) -> Result<T, TwilioError> {
        let response = accepted(self.send(Method::GET, url).await?).await?;
        let body = response.bytes().await.map_err(connection)?;
        serde_json::from_slice(&body).map_err(|error| TwilioError::Unexpected(error.to_string()))
    }

    async fn send(&self, method: Method, url: Url) -> Result<Response, TwilioError> {
        let secret = self.secret.get().await?;
        let (user, password) = secret.basic().ok_or(TwilioError::IncompleteSecret)?;
        let request: RequestBuilder = self.client.request(method, url).basic_auth(user, Some(password));
        request
            .header(header::ACCEPT_ENCODING, "identity")
            .send()
            .await
            .map_err(connection)
    }

    fn url(&self, path_and_query: &str) -> Result<Url, TwilioError> {
        self.parse_url(&format!("{}{}", self.base, &path_and_query[1..]))
    }

    fn parse_url(&self, text: &str) -> Result<Url, TwilioError> {
        Url::parse(text).map_err(|error| TwilioError::Unexpected(error.to_string()))
    }
}

/// Turns an answer that is not a success into the error it means.
async fn accepted(response: Response) -> Result<Response, TwilioError> {
    #[derive(Deserialize)]
    struct Problem {
        code: Option<i64>,
    }
    let status = response.status();
    let after = retry_after(response.headers());
    match status {
        _ if status.is_success() => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(TwilioError::Unauthorized(status.as_u16())),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(TwilioError::NotFound),
        StatusCode::TOO_MANY_REQUESTS => Err(TwilioError::RateLimited(after)),
        _ if status.is_server_error() => Err(TwilioError::Server(status.as_u16(), after)),
        _ => {
            let body = response.bytes().await.unwrap_or_default();
            let code = serde_json::from_slice::<Problem>(&body)
                .ok()
                .and_then(|problem| problem.code);
            Err(TwilioError::Rejected {
                status: status.as_u16(),
                code,
            })
        }
    }
}

fn connection(error: reqwest::Error) -> TwilioError {
    if error.is_redirect() {
        return TwilioError::Unexpected("it redirects too often, or to where it must not".into());
    }
    let error = error.without_url();
    let cause = std::error::Error::source(&error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    TwilioError::Connection(format!("{error}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::to_seconds;
    use serde_json::json;

    #[test]
    fn sids_have_their_prefix_and_16_to_32_hex_digits() {
        for good in ["RE1234567890abcdef", "RE0123456789abcdef0123456789ABCDEF"] {
            assert!(RecordingSid::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "RE",
            "RE123",
            "AC1234567890abcdef",
            "re1234567890abcdef",
            "RE1234567890abcdeg",
            "RE1234567890abcdef/",
            "RE0123456789abcdef0123456789abcdef0",
            " RE1234567890abcdef",
            "RE1234567890abcdéf",
        ] {
            assert!(RecordingSid::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_row_is_read_whatever_twilio_leaves_out_or_types_otherwise() {
        let row: Recording = serde_json::from_value(
            json!({"sid": "RE1", "duration": "-1", "price": -0.0025, "status": null, "date_created": "not a date"}),
        )
        .unwrap();
        assert_eq!(
            (
                row.duration,
                row.price.as_deref(),
                row.status.as_str(),
                row.date_created
            ),
            (None, Some("-0.0025"), "", None)
        );
        let row: Recording = serde_json::from_value(json!({"sid": "RE1", "duration": "45", "status": "processing", "start_time": "Fri, 14 Oct 2016 22:56:34 +0100"})).unwrap();
        assert_eq!(row.duration, Some(45));
        assert_eq!(to_seconds(row.start_time.unwrap()), "2016-10-14T21:56:34Z");
        assert_eq!(StatusGroup::of(row.status.as_str()), StatusGroup::InProgress);
    }

    #[test]
    fn a_page_query_can_not_leave_its_resource() {
        assert!(PageQuery::parse("PageSize=50&Page=1&PageToken=PARE123").is_some());
        for bad in ["PageSize=50#", "a b", "a\r\nHost: x", "é", &"a".repeat(1001)] {
            assert!(PageQuery::parse(bad).is_none(), "{bad:?}");
        }
    }
}
