//! Parsing of the query string: strict for callers of the API, lenient for webhooks of providers.

use std::ops::RangeInclusive;

use super::error::{ApiError, invalid_parameter, quoted};
use crate::time::DateInput;

/// The parameters of a query string. Those of the API's callers have no duplicates.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(raw: &str) -> Result<Self, ApiError> {
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| {
                    ApiError::bad_request(
                        "invalid_query",
                        "The query string must be UTF-8; this one has bytes that are not.",
                    )
                })
        };
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(ApiError::bad_request(
                    "repeated_parameter",
                    format!("{} may be given only once.", quoted(&name)),
                ));
            }
            parameters.push((name, decode(value)?));
        }
        Ok(Self(parameters))
    }

    /// Parses the query string of a signed webhook, which the provider made: names may be repeated, and bytes that are not UTF-8 are replaced.
    pub(super) fn lenient(raw: &str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    /// All values of the parameter.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The names of the parameters, without that of an API key.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        names.filter(|name| *name != "api_key")
    }

    /// The parameter's value; the first one of a repeated parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The parameter as text of 1 to 256 bytes.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        match self.get(name) {
            Some(text) if text.is_empty() || text.len() > 256 => {
                Err(invalid_parameter(name, text, "1 to 256 bytes of text"))
            }
            given => Ok(given.map(str::to_owned)),
        }
    }

    /// The parameter as a date or a date-time.
    pub fn date(&self, name: &'static str) -> Result<Option<DateInput>, ApiError> {
        let parse =
            |text| DateInput::parse(text).ok_or_else(|| invalid_parameter(name, text, "an ISO 8601 date or date-time"));
        self.get(name).map(parse).transpose()
    }

    /// Rejects parameters that are not in `accepted`. `api_key` is always accepted.
    pub fn only(&self, accepted: &[&str]) -> Result<(), ApiError> {
        match self
            .0
            .iter()
            .find(|(name, _)| name != "api_key" && !accepted.contains(&name.as_str()))
        {
            None => Ok(()),
            Some((name, _)) => {
                let known = if accepted.is_empty() {
                    "none besides api_key".to_owned()
                } else {
                    accepted.join(", ")
                };
                Err(ApiError::bad_request(
                    "unknown_parameter",
                    format!(
                        "{} is not a parameter of this endpoint; accepted: {known}.",
                        quoted(name)
                    ),
                ))
            }
        }
    }

    /// The parameter as an integer within `range`, or `default` if it is absent.
    pub fn integer(&self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> Result<u64, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten();
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (minimum, maximum) = (range.start(), range.end());
            invalid_parameter(name, text, &format!("a whole number from {minimum} to {maximum}"))
        })
    }
}
