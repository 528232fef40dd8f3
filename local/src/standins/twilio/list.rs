//! The list of recordings: its parameters and its pages.

use axum::{
    body::Body,
    extract::Query,
    http::{Response, StatusCode, Uri},
};
use jiff::{civil::Date, tz::TimeZone};
use serde_json::json;

use super::{
    error::{error, json_response},
    recording::Recording,
};

/// A page of `recordings`, which are sorted newest first.
pub(super) fn page(account: &str, recordings: &[Recording], uri: &Uri) -> Response<Body> {
    let query = match ListQuery::parse(uri) {
        Ok(query) => query,
        Err((code, message)) => return error(StatusCode::BAD_REQUEST, code, &message),
    };
    let rows: Vec<&Recording> = recordings.iter().filter(|recording| query.matches(recording)).collect();
    let (start, end) = match &query.token {
        None => (0, query.page_size),
        Some((after, anchor)) => match rows.iter().position(|recording| recording.sid == *anchor) {
            Some(at) if *after => (at + 1, at + 1 + query.page_size),
            Some(at) => (at.saturating_sub(query.page_size), at),
            None => return error(StatusCode::BAD_REQUEST, 21481, "Invalid PageToken"),
        },
    };
    let end = end.min(rows.len());
    let path = format!("/2010-04-01/Accounts/{account}/Recordings.json");
    let page = &rows[start.min(end)..end];
    let next = page
        .last()
        .filter(|_| end < rows.len())
        .map(|last| query.uri(&path, query.page + 1, Some(("PA", &last.sid))));
    let previous = page
        .first()
        .filter(|_| start > 0)
        .map(|first| query.uri(&path, query.page.saturating_sub(1), Some(("PB", &first.sid))));
    json_response(
        StatusCode::OK,
        &json!({
            "first_page_uri": query.uri(&path, 0, None),
            "next_page_uri": next,
            "previous_page_uri": previous,
            "page": query.page,
            "page_size": query.page_size,
            "start": query.page * query.page_size,
            "end": (query.page * query.page_size + page.len()).saturating_sub(1),
            "uri": uri.path_and_query().map_or(path.as_str(), |uri| uri.as_str()),
            "recordings": page.iter().map(|recording| recording.row(account)).collect::<Vec<_>>(),
        }),
    )
}

pub(super) fn query_pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

/// The list's parameters.
#[derive(Debug)]
struct ListQuery {
    page_size: usize,
    page: usize,
    /// Whether the page is after (`PA`) or before (`PB`) the recording with this SID.
    token: Option<(bool, String)>,
    call_sid: Option<String>,
    conference_sid: Option<String>,
    on: Option<Date>,
    from: Option<Date>,
    to: Option<Date>,
    hide_deleted: bool,
    /// The filters as they were sent, for the URIs of other pages.
    filters: Vec<(String, String)>,
}

impl ListQuery {
    /// Parses the parameters. The error is Twilio's code and message.
    fn parse(uri: &Uri) -> Result<Self, (u32, String)> {
        let mut parsed = ListQuery {
            page_size: 50,
            page: 0,
            token: None,
            call_sid: None,
            conference_sid: None,
            on: None,
            from: None,
            to: None,
            hide_deleted: false,
            filters: Vec::new(),
        };
        for (name, value) in query_pairs(uri) {
            let invalid = |accepted: &str| (20001, format!("{name} '{value}' is not valid: {accepted}"));
            // Twilio filters by whole days (UTC); the time of a date-time is ignored.
            let day = || {
                value
                    .get(..10)
                    .and_then(|day| day.parse().ok())
                    .ok_or_else(|| invalid("a date, YYYY-MM-DD, is expected"))
            };
            match name.as_str() {
                "PageSize" => {
                    let size = value.parse().ok().filter(|size| (1..=1000).contains(size));
                    parsed.page_size = size.ok_or_else(|| invalid("1 to 1000 is expected"))?;
                    continue;
                }
                "Page" => {
                    parsed.page = value.parse().map_err(|_| invalid("a number from 0 is expected"))?;
                    continue;
                }
                "PageToken" => {
                    let after = value.strip_prefix("PA").map(|sid| (true, sid.to_owned()));
                    let before = || value.strip_prefix("PB").map(|sid| (false, sid.to_owned()));
                    parsed.token = Some(after.or_else(before).ok_or((21481, "Invalid PageToken".to_owned()))?);
                    continue;
                }
                "DateCreated" => parsed.on = Some(day()?),
                "DateCreated>" => parsed.from = Some(day()?),
                "DateCreated<" => parsed.to = Some(day()?),
                "CallSid" => parsed.call_sid = Some(value.clone()),
                "ConferenceSid" => parsed.conference_sid = Some(value.clone()),
                "IncludeSoftDeleted" => {
                    parsed.hide_deleted = !value
                        .parse::<bool>()
                        .map_err(|_| invalid("true or false is expected"))?;
                }
                _ => continue,
            }
            parsed.filters.push((name, value));
        }
        Ok(parsed)
    }

    fn matches(&self, recording: &Recording) -> bool {
        let day = TimeZone::UTC.to_datetime(recording.date_created).date();
        self.on.is_none_or(|on| day == on)
            && self.from.is_none_or(|from| day >= from)
            && self.to.is_none_or(|to| day <= to)
            && self.call_sid.as_ref().is_none_or(|sid| recording.call_sid == *sid)
            && self
                .conference_sid
                .as_ref()
                .is_none_or(|sid| recording.conference_sid.as_ref() == Some(sid))
            && !(self.hide_deleted && recording.status == "deleted")
    }

    fn uri(&self, path: &str, page: usize, token: Option<(&str, &str)>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.filters);
        query
            .append_pair("PageSize", &self.page_size.to_string())
            .append_pair("Page", &page.to_string());
        if let Some((direction, anchor)) = token {
            query.append_pair("PageToken", &format!("{direction}{anchor}"));
        }
        format!("{path}?{}", query.finish())
    }
}
