//! The client for one Twilio account.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use super::{
    credentials::TwilioCredentials,
    error::{TwilioError, accepted, connection},
    recording::{Page, PageQuery, RawPage, Recording},
    sid::{AccountSid, RecordingSid, is_sid},
};
use crate::{
    clients::{
        attempt::{Attempt, Upstream},
        aws::Aws,
        body::read_up_to,
        secrets::Secret,
        tls,
    },
    config::{ConfigError, Env},
    ids::digits,
    log::json_error,
    retry::with_retries,
};

const ATTEMPTS: u32 = 4;
const TOKEN_REFRESH: Duration = Duration::from_secs(30);
/// The timeout of a request for JSON.
const JSON_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 3;
/// The most JSON that is read; a page of 1000 recordings has some 2 MB.
const MAX_JSON_BYTES: usize = 16 * 1024 * 1024;
/// The default of `TWILIO_BASE_URL`.
pub const DEFAULT_BASE_URL: &str = "https://api.twilio.com";

/// What is missing of a download that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// The position of its first byte.
    pub from: u64,
    /// The validator of what was received.
    pub validator: String,
}

/// A response whose body is not read yet. The attempt lasts until it is.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) attempt: Attempt,
}

/// The digits of a phone number or of the user part of a SIP address; `None` if that is not a number.
fn number_in(address: &str) -> Option<String> {
    Some(digits(address)).filter(|digits| (7..=15).contains(&digits.len()))
}

/// The origin for an entry of `EXTERNAL_MEDIA_HOSTS`.
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

/// A client for one Twilio account. Credentials are sent only to the configured host.
pub struct Twilio {
    client: Client,
    /// The HTTP client for hosts other than Twilio.
    pub(super) external_client: Client,
    /// The origins from which recordings in external storage may be fetched.
    pub(super) external_origins: Vec<String>,
    pub(super) base: Url,
    secret: Secret<TwilioCredentials>,
}

