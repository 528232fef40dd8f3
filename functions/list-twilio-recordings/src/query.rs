//! Which recordings are asked for, and where in Twilio's list to go on.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use shared::{
    clients::twilio::{PageQuery, Recording, RecordingSid, RecordingStatus},
    http::{ApiError, Query, invalid_parameter},
    time::{DateInput, utc_day, with_plus},
};

/// The filters of one list, as given and as understood.
pub(crate) struct RecordingFilter {
    status: Option<String>,
    created_from: Option<Timestamp>,
    created_until: Option<Timestamp>,
    /// The parameters as given, by which a page token is bound to its list.
    given: [Option<String>; 3],
}

/// A place in Twilio's list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Position {
    /// The page.
    pub(crate) page: PageQuery,
    /// SID of the last row of the page that was given out already.
    pub(crate) after: Option<String>,
}

impl Position {
    pub(crate) fn beginning_of(page: PageQuery) -> Self {
        Self { page, after: None }
    }
}

/// A page token, before it is made opaque.
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

    /// Status, first and last moment as the caller gave them.
    pub(crate) fn given(&self) -> &[Option<String>; 3] {
        &self.given
    }

    /// Whether rows of a page may have to be left out.
    pub(crate) fn is_selective(&self) -> bool {
        self.given.iter().any(Option::is_some)
    }

    /// The first page of the days in question. Twilio's reading of a day's ends is unclear, so one day more is asked for.
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

    /// Where the list begins: `None` at the start, else where the request's `page_token` says.
    pub(crate) fn start(&self, query: &Query) -> Result<Option<Position>, ApiError> {
        let Some(text) = query.get("page_token") else {
            return Ok(None);
        };
        let invalid = || invalid_parameter("page_token", text, "the next_page_token of an earlier answer");
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
                "page_token belongs to a list with other filters; give the same status and dates as before.",
            ));
        }
        Ok(Some(Position {
            page,
            after: token.after,
        }))
    }

    /// The opaque form of a position in this list.
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
        "page_token points to a place in Twilio's list that is gone; start again without it.",
    )
}
