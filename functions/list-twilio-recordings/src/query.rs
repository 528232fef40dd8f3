//! The filters and the page token of a request.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use shared::{
    clients::twilio::{PageQuery, Recording, RecordingSid, RecordingStatus},
    http::{ApiError, Query, invalid_parameter},
    time::{DateInput, utc_day, with_plus},
};

/// The filters of a request, as received and parsed.
pub(crate) struct RecordingFilter {
    status: Option<String>,
    created_from: Option<Timestamp>,
    created_until: Option<Timestamp>,
    /// The parameters as received. A page token is valid only for the same parameters.
    given: [Option<String>; 3],
}

/// A position in Twilio's list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Position {
    /// The page.
    pub(crate) page: PageQuery,
    /// SID of the last recording of the page that was already returned.
    pub(crate) after: Option<String>,
}

impl Position {
    pub(crate) fn beginning_of(page: PageQuery) -> Self {
        Self { page, after: None }
    }
}

/// The content of a page token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    page: String,
    after: Option<String>,
    filter: [Option<String>; 3],
}

impl RecordingFilter {
    pub(crate) fn parse(query: &Query) -> Result<Self, ApiError> {
        let status = query.get("status");
        if let Some(text) = status.filter(|text| !RecordingStatus::ALL.contains(text)) {
            return Err(invalid_parameter(
                "status",
                text,
                &format!("one of {}", RecordingStatus::ALL.join(", ")),
            ));
        }
        let date = |name| match query.get(name) {
            None => Ok(None),
            Some(text) => DateInput::parse(text).map(Some).ok_or_else(|| {
                invalid_parameter(
                    name,
                    text,
                    "an ISO 8601 date or date-time, such as 2024-01-31 or 2024-01-31T10:30:00Z",
                )
            }),
        };
        let created_from = date("date_created_after")?.map(DateInput::start);
        let created_until = date("date_created_before")?.map(DateInput::end);
        if let (Some(from), Some(until)) = (created_from, created_until)
            && from >= until
        {
            return Err(ApiError::bad_request(
                "invalid_parameter",
                "date_created_after must be earlier than date_created_before.",
            ));
        }
        let given = ["status", "date_created_after", "date_created_before"]
            .map(|name| query.get(name).map(|text| with_plus(text).into_owned()));
        Ok(Self {
            status: status.map(str::to_owned),
            created_from,
            created_until,
            given,
        })
    }

    /// Status, first and last date as received.
    pub(crate) fn given(&self) -> &[Option<String>; 3] {
        &self.given
    }

    /// Whether recordings on a page may have to be excluded.
    pub(crate) fn is_selective(&self) -> bool {
        self.given.iter().any(Option::is_some)
    }

    /// The first page of the requested days. It is not documented whether Twilio includes the last day, so the request includes one more day.
    pub(crate) fn first_page(&self, page_size: u64) -> PageQuery {
        let before = self.created_until.map(|until| utc_day(until).saturating_add(1.day()));
        PageQuery::first(page_size, self.created_from.map(utc_day), before)
    }

    pub(crate) fn matches(&self, recording: &Recording) -> bool {
        let status = |wanted: &str| recording.status.passes_filter(wanted);
        let status_matches = self.status.as_deref().is_none_or(status);
        let created = recording.date_created;
        status_matches
            && self
                .created_from
                .is_none_or(|from| created.is_some_and(|created| created >= from))
            && self
                .created_until
                .is_none_or(|until| created.is_some_and(|created| created < until))
    }

    /// The position of the request's `page_token`; `None` if there is none.
    pub(crate) fn start(&self, query: &Query) -> Result<Option<Position>, ApiError> {
        let Some(text) = query.get("page_token") else {
            return Ok(None);
        };
        let invalid = || invalid_parameter("page_token", text, "the next_page_token of an earlier response");
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let token: Token = serde_json::from_slice(&json).map_err(|_| invalid())?;
        let page = PageQuery::parse(&token.page).ok_or_else(invalid)?;
        if token
            .after
            .as_deref()
            .is_some_and(|sid| RecordingSid::parse(sid).is_none())
        {
            return Err(invalid());
        }
        if token.filter != self.given {
            return Err(ApiError::bad_request(
                "invalid_parameter",
                "page_token belongs to a list with other filters; send the same status and dates as before.",
            ));
        }
        Ok(Some(Position {
            page,
            after: token.after,
        }))
    }

    /// Encodes a position in this list as a page token.
    pub(crate) fn token(&self, position: &Position) -> String {
        let token = Token {
            page: position.page.as_str().to_owned(),
            after: position.after.clone(),
            filter: self.given.clone(),
        };
        URL_SAFE_NO_PAD.encode(serde_json::json!(token).to_string())
    }
}

pub(crate) fn expired_token() -> ApiError {
    ApiError::bad_request(
        "page_token_expired",
        "page_token names a position in Twilio's list that no longer exists; start again without it.",
    )
}