impl Twilio {
    /// Reads `TWILIO_SECRET`, `TWILIO_BASE_URL` and `EXTERNAL_MEDIA_HOSTS` (host names, which are accessed by HTTPS, or origins).
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
        let with_timeouts = |builder: ClientBuilder| {
            builder
                .no_proxy()
                .connect_timeout(Duration::from_secs(3))
                .pool_idle_timeout(Duration::from_secs(20))
        };
        // The system's certificates are read only if there are hosts of one's own.
        let external = match external_origins.as_ref().is_none_or(Vec::is_empty) {
            true => tls::with_public_roots()?,
            false => Client::builder(),
        };
        let external_client = with_timeouts(external).redirect(redirect::Policy::none()).build();
        let client = with_timeouts(tls::client_builder(&base)?)
            .https_only(https_only)
            // reqwest removes the Authorization header when a redirect leads to another host.
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            // A media URL contains the SIDs of the account and the recording.
            .referer(false)
            .build()
            .map_err(|error| ConfigError::HttpClient(error.to_string()))?;
        Ok(Self {
            client,
            external_client: external_client.map_err(|error| ConfigError::HttpClient(error.to_string()))?,
            external_origins: external_origins.ok_or(ConfigError::Invalid {
                name: "EXTERNAL_MEDIA_HOSTS",
                expected: "host names separated by commas, such as recordings.example.com",
            })?,
            base,
            secret: Secret::new(aws.secrets_manager(), env.required("TWILIO_SECRET")?),
        })
    }

    /// Reads the credentials before the first request.
    pub async fn preload(&self) {
        self.secret.preload().await;
    }

    /// The SID of the configured account.
    pub async fn account_sid(&self) -> Result<AccountSid, TwilioError> {
        AccountSid::parse(&self.secret.get().await?.account_sid).ok_or(TwilioError::IncompleteSecret)
    }

    /// The configured base URL of Twilio's API.
    pub fn base_url(&self) -> &Url {
        &self.base
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
                let next = next.ok_or_else(|| TwilioError::Unexpected("next_page_uri leads elsewhere".into()))?;
                if next == *page {
                    return Err(TwilioError::Unexpected("next_page_uri leads to the same page".into()));
                }
                Some(next)
            }
        };
        Ok(Page {
            recordings: raw.recordings,
            next,
        })
    }

    /// The token with which Twilio signs webhooks.
    pub async fn auth_token(&self) -> Result<String, TwilioError> {
        self.secret.get().await?.webhook_token()
    }

    /// The token, read again at most every 30 s, for a webhook whose signature does not match: the token may have been rotated, and Twilio does
    /// not send a rejected callback again.
    pub async fn new_auth_token(&self) -> Result<String, TwilioError> {
        self.secret.refresh(TOKEN_REFRESH).await?.webhook_token()
    }

    /// The other party's number of a call, digits only: the called number of an outbound call, the caller's number of an inbound call. `None` if
    /// the other party has no number or the SID is not a call's. A call that Twilio does not find is an error, because Twilio may find it later.
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
        let call: Call = self.json(url, deadline).await?;
        let inbound = matches!(call.direction.as_deref(), Some("inbound" | "trunking-originating"));
        let address = if inbound { call.from } else { call.to };
        Ok(address.and_then(|address| number_in(&address)))
    }

    /// Reads one recording's metadata.
    pub async fn recording(&self, sid: &RecordingSid, deadline: Instant) -> Result<Recording, TwilioError> {
        let account = self.account_sid().await?;
        let url = self.url(&format!("/2010-04-01/Accounts/{account}/Recordings/{sid}.json"))?;
        self.json(url, deadline).await
    }

    /// Deletes a recording. Returns `false` if Twilio no longer has it.
    pub async fn delete_recording(&self, sid: &RecordingSid, deadline: Instant) -> Result<bool, TwilioError> {
        let account = self.account_sid().await?;
        let url = self.url(&format!("/2010-04-01/Accounts/{account}/Recordings/{sid}.json"))?;
        let deleted = with_retries(ATTEMPTS, deadline, || {
            let end = deadline.min(Instant::now() + JSON_TIMEOUT);
            let opened = timeout_at(end, self.open(Method::DELETE, url.clone(), None));
            async move {
                opened.await.map_err(|_| TwilioError::Timeout)??.attempt.succeed();
                Ok(())
            }
        });
        match deleted.await {
            Ok(()) => Ok(true),
            Err(TwilioError::NotFound) => Ok(false),
            Err(error) => Err(error),
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
        let Answer { response, mut attempt } = self.open(Method::GET, url, None).await?;
        let read = async {
            let (body, whole) = read_up_to(response, MAX_JSON_BYTES).await.map_err(connection)?;
            if !whole {
                return Err(TwilioError::Unexpected("it is too long".into()));
            }
            serde_json::from_slice(&body).map_err(|error| TwilioError::Unexpected(json_error(&error)))
        };
        match read.await {
            Ok(value) => {
                attempt.succeed();
                Ok(value)
            }
            Err(error) => {
                attempt.fail(None, error.code(), &error);
                Err(error)
            }
        }
    }

    /// Sends a request, and returns the response if it is a success. Of any other, the body is read.
    pub(super) async fn open(&self, method: Method, url: Url, rest: Option<&Rest>) -> Result<Answer, TwilioError> {
        let Answer { response, attempt } = self.send(method, url, rest).await?;
        match accepted(response).await {
            Ok(response) => Ok(Answer { response, attempt }),
            Err(error) => {
                // What is a failure by its status has failed before.
                attempt.succeed();
                Err(error)
            }
        }
    }

    /// Sends a request without a body, for all bytes or the rest of them. If Twilio refuses the credentials, they are read again, because they may
    /// have been rotated.
    pub(super) async fn send(&self, method: Method, url: Url, rest: Option<&Rest>) -> Result<Answer, TwilioError> {
        let secret = self.secret.get().await?;
        let answer = self.send_as(&secret, method.clone(), url.clone(), rest).await?;
        if answer.response.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        match self.secret.refresh(TOKEN_REFRESH).await {
            Ok(newer) if newer.basic() != secret.basic() => self.send_as(&newer, method, url, rest).await,
            _ => Ok(answer),
        }
    }

    async fn send_as(
        &self,
        secret: &TwilioCredentials,
        method: Method,
        url: Url,
        rest: Option<&Rest>,
    ) -> Result<Answer, TwilioError> {
        let (user, password) = secret.basic().ok_or(TwilioError::IncompleteSecret)?;
        let mut request: RequestBuilder = self.client.request(method, url).basic_auth(user, Some(password));
        if let Some(rest) = rest {
            request = request
                .header(header::RANGE, format!("bytes={}-", rest.from))
                .header(header::IF_RANGE, &rest.validator);
        }
        let mut attempt = Attempt::begin(Upstream::Twilio);
        let sent = request.header(header::ACCEPT_ENCODING, "identity").send().await;
        let response = sent.map_err(connection).inspect_err(|error| {
            attempt.fail(None, error.code(), error);
        })?;
        let status = response.status();
        match TwilioError::of_status(status, None) {
            // That there is no such resource is an answer.
            None | Some(TwilioError::NotFound) => {}
            Some(error) => attempt.fail(Some(status.as_u16()), error.code(), &error),
        }
        Ok(Answer { response, attempt })
    }

    fn url(&self, path_and_query: &str) -> Result<Url, TwilioError> {
        self.parse_url(&format!("{}{}", self.base, &path_and_query[1..]))
    }

    pub(super) fn parse_url(&self, text: &str) -> Result<Url, TwilioError> {
        Url::parse(text).map_err(|error| TwilioError::Unexpected(error.to_string()))
    }
}
