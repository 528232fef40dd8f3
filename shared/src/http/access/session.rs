//! Sessions of the console: a cookie that stands for an API key for some hours.
//!
//! The cookie's value is `{end in Unix seconds}.{HMAC-SHA-256 in hex}`. The HMAC's key is the hash of the API key in the secret: a session needs no
//! storage, and it ends when its key is removed from the secret, replaced or expired. Who can read the secret can also create a session.

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{HeaderMap, HeaderValue, header};
use sha2::Sha256;

/// The longest life of a session.
pub(super) const LIFETIME: SignedDuration = SignedDuration::from_hours(12);
/// The cookie's name without TLS, for `http://localhost`.
const COOKIE: &str = "call_recordings_session";
/// The name with TLS: browsers accept a cookie with this prefix only from the host itself, so that no other host of the domain can set one.
const HOST_COOKIE: &str = "__Host-call_recordings_session";
/// What the HMAC is made of begins with this, so that it can't be that of another text.
const PURPOSE: &str = "call-recordings console session until ";

/// A session that a request presents. Only [`Session::is_of`] tells whether it is genuine.
pub(super) struct Session {
    pub(super) end: Timestamp,
    mac: Vec<u8>,
}

impl Session {
    /// The session in the request's cookies, unless it has ended.
    pub(super) fn presented(headers: &HeaderMap, is_secure: bool, now: Timestamp) -> Option<Self> {
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == cookie_name(is_secure))
            .find_map(|(_, value)| Self::parse(value))
            .filter(|session| now < session.end)
    }

    fn parse(value: &str) -> Option<Self> {
        let (end, mac) = value.split_once('.')?;
        Some(Self {
            end: Timestamp::from_second(end.parse().ok()?).ok()?,
            mac: hex::decode(mac).ok()?,
        })
    }

    /// Whether the session was created for the key with this hash. The comparison takes constant time.
    pub(super) fn is_of(&self, key_hash: &[u8; 32]) -> bool {
        authenticator(key_hash, self.end).is_some_and(|mac| mac.verify_slice(&self.mac).is_ok())
    }
}

/// The cookie of a new session. Without `is_secure`, for `http://localhost`, browsers also send it without TLS.
pub(super) fn cookie(key_hash: &[u8; 32], end: Timestamp, is_secure: bool) -> Option<HeaderValue> {
    let mac = authenticator(key_hash, end)?.finalize().into_bytes();
    let value = format!("{}.{}", end.as_second(), hex::encode(mac));
    let seconds = LIFETIME.as_secs();
    HeaderValue::try_from(format!(
        "{}={value}; {}; Max-Age={seconds}",
        cookie_name(is_secure),
        attributes(is_secure)
    ))
    .ok()
}

/// The cookie that makes a browser forget its session.
pub(super) fn no_cookie(is_secure: bool) -> Option<HeaderValue> {
    let (name, attributes) = (cookie_name(is_secure), attributes(is_secure));
    HeaderValue::try_from(format!("{name}=; {attributes}; Max-Age=0")).ok()
}

fn cookie_name(is_secure: bool) -> &'static str {
    match is_secure {
        true => HOST_COOKIE,
        false => COOKIE,
    }
}

fn attributes(is_secure: bool) -> &'static str {
    match is_secure {
        true => "Path=/; HttpOnly; SameSite=Strict; Secure",
        false => "Path=/; HttpOnly; SameSite=Strict",
    }
}

fn authenticator(key_hash: &[u8; 32], end: Timestamp) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key_hash).ok()?;
    mac.update(PURPOSE.as_bytes());
    mac.update(end.as_second().to_string().as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    fn value(end: Timestamp) -> String {
        let cookie = cookie(&KEY, end, true).unwrap();
        cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_is_of_its_key_alone_and_ends() {
        let now: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        let cookie = headers(&format!("a=b; {}; c=d", value(now + LIFETIME)));
        let session = Session::presented(&cookie, true, now).unwrap();
        assert!(session.is_of(&KEY));
        assert!(!session.is_of(&[8; 32]));
        assert!(Session::presented(&cookie, true, now + LIFETIME).is_none());
    }

    #[test]
    fn a_session_with_another_end_is_of_no_key() {
        let now: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        let end = now + SignedDuration::from_hours(1);
        let later = (end + SignedDuration::from_hours(1)).as_second().to_string();
        let forged = value(end).replace(&end.as_second().to_string(), &later);
        assert!(!Session::presented(&headers(&forged), true, now).unwrap().is_of(&KEY));
    }

    #[test]
    fn other_cookies_are_no_session() {
        let now: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        for cookie in [
            "",
            "call_recordings_session",
            "call_recordings_session=",
            "call_recordings_session=.",
            "call_recordings_session=99999999999999999999.00",
            "call_recordings_session=1790000000.xyz",
            "Call_Recordings_Session=1790000000.00",
        ] {
            let session = Session::presented(&headers(cookie), false, now);
            assert!(session.is_none_or(|session| !session.is_of(&KEY)), "{cookie}");
        }
    }

    #[test]
    fn with_tls_a_cookie_that_another_host_could_have_set_is_no_session() {
        let now: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        let own = value(now + LIFETIME);
        let planted = own.replace("__Host-", "");
        assert!(Session::presented(&headers(&planted), true, now).is_none());
        let both = headers(&format!("call_recordings_session=junk; {own}"));
        assert!(Session::presented(&both, true, now).unwrap().is_of(&KEY));
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let end = Timestamp::from_second(1_790_000_000).unwrap();
        let secure = cookie(&KEY, end, true).unwrap();
        let attributes = "; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=43200";
        assert!(secure.to_str().unwrap().ends_with(attributes), "{secure:?}");
        let local = no_cookie(false).unwrap();
        assert_eq!(
            local,
            "call_recordings_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        );
    }
}
